"""Where new work is stopped by a kill switch, by whom and why, told for people and pages."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, OuterRef, Q, QuerySet, Subquery, TextField, Value
from django.db.models.functions import Coalesce, JSONObject, NullIf

from guardian.authority import GUARDIAN, ROLE_SCOPES, STAFF_ROLES, SYSTEM
from guardian.models import GuardianAction, Membership, User

# Who may turn a switch, given the level.
_INTERVENE = [role for role, scopes in ROLE_SCOPES.items() if "guardian:intervene" in scopes]
_BY = Coalesce(
    NullIf("initiated_by__display_name", Value("")),
    "initiated_by__username",
    output_field=TextField(),
)
_TOLD = JSONObject(reason="reason", by=_BY, since="executed_at", everywhere=Q(team__isnull=True))


def told_stop(team: Any) -> Subquery:
    """For a query's own row: {reason, by, since, everywhere} of its team, null while work goes on.

    `team` is the outer reference to the team's id.
    """
    return Subquery(_holding(Q(team=team)).values(told=_TOLD)[:1])


def stop_of(team_id: UUID) -> dict[str, Any] | None:
    """{reason, by, since, everywhere} of the switch that stops this team; None: work goes on."""
    return _holding(Q(team=team_id)).values_list(_TOLD, flat=True).first()


def stops_of(teams: Iterable[UUID]) -> dict[UUID, dict[str, Any] | None]:
    """The same for several teams, by one statement."""
    asked = list(teams)
    rows = _holding(Q(team__in=asked)).values_list("team_id", _TOLD)
    found = dict(reversed(list(rows)))
    return {team: found.get(None) or found.get(team) for team in asked}


def _holding(of_team: Q) -> "QuerySet[GuardianAction]":
    """A switch for all teams is told before the team's own."""
    found = GuardianAction.objects.switches_on().filter(of_team | Q(team=None))
    return found.order_by(F("team").asc(nulls_first=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """A kill switch that is on, as an operator sees it."""

    pk: UUID
    team_id: UUID | None
    where: str
    reason: str
    by: str
    since: datetime | None
    may_lift: bool

    @property
    def everywhere(self) -> bool:
        return self.team_id is None

    def __str__(self) -> str:
        return f"New work is stopped {self.where} by {self.by}: {self.reason}"


def seen_by(user: User) -> list[Stop]:
    """Every switch that is on where this person is an operator; the one for all teams first."""
    roles = Membership.objects.filter(user=user, role__in=STAFF_ROLES)
    mighty = roles.filter(role__in=_INTERVENE).order_by("-authority")
    switches = (
        _holding(Q(team__in=roles.values("team")))
        .select_related("team", "initiated_by")
        .annotate(
            here=Subquery(mighty.filter(team=OuterRef("team")).values("authority")[:1]),
            anywhere=Subquery(mighty.values("authority")[:1]),
        )
    )
    return [
        Stop(
            pk=switch.pk,
            team_id=switch.team_id,
            where=f"in {switch.team.name}" if switch.team else "in every team",
            reason=switch.reason,
            by=switch.initiated_by.name,
            since=switch.executed_at,
            may_lift=(switch.here or 0) >= GUARDIAN
            if switch.team_id
            else (switch.anywhere or 0) >= SYSTEM,
        )
        for switch in switches
    ]
