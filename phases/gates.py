"""Gates: what a phase asks for, what there is, and in plain words what is missing.

Evidence is verified only if our own run observed it or a second person confirmed it. Length and
sections are judged on the stored bytes themselves, so their outcome is verified whoever sent them.
"""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import BooleanField, ExpressionWrapper, Q

from phases import gate_rules
from phases.models import GateRequirement, Phase, PhaseGateArtifact, Task, Ticket

# Rules that read the stored content itself and need nobody's word.
_SELF_EVIDENT = {"min_length", "sections"}
# Evidence about code is stale as soon as newer code exists.
_ABOUT_CODE = {"test_results", "test_coverage", "test_evidence", "lint_report"}


@dataclass(slots=True)
class Criterion:
    """One requirement and how it stands: level is reported, verified or none."""

    key: str
    kind: str
    required: bool
    met: bool = False
    level: str = "none"
    stale: bool = False
    missing: bool = False
    reason: str = ""
    artifact_id: str | None = None
    artifact_type: str = ""
    observer: str = ""
    observation: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Evaluation:
    """The outcome: status passed or failed, and which question decided it."""

    status: str
    evaluation: str
    criteria: list[Criterion] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def reasons(self) -> list[str]:
        unmet = [c.reason for c in self.criteria if c.required and not c.met and c.reason]
        return unmet if self.passed else [*unmet, *self.notes]

    @property
    def passed(self) -> bool:
        return self.status == "passed"


def evaluate(ticket: Ticket, phase: Phase | None = None) -> Evaluation:
    """Judge a phase's gate for a ticket; reads only. The first status that holds wins."""
    phase = phase or ticket.phase
    criteria = [_criterion(ticket, phase, r) for r in _requirements(phase)]
    required = [c for c in criteria if c.required]
    if not criteria:
        return Evaluation("passed", "not_configured")
    if any(c.missing for c in required):
        return Evaluation("failed", "blocked", criteria)
    if any(c.kind == "tasks_completed" and not c.met for c in required):
        return Evaluation("failed", "waiting_tasks", criteria)
    if any(c.stale for c in required):
        return Evaluation("failed", "waiting_checks", criteria)
    met = all(c.met for c in required)
    return Evaluation("passed" if met else "failed", "ready", criteria)


def inputs_digest(ticket: Ticket, phase: Phase) -> str:
    """SHA-256 over all that `evaluate` reads: the same digest, the same outcome.

    Asked before an evaluation and again under the ticket's lock, it shows what changed between.
    """
    asked = phase.requirements.order_by("id").values_list(
        "id", "kind", "required", "min_evidence", "parameters"
    )
    tasks = Task.objects.filter(ticket=ticket).order_by("id")
    states = tasks.values_list("id", "phase", "status", "visit")
    evidence = (
        PhaseGateArtifact.objects.filter(Q(phase=phase) | Q(artifact_type="code_changes"))
        .filter(ticket=ticket)
        .order_by("id")
        .values_list("id", "sha256", "source", "verified_by", "visit", "recorded_at")
    )
    facts = [ticket.visit, phase.expected_outputs, list(asked), list(states), list(evidence)]
    text = json.dumps(facts, sort_keys=True, cls=DjangoJSONEncoder)
    return hashlib.sha256(text.encode()).hexdigest()


def _requirements(phase: Phase) -> list[GateRequirement]:
    """The gate's rows, and each required output that none of them asks for."""
    rows = list(phase.requirements.order_by("created_at", "id"))
    asked = {str(r.parameters.get("artifact_type")) for r in rows if r.kind == "artifact"}
    rows.extend(
        GateRequirement(
            key=f"output_{output['type']}",
            kind="artifact",
            parameters={"artifact_type": output["type"], "rules": {"present": True}},
            min_evidence="reported",
        )
        for output in phase.expected_outputs
        if output.get("required", True) and output["type"] not in asked
    )
    return rows


