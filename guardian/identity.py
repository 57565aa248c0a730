"""Who asks: authentication and scopes of API views. Apart from `http`: DRF imports it early."""

import ipaddress
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from guardian import errors
from guardian.authority import Actor, actor_for, require_scope
from guardian.fencing import keep_fences
from guardian.logs import bind_actor
from guardian.middleware import SAFE_METHODS
from guardian.proxies import is_trusted

if TYPE_CHECKING:
    from guardian.models import Team, User

PUBLIC = "public"
_WITH_PORT = re.compile(r"(?:\[([^\]]+)\]|([0-9.]+))(?::\d+)?")


def bearer_token(header: str) -> str | None:
    """The token in an Authorization header; None where it holds something else."""
    scheme, _, value = header.partition(" ")
    return value.strip() or None if scheme.lower() in {"bearer", "token"} else None


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`; the team is the token's."""

    def authenticate(self, request: Request) -> tuple[Any, Actor] | None:
        from guardian.services import authenticate_token

        header = request.headers.get("Authorization", "")
        if not header:
            return None
        text = bearer_token(header)
        if text is None:
            raise errors.Unauthorized
        actor = authenticate_token(text, address=client_address(request))
        bind_actor(team_id=actor.team_id, actor_id=actor.id)
        return actor.user, actor

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="lemnos"'


class SessionActorAuthentication(SessionAuthentication):
    """A logged-in person; unsafe methods need the CSRF token."""

    def authenticate(self, request: Request) -> tuple[Any, Actor] | None:
        user = getattr(request._request, "user", None)
        if user is None or not user.is_authenticated or not user.is_active:
            return None
        self.enforce_csrf(request)
        actor = session_actor(request._request)
        bind_actor(team_id=actor.team_id, actor_id=actor.id)
        return user, actor


def session_actor(request: HttpRequest) -> Actor:
    """The actor of a page request: the team chosen in the session, else the first membership."""
    from guardian.models import User

    if not isinstance(request.user, User):
        raise errors.Unauthorized
    return actor_for(request.user, chosen_team(request.user, request.session))


def chosen_team(user: "User", session: Any) -> "Team | None":
    """The team this session works in, as long as the person still belongs to it."""
    from guardian.models import Team

    chosen = session.get("team_id")
    return Team.objects.filter(pk=chosen, memberships__user=user).first() if chosen else None


def client_address(request: HttpRequest | Request) -> str:
    """The address of whoever asks; a forwarding header counts only from a trusted proxy."""
    peer = str(request.META.get("REMOTE_ADDR", ""))
    return forwarded_address(peer, str(request.META.get("HTTP_X_FORWARDED_FOR", "")))


def forwarded_address(peer: str, forwarded_for: str) -> str:
    """Who spoke to the outermost trusted proxy, else the peer; always an address, if there is one.

    Each proxy appends whom it heard, so the header is read from its end and believed as long as
    a trusted proxy wrote it. What is no address (`unknown`, a name) is nobody's: the proxy's own.
    """
    found = _plain_address(peer)
    for text in reversed(forwarded_for.split(",")):
        heard = _plain_address(text) if is_trusted(found) else ""
        if not heard:
            break
        found = heard
    return found


def _plain_address(text: str) -> str:
    """The address alone, as proxies write it with a port or in brackets; "" for no address."""
    text = text.strip()
    match = _WITH_PORT.fullmatch(text)
    try:
        address = ipaddress.ip_address(match[1] or match[2] if match else text)
    except ValueError:
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def actor_of(request: Request) -> Actor:
    if not isinstance(request.auth, Actor):
        raise errors.Unauthorized
    return request.auth


class ScopePermission(BasePermission):
    """Deny by default: the view names a scope for each action, the actor must have it."""

    def has_permission(self, request: Request, view: Any) -> bool:
        scope = scope_of(view, request.method or "")
        if scope is None:
            actor_of(request)
            if not hasattr(view, (request.method or "").lower()):
                raise MethodNotAllowed(request.method or "")
            return False
        if scope == PUBLIC:
            return True
        actor = actor_of(request)
        if not actor.can_write and not _only_reads(request, view):
            raise errors.Forbidden("This token may only read.")
        require_scope(actor, scope)
        keep_fences(request, actor)
        return True


def _only_reads(request: Request, view: Any) -> bool:
    """Also the POSTs that only ask, such as a search, whose question is too long for an address."""
    if request.method in SAFE_METHODS:
        return True
    return request.method == "POST" and getattr(view, "verb", "") in getattr(
        view, "reading_posts", ()
    )


def scope_of(view: Any, method: str) -> str | None:
    scopes: Mapping[str, str] = getattr(view, "scopes", {})
    key = getattr(view, "action", None) or method.lower()
    if key == "metadata" or method == "OPTIONS":
        return next(iter(scopes.values()), None)
    if method == "HEAD" and key not in scopes:
        key = "get"
    return scopes.get(key)
