"""What a budget can limit: each kind of scope with the question whether a team has such a row.

The apps above register their own kinds; only those that a claim asks for may be limited.
"""

from collections.abc import Callable
from uuid import UUID

from guardian.models import Membership

Exists = Callable[[UUID, UUID], bool]
_SCOPES: dict[str, Exists] = {}


def budget_scope(scope_type: str) -> Callable[[Exists], Exists]:
    """Register `exists(team_id, row_id)` for one kind of scope."""

    def register(exists: Exists) -> Exists:
        _SCOPES[scope_type] = exists
        return exists

    return register


def limitable() -> list[str]:
    """The kinds of scope, the team's own first."""
    return ["team", *sorted(_SCOPES)]


def has_scope_row(scope_type: str, team_id: UUID, row_id: UUID) -> bool:
    """Whether the team has what a budget is to limit. Raises KeyError for an unknown kind."""
    return _SCOPES[scope_type](team_id, row_id)


@budget_scope("agent")
def _is_agent_of_the_team(team_id: UUID, user_id: UUID) -> bool:
    return Membership.objects.filter(team_id=team_id, user_id=user_id, user__kind="agent").exists()
