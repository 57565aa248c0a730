"""Where a ticket may go now and, for every other place, why not: the same rules as the move."""

from typing import Any

from phases.errors import ApprovalRequired, GateNotPassed, OpenTasks, TicketClosed, WipExceeded
from phases.gates import Evaluation, evaluate
from phases.models import BoardColumn, Phase, PhaseHistory, Task, Ticket
from phases.services.move_checks import allowed_targets, kind_of_move


def targets(ticket: Ticket) -> list[dict[str, Any]]:
    """Per phase {to_phase, name, column, kind, allowed, code, reasons, remedy, default}.

    `default` marks the phase a move to its column leads to. Reads only; the move asks again.
    """
    phases = list(
        Phase.objects.filter(workflow_id=ticket.workflow_id)
        .select_related("column")
        .order_by("sequence_order")
    )
    edges = set(allowed_targets(ticket))
    gate = evaluate(ticket)
    busy = Task.objects.still_open().filter(ticket=ticket).count()
    defaults = _defaults(ticket, phases, edges)
    rows = []
    for phase in phases:
        if phase.pk == ticket.phase_id:
            continue
        kind = kind_of_move(ticket.phase, phase)
        if ticket.is_open:
            code, reasons, remedy = _refusal(ticket, phase, edges, kind=kind, gate=gate, busy=busy)
        else:
            closed = TicketClosed(status=ticket.status)
            code, reasons, remedy = closed.code, [closed.detail], closed.remedy_text
        rows.append(
            {
                "to_phase": phase.key,
                "name": phase.name,
                "column": phase.column.key,
                "kind": kind,
                "allowed": code is None,
                "code": code,
                "reasons": reasons,
                "remedy": remedy,
                "default": defaults.get(phase.column_id) == phase.key,
            }
        )
    return rows


def _defaults(ticket: Ticket, phases: list[Phase], edges: set[str]) -> dict[Any, str]:
    back = ticket.previous_phase.key if ticket.previous_phase else ""
    chosen: dict[Any, str] = {}
    for phase in phases:
        if phase.key in edges and phase.pk != ticket.phase_id:
            chosen.setdefault(phase.column_id, phase.key)
            if ticket.phase.kind == Phase.Kind.BLOCKED and phase.key == back:
                chosen[phase.column_id] = back
    return chosen


def _refusal(
    ticket: Ticket, phase: Phase, edges: set[str], *, kind: str, gate: Evaluation, busy: int
) -> tuple[str | None, list[str], str]:
    if phase.key not in edges:
        ways = ", ".join(sorted(edges)) or "nowhere"
        said = f"{ticket.phase.name} does not lead to {phase.name}."
        return "illegal_transition", [said], f"From here it may go to: {ways}."
    if kind == PhaseHistory.Kind.FORWARD and not ticket.is_approved:
        said = f"This ticket is not approved: {ticket.get_approval_status_display().lower()}."
        return ApprovalRequired.code, [said], ApprovalRequired.remedy
    if kind == PhaseHistory.Kind.FORWARD and not gate.passed:
        return GateNotPassed.code, gate.reasons, GateNotPassed.remedy
    if phase.kind == Phase.Kind.DONE and busy:
        return OpenTasks.code, [f"{busy} tasks are still open."], OpenTasks.remedy
    return _place(ticket, phase)


def _place(ticket: Ticket, phase: Phase) -> tuple[str | None, list[str], str]:
    column: BoardColumn = phase.column
    stays = column.pk == ticket.column_id and ticket.admitted_at is not None
    if column.is_full and not stays and ticket.is_approved:
        full = f"{column.name} is full ({column.admitted_count} of {column.wip_limit})."
        return WipExceeded.code, [full], WipExceeded.remedy
    return None, [], ""