def _criterion(ticket: Ticket, phase: Phase, requirement: GateRequirement) -> Criterion:
    found = Criterion(requirement.key, requirement.kind, requirement.required)
    if requirement.kind == "tasks_completed":
        return _judge_tasks(ticket, phase, found)
    return _judge_artifact(ticket, phase, requirement, found)


def _judge_tasks(ticket: Ticket, phase: Phase, found: Criterion) -> Criterion:
    ignored = ["cancelled", "duplicated"]
    of_now = Task.objects.of_visit(ticket, phase).exclude(status__in=ignored)
    here = list(of_now.values_list("status", flat=True))
    still_open = Task.objects.still_open().filter(ticket=ticket)
    earlier = still_open.filter(phase__sequence_order__lt=phase.sequence_order).count()
    open_here = sum(status != "completed" for status in here)
    found.level = "verified"
    found.met = bool(here) and not open_here and not earlier
    if not here:
        found.reason = "No task of this phase exists yet."
    elif open_here:
        found.reason = f"{open_here} of {len(here)} tasks of this phase are not completed."
    elif earlier:
        found.reason = f"{earlier} tasks of earlier phases are still open."
    return found


def _judge_artifact(
    ticket: Ticket, phase: Phase, requirement: GateRequirement, found: Criterion
) -> Criterion:
    kind = str(requirement.parameters.get("artifact_type", ""))
    rules: dict[str, Any] = requirement.parameters.get("rules", {})
    found.artifact_type = kind
    needs_own_run = requirement.parameters.get("observed") is True
    artifact = _weightiest(ticket, phase, kind, needs_own_run=needs_own_run)
    if artifact is None:
        found.missing = True
        found.reason = f"There is no {gate_rules.words(kind)} yet."
        return found
    found.artifact_id = str(artifact.pk)
    found.observer = (artifact.verified_by or artifact.collected_by).name
    found.observation = artifact.observation
    self_evident = bool(rules) and set(rules) <= _SELF_EVIDENT
    found.level = "verified" if artifact.is_verified or self_evident else "reported"
    found.stale = not artifact.is_fresh
    faults = gate_rules.faults(rules, artifact)
    enough = found.level == "verified" or requirement.min_evidence == "reported"
    if needs_own_run and artifact.source != PhaseGateArtifact.Source.SANDBOX:
        found.level, enough = "reported", False
    found.met = not faults and enough and not found.stale
    name = gate_rules.words(kind)
    if found.stale:
        found.reason = f"The {name} is stale: it was made before the newest change."
    elif faults:
        texts = "; ".join(gate_rules.clause(fault) for fault in faults)
        found.reason = f"{name.capitalize()}: {texts}."
    elif needs_own_run and not enough:
        found.reason = f"{name.capitalize()}: only reported, it must come from our own run."
    elif not enough:
        found.reason = f"{name.capitalize()}: only reported, nobody has observed it."
    return found


def _weightiest(ticket: Ticket, phase: Phase, kind: str, *, needs_own_run: bool) -> Any:
    """Of a type the piece that counts: fresh before stale, observed before said, then the newest.

    Else whoever speaks last would outweigh what our own run has seen. Carries `is_fresh`.
    """
    evidence = PhaseGateArtifact.objects.filter(ticket=ticket)
    fresh = Q(visit=ticket.visit)
    if kind in _ABOUT_CODE:
        code = evidence.filter(artifact_type="code_changes").order_by("-recorded_at")
        changed_at = code.values_list("recorded_at", flat=True).first()
        if changed_at is not None:
            fresh &= Q(recorded_at__gte=changed_at)
    observed = ~Q(source=PhaseGateArtifact.Source.REPORTED)
    if needs_own_run:
        observed = Q(source=PhaseGateArtifact.Source.SANDBOX)
    return (
        evidence.filter(phase=phase, artifact_type=kind)
        .annotate(
            is_fresh=ExpressionWrapper(fresh, BooleanField()),
            is_observed=ExpressionWrapper(observed, BooleanField()),
        )
        .select_related("collected_by", "verified_by")
        .order_by("-is_fresh", "-is_observed", "-recorded_at", "-id")
        .first()
    )
