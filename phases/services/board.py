"""The board's verbs: moves by hand, moves that happen by themselves, places that become free."""

from typing import Any
from uuid import UUID

from django.db import transaction

from guardian.authority import Actor
from guardian.errors import DomainError, IllegalTransition, Invalid, StaleVersion
from guardian.outbox import emit
from phases import events
from phases.errors import GateInputsChanged, GateNotPassed, OpenTasks, WipExceeded
from phases.models import BoardColumn, Phase, PhaseHistory, Task, Ticket
from phases.part import require_part
from phases.services.gate import renew_answer
from phases.services.locking import locked_ticket
from phases.services.move_checks import allowed_targets
from phases.services.moves import transition
from phases.services.places import put_at
from phases.services.tasks import system_actor


def move_card(
    *,
    actor: Actor,
    ticket_id: UUID,
    column: str,
    version: int | None,
    position: int | None = None,
    force: bool = False,
    override: bool = False,
    queue: bool = False,
    reason: str = "",
) -> Ticket:
    """Move a card to a column; within its own column only its rank changes.

    Raises StaleVersion, IllegalTransition, and what `transition` raises.
    """
    ticket = _visible(actor, ticket_id)
    require_part(actor=actor, ticket=ticket)
    target = BoardColumn.objects.filter(workflow_id=ticket.workflow_id, key=column).first()
    if target is None:
        raise Invalid(path="column", reason=f"{column!r} is no column of this board")
    if target.pk == ticket.column_id:
        return _rerank(actor=actor, ticket_id=ticket_id, version=version, position=position)
    phase = _phase_in(ticket, target)
    moved = transition(
        actor=actor,
        ticket_id=ticket_id,
        to_phase=phase,
        reason=reason,
        via=PhaseHistory.Via.BOARD,
        version=version,
        override=override,
        force=force,
        queue=queue,
        position=position,
    )
    return moved.ticket


def _visible(actor: Actor, ticket_id: UUID) -> Ticket:
    from guardian.errors import NotFound

    found = (
        Ticket.objects.select_related("phase", "previous_phase")
        .filter(pk=ticket_id, team=actor.team)
        .first()
    )
    if found is None:
        raise NotFound("There is no such ticket.")
    return found


def _phase_in(ticket: Ticket, column: BoardColumn) -> str:
    """The previous phase on a return, else the column's first phase the edges allow."""
    allowed = allowed_targets(ticket)
    keys = list(column.phases.order_by("sequence_order").values_list("key", flat=True))
    fits = [key for key in keys if key in allowed]
    if not fits:
        raise IllegalTransition(
            f"A ticket in {ticket.phase.name} cannot go to {column.name}.", allowed=allowed
        )
    back = ticket.previous_phase.key if ticket.previous_phase else ""
    return back if ticket.phase.kind == Phase.Kind.BLOCKED and back in fits else fits[0]


@transaction.atomic
def _rerank(*, actor: Actor, ticket_id: UUID, version: int | None, position: int | None) -> Ticket:
    ticket = locked_ticket(team_id=actor.team_id, ticket_id=ticket_id, version=version)
    place = put_at(actor=actor, ticket=ticket, position=position)
    ticket.version += 1
    ticket.save(update_fields=["rank", "version", "updated_at"])
    emit(
        events.BOARD_TICKET_MOVED,
        subject=ticket,
        actor=actor,
        column=ticket.column.key,
        position=place,
    )
    return ticket


def advance_ticket(*, ticket_id: UUID) -> dict[str, Any]:
    """Move a ticket on by itself if it may: {moved, to_phase, reason}.

    Where the phase says so, a failed task or an unmet gate moves it to Blocked with the reasons.
    """
    ticket = (
        Ticket.objects.select_related("phase", "column", "team", "workflow")
        .filter(pk=ticket_id)
        .first()
    )
    if ticket is None or not ticket.is_open or ticket.phase.kind != Phase.Kind.WORK:
        return {"moved": False, "to_phase": None, "reason": "terminal"}
    if not ticket.is_approved:
        return _note(ticket, "approval", "It waits until somebody approves it.")
    tasks = Task.objects.of_visit(ticket, ticket.phase)
    actor = system_actor(ticket.team)
    if tasks.still_open().exists():
        renew_answer(actor=actor, ticket=ticket, asks_first=False)
        return _unnote(ticket, "tasks_open")
    failed = tasks.filter(status=Task.Status.FAILED).order_by("-completed_at").first()
    if failed is not None:
        reason = failed.error_message or f"{failed.title} failed."
        return _block(actor, ticket, [reason], "tasks_failed")
    called_off = tasks.filter(status=Task.Status.CANCELLED).order_by("-completed_at").first()
    if called_off is not None and not tasks.filter(status__in=_COUNTS_AS_DONE).exists():
        # Nobody worked here: whether that was right only a person knows.
        because = f": {called_off.cancel_reason}" if called_off.cancel_reason else "."
        text = f"“{called_off.title}” was called off{because}"
        return _block(actor, ticket, [text], "cancelled")
    return _follow_pointer(actor, ticket)


_COUNTS_AS_DONE = (Task.Status.COMPLETED, Task.Status.DUPLICATED)


