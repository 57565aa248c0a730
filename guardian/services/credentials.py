"""Who a token's text stands for: asked with every request of a program, so by one statement."""

import hashlib
import hmac
import ipaddress
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils import timezone

from guardian.authority import SYSTEM, Actor, scopes_of
from guardian.errors import AddressNotAllowed, TokenExpired, TokenRevoked, Unauthorized
from guardian.models import ApiToken, Team, User
from guardian.prepared import run_prepared

TOUCH_EVERY_SECONDS = 60
# What an actor is asked for; further columns of the user and the team are read when they are.
_USER = ("id", "username", "display_name", "kind", "is_staff", "is_active")
_TEAM = ("id", "slug", "name")
_FIND = f"""
SELECT t.id, t.secret_hash, t.pepper_id, t.scopes, t.can_write, t.allowed_ips, t.authority_cap,
       t.revoked_at IS NOT NULL, t.expires_at <= clock_timestamp(),
       coalesce(t.last_used_at < clock_timestamp() - make_interval(secs => {TOUCH_EVERY_SECONDS}),
                true),
       m.role, m.authority, {", ".join(f"u.{name}" for name in _USER)},
       {", ".join(f"team.{name}" for name in _TEAM)}
  FROM guardian_apitoken t
  JOIN guardian_user u ON u.id = t.user_id AND u.is_active
  JOIN guardian_team team ON team.id = t.team_id
  LEFT JOIN guardian_membership m ON m.user_id = t.user_id AND m.team_id = t.team_id
 WHERE t.key_id = %(key_id)s
"""  # noqa: S608  names of this module


def pepper_hash(secret: str, pepper: bytes) -> str:
    """HMAC-SHA256 of a token's secret, which alone is stored."""
    return hmac.new(pepper, secret.encode(), hashlib.sha256).hexdigest()


def authenticate_token(text: str, *, address: str) -> Actor:
    """The actor behind a token's text.

    Raises Unauthorized, TokenExpired, TokenRevoked, AddressNotAllowed.
    """
    key_id, secret = split_token(text)
    found = run_prepared(_FIND, {"key_id": key_id})
    if not found:
        raise _unknown()
    (
        token_id, secret_hash, pepper_id, scopes, can_write, networks, cap, is_revoked, is_expired,
        is_to_touch, role, authority, *named,
    ) = found[0]  # fmt: skip
    pepper = settings.TOKEN_PEPPERS.get(pepper_id)
    if pepper is None or not hmac.compare_digest(pepper_hash(secret, pepper), secret_hash):
        raise _unknown()
    if is_revoked:
        raise TokenRevoked
    if is_expired:
        raise TokenExpired
    if networks and not _allowed(address, networks):
        raise AddressNotAllowed
    if role is None:
        raise Unauthorized(
            "This token's user is no longer in its team.", remedy="Ask an admin of the team."
        )
    if is_to_touch:
        used = ApiToken.objects.filter(pk=token_id)
        used.update(last_used_at=timezone.now(), last_used_ip=address or None)
    return Actor(
        user=_loaded(User, _USER, named[: len(_USER)]),
        team=_loaded(Team, _TEAM, named[len(_USER) :]),
        role=role,
        authority=min(authority, cap or SYSTEM),
        scopes=scopes_of(role, scopes),
        token_id=token_id,
        can_write=can_write,
    )


def _unknown() -> Unauthorized:
    return Unauthorized(
        "This token is not known here.",
        remedy="Send all of it, lem_<key id>.<secret>, or ask for a new one.",
    )


def _loaded(model: Any, names: tuple[str, ...], values: list[Any]) -> Any:
    return model.from_db(connection.alias, names, values)


def split_token(text: str) -> tuple[str, str]:
    """Key id and secret; a bootstrap token of any other form is looked up by its digest."""
    head, dot, secret = text.partition(".")
    if head.startswith("lem_") and dot and len(head) == 16:
        return head[4:], secret
    return hashlib.sha256(text.encode()).hexdigest()[:12], text


def _allowed(address: str, networks: list[str]) -> bool:
    try:
        peer = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(peer in ipaddress.ip_network(network, strict=False) for network in networks)
