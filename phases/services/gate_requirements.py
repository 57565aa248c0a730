"""What a gate asks for is edited here: made, changed, removed, each kind with its parameters."""

from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from guardian.authority import Actor
from guardian.errors import Invalid, NotFound, StaleVersion
from guardian.outbox import emit
from phases import events
from phases.errors import PhaseInUse, RequirementExists
from phases.gate_kinds import BY_KEY, check_parameters
from phases.models import GateRequirement, Phase, PhaseGateArtifact, Ticket
from phases.results import fault_in_json
from phases.services.workflow_edits import locked_workflow

NAMED_TICKETS = 20


def find_phase(*, actor: Actor, phase: str, workflow: str | None = None) -> Phase:
    """A phase of the team by its id, or by its key in a workflow (the default one if unnamed).

    Raises NotFound.
    """
    rows = Phase.objects.select_related("workflow").filter(team_id=actor.team_id)
    if workflow:
        rows = rows.filter(workflow__key=workflow)
    try:
        found = rows.filter(pk=UUID(phase)).first()
    except ValueError:
        named = rows if workflow else rows.filter(workflow__is_default=True)
        found = named.filter(key=phase).first()
    if found is None:
        raise NotFound("There is no such phase; GET /api/v1/workflows lists them.")
    return found


@transaction.atomic
def add_requirement(
    *,
    actor: Actor,
    phase_id: UUID,
    key: str,
    kind: str,
    parameters: dict[str, Any] | None = None,
    **fields: Any,
) -> GateRequirement:
    """Let a phase's gate ask for one thing more. Raises NotFound, Invalid, RequirementExists."""
    phase = _phase(actor, phase_id)
    _check(kind, parameters or {})
    try:
        with transaction.atomic():
            made = GateRequirement.objects.create(
                team=phase.team,
                phase=phase,
                key=key,
                kind=kind,
                parameters=parameters or {},
                **fields,
            )
    except IntegrityError as error:
        raise RequirementExists(
            f"The gate of {phase.key} has a requirement {key} already.", key=key
        ) from error
    _tell(made, actor, "added", after=_facts(made))
    return made


@transaction.atomic
def change_requirement(
    *,
    actor: Actor,
    phase_id: UUID,
    requirement_id: UUID,
    version: int | None,
    changes: dict[str, Any],
) -> GateRequirement:
    """Ask otherwise: parameters, min_evidence, required. Evidence names key and kind: they stay.

    Evidence of a run or an answer that was about other parameters is stale from now on.
    Raises NotFound, StaleVersion, Invalid.
    """
    row = _locked(actor, phase_id, requirement_id, version)
    if "parameters" in changes:
        _check(row.kind, changes["parameters"])
    before = _facts(row)
    for name, value in changes.items():
        setattr(row, name, value)
    if _facts(row) == before:
        return row
    row.version += 1
    row.save(update_fields=[*changes, "version", "updated_at"])
    _tell(row, actor, "changed", before=before, after=_facts(row))
    return row


@transaction.atomic
def remove_requirement(
    *, actor: Actor, phase_id: UUID, requirement_id: UUID, version: int | None
) -> None:
    """Let a gate ask for one thing less.

    Not while an open ticket in the phase has an answer to it that stands for nothing else: a run
    of ours, a person's yes or no. Raises NotFound, StaleVersion, PhaseInUse.
    """
    row = _locked(actor, phase_id, requirement_id, version)
    if row.kind in BY_KEY:
        here = Ticket.objects.still_open().filter(phase_id=phase_id)
        answered = PhaseGateArtifact.objects.filter(
            ticket__in=here, phase_id=phase_id, artifact_type=row.kind, artifact_path=row.key
        )
        numbers = answered.order_by("ticket__number").values_list("ticket__number", flat=True)
        tickets = list(numbers.distinct()[:NAMED_TICKETS])
        if tickets:
            names = ", ".join(f"#{number}" for number in tickets)
            raise PhaseInUse(
                f"Tickets in this phase have an answer to {row.key}: {names}.", tickets=tickets
            )
    _tell(row, actor, "removed", before=_facts(row))
    row.delete()


def _phase(actor: Actor, phase_id: UUID) -> Phase:
    """The phase, its workflow locked: whoever edits that writes all its rows as they were read."""
    rows = Phase.objects.filter(pk=phase_id, team_id=actor.team_id)
    flow = rows.values_list("workflow_id", flat=True).first()
    if flow is not None:
        locked_workflow(team_id=actor.team_id, workflow_id=flow)
    phase = rows.first()
    if phase is None:
        raise NotFound("There is no such phase.")
    return phase


def _locked(
    actor: Actor, phase_id: UUID, requirement_id: UUID, version: int | None
) -> GateRequirement:
    _phase(actor, phase_id)
    row = (
        GateRequirement.objects.select_for_update(of=("self",))
        .select_related("phase")
        .filter(pk=requirement_id, phase_id=phase_id, team_id=actor.team_id)
        .first()
    )
    if row is None:
        raise NotFound("There is no such requirement.")
    if version not in {None, row.version}:
        raise StaleVersion(current_etag=f'"v{row.version}"')
    return row


def _check(kind: str, parameters: dict[str, Any]) -> None:
    if reason := fault_in_json(parameters):
        raise Invalid(path="parameters", reason=reason)
    check_parameters(kind, parameters)


def _facts(row: GateRequirement) -> dict[str, Any]:
    return {
        "kind": str(row.kind),
        "parameters": row.parameters,
        "min_evidence": row.min_evidence,
        "required": row.required,
    }


def _tell(
    row: GateRequirement,
    actor: Actor,
    what: str,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    emit(
        events.GATE_REQUIREMENT_CHANGED,
        subject=row,
        actor=actor,
        before=before,
        after=after,
        phase=row.phase.key,
        phase_id=str(row.phase_id),
        key=row.key,
        change=what,
    )
