"""Who may do what: role, scope and authority level, always from identity, never from a request."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from guardian.errors import AuthorityTooLow, Forbidden, ScopeMissing

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet

    from guardian.models import Team, User

M = TypeVar("M", bound="Model")
WORKER, WATCHDOG, MONITOR, GUARDIAN, SYSTEM = 1, 2, 3, 4, 5

_READ_AREAS = (
    "tickets agents patterns runs collab events locks guardian rights tools sandbox memory costs"
)
_READ = {f"{area}:read" for area in _READ_AREAS.split()}
_WORK = {
    *(f"{area}:write" for area in ("tickets", "memory", "costs", "agents")),
    "tasks:work",
    "tools:execute",
    "sandbox:use",
    "patterns:execute",
    "runs:write",
    "collab:write",
    "events:publish",
    "locks:acquire",
    "guardian:propose",
}
_OPERATE = {
    "approvals:decide",
    "work:approve",
    "locks:break",
    "guardian:intervene",
    "agents:operate",
    "runtime:operate",
    "runs:operate",
    "execute:stale",
    "breakers:reset",
    "webhooks:read",
    "audit:read",
    "system:read",
}
_AUTHOR = {"tools:write", "patterns:write", "workflows:write", "events:schedule"}
_ADMIN = {
    "tools:publish",
    "tools:approve",
    "agents:publish",
    "patterns:publish",
    "workflows:publish",
    "sandbox:admin",
    "memory:admin",
    "rights:admin",
    "tokens:admin",
    "team:admin",
    "costs:admin",
    "guardian:policy",
    "packs:operate",
    "webhooks:write",
    "audit:export",
    "system:operate",
}

# The table of scopes, complete: whatever is not here is refused.
ROLE_SCOPES: dict[str, frozenset[str]] = {
    "viewer": frozenset(_READ | {"tokens:self"}),
    "operator": frozenset(_READ | {"tokens:self"} | _WORK | _OPERATE),
    "author": frozenset(_READ | {"tokens:self"} | _WORK | _AUTHOR),
    "admin": frozenset(_READ | {"tokens:self"} | _WORK | _OPERATE | _AUTHOR | _ADMIN),
    # An agent decides reviews only, intervenes only if its token names it.
    "agent": frozenset(
        _READ | {"tokens:self"} | _WORK | {"approvals:decide", "guardian:intervene"}
    ),
}
ALL_SCOPES = frozenset().union(*ROLE_SCOPES.values())
READ_ONLY_SCOPES = frozenset(scope for scope in ALL_SCOPES if scope.endswith(":read")) | {
    "tokens:self"
}
DEFAULT_AUTHORITY = {"viewer": 1, "author": 2, "operator": 3, "admin": 4, "agent": 1}
AUTHORITY_CEILING = {"viewer": 1, "author": 2, "operator": 4, "admin": 5, "agent": 3}
# Roles that open the admin to a person.
STAFF_ROLES = frozenset({"operator", "author", "admin"})
# An agent may guard only where somebody of the highest level says so.
AGENT_GUARDIAN_CEILING = 4


@dataclass(frozen=True, slots=True)
class Actor:
    """A user in a team, with what their credentials allow right now."""

    user: "User"
    team: "Team"
    role: str
    authority: int
    scopes: frozenset[str]
    token_id: UUID | None = None
    can_write: bool = True

    @property
    def id(self) -> UUID:
        return self.user.pk

    @property
    def team_id(self) -> UUID:
        return self.team.pk

    @property
    def name(self) -> str:
        return self.user.name

    @property
    def kind(self) -> str:
        return self.user.kind

    @property
    def is_human(self) -> bool:
        return self.user.kind == "human"

    @property
    def is_authenticated(self) -> bool:
        return True

    def has_scope(self, scope: str) -> bool:
        return scope in self.scopes

    def __str__(self) -> str:
        return self.name


def may(actor: Actor, scope: str, *, level: int = 1, human: bool = False) -> bool:
    """Whether this actor has the scope, at least the level, and is a person where one is needed."""
    return scope in actor.scopes and actor.authority >= level and (actor.is_human or not human)


def require_scope(actor: Actor, scope: str) -> None:
    """Raises ScopeMissing."""
    if scope not in actor.scopes:
        raise ScopeMissing(f"Your role or token lacks the scope {scope}.", required=scope)


def require_level(actor: Actor, level: int, *, human: bool = False) -> None:
    """Raises AuthorityTooLow, Forbidden."""
    if actor.authority < level:
        raise AuthorityTooLow(required=level, actual=actor.authority)
    if human and not actor.is_human:
        raise Forbidden("Only a person may decide this.")


def owns(actor: Actor, *owner_ids: UUID | None) -> bool:
    """The object rule: people answer to role and level; an agent is also kept to its own rows."""
    return actor.kind != "agent" or actor.id in owner_ids


def own_rows(actor: Actor, rows: "QuerySet[M]", owner: str) -> "QuerySet[M]":
    """The rows of a team that the object rule leaves to this actor; `owner` names their user."""
    return rows if actor.kind != "agent" else rows.filter(**{owner: actor.id})


def scopes_of(role: str, granted: Iterable[str] | None = None) -> frozenset[str]:
    """The role's scopes, narrowed to those a token was given."""
    allowed = ROLE_SCOPES[role]
    return allowed if granted is None else allowed & frozenset(granted)


def actor_for(user: "User", team: "Team | None" = None) -> Actor:
    """The actor for a user without a token; the team is the first membership unless given.

    Raises Forbidden when the user belongs to no such team.
    """
    memberships = user.memberships.select_related("team").order_by("created_at", "id")
    if team is not None:
        memberships = memberships.filter(team=team)
    membership = memberships.first()
    if membership is None:
        raise Forbidden("You are not a member of this team.")
    return Actor(
        user=user,
        team=membership.team,
        role=membership.role,
        authority=membership.authority,
        scopes=scopes_of(membership.role),
    )


def service_actor(team: "Team") -> Actor:
    """Lemnos itself, acting in a team: service user `guardian`, level 5."""
    from guardian.models import User

    user, _ = User.objects.get_or_create(
        username="guardian",
        defaults={"kind": User.Kind.SERVICE, "display_name": "Lemnos", "password": "!"},
    )
    return Actor(user=user, team=team, role="admin", authority=5, scopes=ROLE_SCOPES["admin"])