def _follow_pointer(actor: Actor, ticket: Ticket) -> dict[str, Any]:
    target = _pointer_target(ticket)
    if target is None:
        # A person moves it on: whether the evidence is there is told as soon as all work is done.
        done = Task.objects.of_visit(ticket, ticket.phase).filter(status__in=_COUNTS_AS_DONE)
        renew_answer(actor=actor, ticket=ticket, asks_first=done.exists())
        pointer = ticket.column.auto_transition_to
        if pointer:
            text = f"No way leads from {ticket.phase.name} to the column {pointer}."
            return _note(ticket, "illegal_transition", text)
        return _unnote(ticket, "no_pointer")
    try:
        moved = transition(
            actor=actor,
            ticket_id=ticket.pk,
            to_phase=target,
            via=PhaseHistory.Via.AUTO,
            visit=ticket.visit,
        )
    except GateInputsChanged as refusal:
        return _wait(ticket, refusal)
    except GateNotPassed as refusal:
        return _gate_refused(actor, ticket, refusal)
    except (WipExceeded, OpenTasks, IllegalTransition, StaleVersion) as refusal:
        return _wait(ticket, refusal)
    return {"moved": True, "to_phase": moved.ticket.phase.key, "reason": "moved"}


def _pointer_target(ticket: Ticket) -> str | None:
    pointer = ticket.column.auto_transition_to
    if not pointer:
        return None
    column = BoardColumn.objects.filter(workflow_id=ticket.workflow_id, key=pointer).first()
    if column is None:
        return None
    keys = column.phases.order_by("sequence_order").values_list("key", flat=True)
    return next((key for key in keys if key in ticket.phase.allowed_transitions), None)


def _gate_refused(actor: Actor, ticket: Ticket, refusal: GateNotPassed) -> dict[str, Any]:
    done = Task.objects.of_visit(ticket, ticket.phase).filter(status=Task.Status.COMPLETED)
    if done.exists() and not refusal.data.get("will_go_on"):
        return _block(actor, ticket, refusal.data.get("unmet", []), "gate_not_passed")
    return _wait(ticket, refusal)


def _block(actor: Actor, ticket: Ticket, reasons: list[str], why: str) -> dict[str, Any]:
    """To Blocked where the phase says so, else a note: it needs a person."""
    text = " ".join(reasons) or "The gate of this phase is not passed."
    if ticket.phase.configuration.get("on_failure") != "block":
        return _note(ticket, why, text)
    blocked = ticket.workflow.phases.filter(kind=Phase.Kind.BLOCKED).first()
    if blocked is None:
        return _note(ticket, why, text)
    try:
        transition(
            actor=actor,
            ticket_id=ticket.pk,
            to_phase=blocked.key,
            reason=text,
            via=PhaseHistory.Via.AUTO,
            visit=ticket.visit,
        )
    except DomainError as refusal:
        return _wait(ticket, refusal)
    return {"moved": True, "to_phase": blocked.key, "reason": why}


_WAIT_REASONS = {
    "wip_exceeded": "wip_full",
    "gate_not_passed": "gate_not_passed",
    "open_tasks": "tasks_open",
}


def _wait(ticket: Ticket, refusal: DomainError) -> dict[str, Any]:
    """A refused move is noted; a free place, new evidence or the next minute asks again."""
    reason = _WAIT_REASONS.get(refusal.code, refusal.code)
    return _note(ticket, reason, refusal.detail, column=refusal.data.get("column"))


def _unnote(ticket: Ticket, reason: str) -> dict[str, Any]:
    """Nothing keeps it but its own work, or a person's choice: an older note is true no more."""
    if ticket.auto_wait is not None:
        return _write(ticket, reason, None)
    return {"moved": False, "to_phase": None, "reason": reason}


def _note(ticket: Ticket, reason: str, detail: str, column: str | None = None) -> dict[str, Any]:
    """Write on the ticket why it stays, once, unless it has moved meanwhile."""
    return _write(ticket, reason, {"reason": reason, "detail": detail, "column": column})


@transaction.atomic
def _write(ticket: Ticket, reason: str, note: dict[str, Any] | None) -> dict[str, Any]:
    try:
        locked = locked_ticket(team_id=ticket.team_id, ticket_id=ticket.pk)
    except StaleVersion as moved:
        return {"moved": False, "to_phase": None, "reason": moved.code}
    if (locked.phase_id, locked.visit) != (ticket.phase_id, ticket.visit):
        return {"moved": False, "to_phase": None, "reason": StaleVersion.code}
    if locked.auto_wait != note:
        locked.auto_wait = note
        locked.version += 1
        locked.save(update_fields=["auto_wait", "version", "updated_at"])
        emit(events.TICKET_WAITS, subject=locked, auto_wait=note)
    return {"moved": False, "to_phase": None, "reason": reason}


@transaction.atomic
def set_card_facts(*, ticket_id: UUID, facts: dict[str, Any]) -> None:
    """What apps above know of a ticket, for its card."""
    ticket = Ticket.objects.select_for_update(no_key=True).filter(pk=ticket_id).first()
    if ticket is None:
        return
    ticket.card_facts = {**ticket.card_facts, **facts}
    ticket.version += 1
    ticket.save(update_fields=["card_facts", "version", "updated_at"])
    emit(events.TICKET_UPDATED, subject=ticket, changed=["card_facts"])
