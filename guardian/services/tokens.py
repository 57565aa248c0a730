"""API tokens: made once, shown once, stored as a keyed hash."""

import ipaddress
import secrets
import string
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from guardian import events
from guardian.authority import (
    ALL_SCOPES,
    ROLE_SCOPES,
    Actor,
    require_level,
    require_scope,
    scopes_of,
)
from guardian.errors import (
    Forbidden,
    Invalid,
    NotFound,
    ScopeMissing,
)
from guardian.models import ApiToken, Membership, Team, User
from guardian.outbox import emit
from guardian.services.credentials import pepper_hash, split_token

_ALPHABET = string.ascii_letters + string.digits
MAX_AGE = {"agent": timedelta(days=90), "human": timedelta(days=365)}
BOOTSTRAP = "bootstrap"
DEFAULT_AGE = timedelta(days=90)


def _newest_pepper() -> tuple[str, bytes]:
    return next(iter(settings.TOKEN_PEPPERS.items()))


@transaction.atomic
def create_token(
    *,
    actor: Actor,
    name: str,
    scopes: list[str],
    user: User | None = None,
    expires_at: datetime | None = None,
    can_write: bool = True,
    allowed_ips: list[str] | None = None,
    authority_cap: int | None = None,
) -> tuple[ApiToken, str]:
    """Make a token and return it with its text, which is shown only now.

    A token made by a token is never worth more than its maker: cap, addresses, expiry, writing
    and scopes are at most the maker's. `user`: an agent of the team whose level the maker has.
    Raises ScopeMissing for scopes beyond the maker's, Forbidden, AuthorityTooLow, Invalid,
    NotFound.
    """
    if actor.kind == User.Kind.AGENT:
        raise Forbidden("Agents may not make tokens.", remedy="Ask a person of the team for one.")
    owner = user or actor.user
    if unknown := sorted(set(scopes) - ALL_SCOPES):
        known = ", ".join(sorted(ALL_SCOPES))
        raise Invalid(
            path="scopes", reason=f"there is no scope {', '.join(unknown)}; known: {known}"
        )
    if owner.pk != actor.id:
        _check_owner(actor, owner, scopes)
    beyond = sorted(set(scopes) - actor.scopes)
    if beyond:
        raise ScopeMissing("You cannot give away scopes you do not have.", required=beyond)
    for address in allowed_ips or []:
        _check_network(address)
    maker = ApiToken.objects.filter(pk=actor.token_id).first() if actor.token_id else None
    expires_at = _expiry(owner, expires_at, maker)
    if maker is not None:
        allowed_ips = _within(allowed_ips or [], maker.allowed_ips)
        can_write = can_write and maker.can_write
        caps = [cap for cap in (authority_cap, maker.authority_cap) if cap is not None]
        authority_cap = min(caps, default=None)
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    secret = secrets.token_urlsafe(32)
    pepper_id, pepper = _newest_pepper()
    token = ApiToken.objects.create(
        team=actor.team,
        user=owner,
        name=name,
        key_id=key_id,
        secret_hash=pepper_hash(secret, pepper),
        pepper_id=pepper_id,
        scopes=sorted(set(scopes)),
        can_write=can_write,
        allowed_ips=allowed_ips or [],
        authority_cap=authority_cap,
        expires_at=expires_at,
        created_by=actor.user,
    )
    emit(events.TOKEN_CREATED, subject=token, actor=actor, name=name, key_id=key_id, scopes=scopes)
    return token, f"lem_{key_id}.{secret}"


def _check_network(text: str) -> None:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise Invalid(path="allowed_ips", reason=f"{text!r} is no address or network") from error


