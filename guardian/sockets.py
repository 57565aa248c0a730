"""Who is on the other end of a websocket, and whether they still may be."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.contrib.auth import get_user
from django.contrib.sessions.models import Session
from django.db.models import Q
from django.utils import timezone

from guardian.authority import Actor, actor_for, scopes_of
from guardian.errors import Unauthorized
from guardian.identity import chosen_team, forwarded_address
from guardian.models import ApiToken, Membership, User

MESSAGE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class Visitor:
    """The actor behind a socket and the credential that let them in."""

    actor: Actor
    session_key: str | None = None
    password: str = ""


def visitor_of(scope: dict[str, Any]) -> Visitor:
    """Session with the site's own Origin, or a token in the header; never a token in the address.

    Raises Unauthorized and what a token is refused with.
    """
    from guardian.services import authenticate_token

    headers = {name.lower(): value.decode("latin-1") for name, value in scope.get("headers", [])}
    kind, _, text = headers.get(b"authorization", "").partition(" ")
    if text.strip():
        if kind.lower() not in {"bearer", "token"}:
            raise Unauthorized
        peer = (scope.get("client") or ("",))[0]
        address = forwarded_address(peer, headers.get(b"x-forwarded-for", ""))
        return Visitor(authenticate_token(text.strip(), address=address))
    origin = urlsplit(headers.get(b"origin", ""))
    if not headers.get(b"origin"):
        raise Unauthorized(
            "No token was sent: send 'Authorization: Bearer lem_…', or a session from its own site."
        )
    own = origin.scheme in {"http", "https"} and origin.netloc == headers.get(b"host", "")
    if not own or not origin.netloc:
        raise Unauthorized("A socket opened by another site is refused.")
    return _session_visitor(scope)


class _Request:
    """What Django's `get_user` reads of a request."""

    def __init__(self, session: Any) -> None:
        self.session = session


def _session_visitor(scope: dict[str, Any]) -> Visitor:
    session = scope["session"]
    user = get_user(_Request(session))  # type: ignore[arg-type]  # reads the session alone
    if not isinstance(user, User) or not user.is_active:
        raise Unauthorized
    if user.has_first_password:
        raise Unauthorized("Your password was set by an operator: choose your own at /password.")
    return Visitor(actor_for(user, chosen_team(user, session)), session.session_key, user.password)


def still_welcome(visitors: Iterable[Visitor], *, scope: str) -> set[Visitor]:
    """Those whose credential, membership and scope still hold: four queries for any number."""
    asked = list(visitors)
    users = dict(
        User.objects.filter(pk__in={v.actor.id for v in asked}, is_active=True).values_list(
            "pk", "password"
        )
    )
    roles: dict[tuple[UUID, UUID], str] = {
        (user, team): role
        for user, team, role in Membership.objects.filter(user_id__in=users).values_list(
            "user_id", "team_id", "role"
        )
    }
    now = timezone.now()
    sessions = set(
        Session.objects.filter(
            pk__in={v.session_key for v in asked if v.session_key}, expire_date__gt=now
        ).values_list("pk", flat=True)
    )
    tokens = dict(
        ApiToken.objects.filter(
            Q(expires_at=None) | Q(expires_at__gt=now),
            pk__in={v.actor.token_id for v in asked if v.actor.token_id},
            revoked_at=None,
        ).values_list("pk", "scopes")
    )

    def welcome(visitor: Visitor) -> bool:
        actor = visitor.actor
        role = roles.get((actor.id, actor.team_id))
        if role is None:
            return False
        if actor.token_id is not None:
            granted = tokens.get(actor.token_id)
            return granted is not None and scope in scopes_of(role, granted)
        same_password = users.get(actor.id) == visitor.password
        return visitor.session_key in sessions and same_password and scope in scopes_of(role)

    return {visitor for visitor in asked if welcome(visitor)}
