"""What of the evidence waits for this operator's own decision, and for no other's."""

from typing import Any

from django.contrib import admin
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.fields.json import KeyTextTransform
from django.http import HttpRequest

from guardian import asked
from guardian.authority import ROLE_SCOPES
from phases.models import GateRequirement, PhaseGateArtifact

CONFIRMS = sorted(role for role, scopes in ROLE_SCOPES.items() if "approvals:decide" in scopes)

# A confirmation does not stand in for our own run, where the gate wants that.
_WORD_WILL_DO = Q(parameters__observed__isnull=True) | Q(parameters__observed=False)
# What a text's length and headings show needs nobody's word; all other rules do, and none at all.
_NEEDS_WORD = (
    Q(parameters__rules__has_any_keys=["present", "all_passed", "min", "max", "equals"])
    | Q(parameters__rules__isnull=True)
    | Q(parameters__rules={})
)


def to_confirm(request: HttpRequest, artifacts: QuerySet[Any]) -> QuerySet[Any]:
    """Reported by another, current, and asked for by the gate of the ticket's present phase.

    What our own run observed, or somebody said later, takes its place.
    """
    user: Any = request.user
    same = PhaseGateArtifact.objects.filter(
        ticket=OuterRef("ticket"),
        phase=OuterRef("phase"),
        visit=OuterRef("visit"),
        artifact_type=OuterRef("artifact_type"),
    )
    better = same.filter(~Q(source="reported") | Q(recorded_at__gt=OuterRef("recorded_at")))
    wanted = GateRequirement.objects.annotate(
        wants=KeyTextTransform("artifact_type", "parameters")
    ).filter(
        _NEEDS_WORD & _WORD_WILL_DO,
        phase=OuterRef("phase"),
        kind="artifact",
        min_evidence=GateRequirement.Evidence.VERIFIED,
        wants=OuterRef("artifact_type"),
    )
    teams = asked.once(
        request,
        "confirms",
        lambda: list(user.memberships.filter(role__in=CONFIRMS).values_list("team_id", flat=True)),
    )
    return artifacts.filter(
        Exists(wanted),
        ~Exists(better),
        team__in=teams,
        source="reported",
        ticket__status__in=("pending", "in_progress"),
        ticket__phase=F("phase"),
        ticket__visit=F("visit"),
    ).exclude(collected_by=user)


class Yours(admin.SimpleListFilter):
    """Whether it is yours to decide, now."""

    title = "decision"
    parameter_name = "decide"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("mine", "Waits for yours")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return to_confirm(request, queryset) if self.value() == "mine" else queryset