def _check_owner(actor: Actor, owner: User, scopes: list[str]) -> None:
    """Raises ScopeMissing, NotFound, Forbidden, AuthorityTooLow, Invalid."""
    require_scope(actor, "tokens:admin")
    membership = Membership.objects.filter(user=owner, team=actor.team).first()
    if membership is None:
        raise NotFound("There is no such user in this team.")
    if owner.kind != User.Kind.AGENT:
        raise Forbidden("A token acts as its user: people make their own.")
    require_level(actor, membership.authority)
    possible = ROLE_SCOPES[membership.role]
    if never := sorted(set(scopes) - possible):
        raise Invalid(
            path="scopes",
            reason=f"role {membership.role} never has {', '.join(never)};"
            f" it can have: {', '.join(sorted(possible))}",
        )


def _within(wanted: list[str], allowed: list[str]) -> list[str]:
    """The wanted networks, or all the maker's. Raises Invalid for one that leaves the maker's."""
    if not allowed or not wanted:
        return wanted or allowed
    outer = [ipaddress.ip_network(text, strict=False) for text in allowed]
    for text in wanted:
        if not any(_contains(network, text) for network in outer):
            raise Invalid(
                path="allowed_ips",
                reason=f"{text!r} is outside of what the token that asks may be used from",
            )
    return wanted


def _contains(outer: ipaddress.IPv4Network | ipaddress.IPv6Network, text: str) -> bool:
    inner = ipaddress.ip_network(text, strict=False)
    if isinstance(outer, ipaddress.IPv4Network):
        return isinstance(inner, ipaddress.IPv4Network) and inner.subnet_of(outer)
    return isinstance(inner, ipaddress.IPv6Network) and inner.subnet_of(outer)


def _expiry(owner: User, wanted: datetime | None, maker: ApiToken | None) -> datetime:
    """When the new token ends: at most as late as the token that makes it. Raises Invalid."""
    now = timezone.now()
    longest = MAX_AGE.get(owner.kind, MAX_AGE["human"])
    expires_at = wanted or now + DEFAULT_AGE
    if not now < expires_at <= now + longest + timedelta(minutes=1):
        raise Invalid(path="expires_at", reason=f"must be within {longest.days} days from now")
    if maker is None or maker.expires_at is None or expires_at <= maker.expires_at:
        return expires_at
    if wanted is not None:
        raise Invalid(
            path="expires_at", reason="must not be later than that of the token that asks"
        )
    return maker.expires_at


@transaction.atomic
def revoke_token(*, actor: Actor, token_id: UUID, reason: str) -> ApiToken:
    """End a token at once. Raises NotFound, ScopeMissing, Forbidden."""
    token = ApiToken.objects.select_for_update().filter(pk=token_id, team=actor.team).first()
    if token is None:
        raise NotFound
    if actor.kind == User.Kind.AGENT and token.pk != actor.token_id:
        raise Forbidden("An agent may end only the token it uses.")
    if token.user_id != actor.id:
        require_scope(actor, "tokens:admin")
    if token.revoked_at is None:
        token.revoked_at = timezone.now()
        token.save(update_fields=["revoked_at", "updated_at"])
        emit(events.TOKEN_REVOKED, subject=token, actor=actor, reason=reason, key_id=token.key_id)
    return token


@transaction.atomic
def ensure_bootstrap_token(*, text: str, team: Team, user: User) -> ApiToken:
    """The token given at the start; made if unknown, never brought back once revoked."""
    key_id, secret = split_token(text)
    token = ApiToken.objects.filter(key_id=key_id).first()
    pepper_id, pepper = _newest_pepper()
    if token is not None:
        if token.name == BOOTSTRAP and token.pepper_id not in settings.TOKEN_PEPPERS:
            # Its pepper was retired: the given text goes on under the newest, revoked or not.
            token.secret_hash, token.pepper_id = pepper_hash(secret, pepper), pepper_id
            token.save(update_fields=["secret_hash", "pepper_id", "updated_at"])
        return token
    return ApiToken.objects.create(
        team=team,
        user=user,
        name=BOOTSTRAP,
        key_id=key_id,
        secret_hash=pepper_hash(secret, pepper),
        pepper_id=pepper_id,
        scopes=sorted(scopes_of("admin")),
        created_by=user,
    )
