"""What a move is, and what is asked behind its locks before it is made."""

from typing import Any

from guardian.errors import IllegalTransition, StaleVersion
from phases.errors import GateInputsChanged, GateNotPassed, OpenTasks, TicketClosed
from phases.gates import inputs_digest
from phases.models import Phase, PhaseGateResult, PhaseHistory, Task, Ticket
from phases.services.locking import is_still_there


def kind_of_move(source: Phase, target: Phase) -> str:
    """Which way this is: block, unblock, forward or backward."""
    if target.kind == Phase.Kind.BLOCKED:
        return PhaseHistory.Kind.BLOCK
    if source.kind == Phase.Kind.BLOCKED:
        return PhaseHistory.Kind.UNBLOCK
    if target.sequence_order > source.sequence_order:
        return PhaseHistory.Kind.FORWARD
    return PhaseHistory.Kind.BACKWARD


def check_still(ticket: Ticket, seen: Ticket, target: Phase, options: dict[str, Any]) -> None:
    # Moved or begun anew between a look and our lock: decide again on what is now.
    same = (ticket.phase_id, ticket.column_id, ticket.visit) == (
        seen.phase_id,
        seen.column_id,
        options["visit"] or seen.visit,
    )
    if not same or options["version"] not in {None, ticket.version} or not is_still_there(target):
        raise StaleVersion(current_etag=f'"v{ticket.version}"')
    if not ticket.is_open:
        raise TicketClosed(status=ticket.status)
    allowed = allowed_targets(ticket)
    if target.key not in allowed:
        raise IllegalTransition(
            f"A ticket in {ticket.phase.name} cannot go to {target.name}.", allowed=allowed
        )


def allowed_targets(ticket: Ticket) -> list[str]:
    """Phase keys this ticket may go to by the workflow's edges."""
    allowed: list[str] = ticket.phase.allowed_transitions
    if ticket.phase.kind != Phase.Kind.BLOCKED or ticket.previous_phase is None:
        return allowed
    # Out of Blocked: back to where it was or before, never past it.
    back = Phase.objects.filter(
        workflow_id=ticket.workflow_id,
        key__in=allowed,
        sequence_order__lte=ticket.previous_phase.sequence_order,
    )
    return list(back.order_by("sequence_order").values_list("key", flat=True))


def check_gate(gate: PhaseGateResult | None, ticket: Ticket) -> None:
    """The answer given before the lock counts only if nothing it was about has changed since."""
    if gate is None or gate.gate_status != PhaseGateResult.Status.PASSED:
        unmet = gate.blocking_reasons if gate else []
        evaluation = gate.evaluation if gate else None
        # What a check, a reviewer or an answer will bring by itself is no reason to give up.
        waits = bool(gate and gate.validation_result.get("will_go_on"))
        raise GateNotPassed(
            "; ".join(unmet) or None, unmet=unmet, evaluation=evaluation, will_go_on=waits
        )
    if gate.validation_result.get("inputs") != inputs_digest(ticket, ticket.phase):
        raise GateInputsChanged(unmet=["The evidence or tasks changed while the gate was asked."])


def check_no_open_tasks(ticket: Ticket) -> None:
    count = Task.objects.still_open().filter(ticket=ticket).count()
    if count:
        raise OpenTasks(f"{count} tasks of this ticket are still open.", open=count)
