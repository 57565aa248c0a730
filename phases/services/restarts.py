"""A ticket that begins anew, because what it is about was replaced, or that is taken up again."""

from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django_fsm import can_proceed

from guardian.authority import MONITOR, Actor, require_level
from guardian.errors import IllegalTransition, StaleVersion
from guardian.outbox import emit
from phases import events
from phases.context import RESERVED
from phases.errors import TicketClosed
from phases.models import BoardColumn, Phase, PhaseContext, PhaseHistory, Task, Ticket
from phases.part import require_part
from phases.services.cancels import TICKET_CANCELLED, cancel_open_tasks
from phases.services.dependents import with_dependents
from phases.services.locking import locked_tasks, locked_ticket
from phases.services.tasks import create_entry_task, reset_task


def restart_phase(ticket: Ticket) -> Phase:
    """Where it begins anew: the workflow's first phase, or where it stands if that is before it."""
    first = ticket.workflow.phases.select_related("column").get(key=ticket.workflow.initial_phase)
    stood_in = ticket.phase
    if stood_in.kind == Phase.Kind.BLOCKED and ticket.previous_phase is not None:
        stood_in = ticket.previous_phase
    is_before = stood_in.kind == Phase.Kind.WORK and stood_in.sequence_order < first.sequence_order
    return stood_in if is_before else first


def restart_columns(*, team_id: UUID, ticket_id: UUID) -> list[UUID]:
    """The columns to lock before a ticket that may restart, besides its own."""
    ticket = (
        Ticket.objects.select_related("workflow", "phase", "previous_phase")
        .filter(pk=ticket_id, team_id=team_id)
        .first()
    )
    return [restart_phase(ticket).column_id] if ticket is not None else []


def restart(
    *, actor: Actor, ticket: Ticket, replaced: list[str], locked: list[UUID], via: str
) -> None:
    """Lead a ticket back to its first phase, because what it is about was replaced.

    Evidence and finished tasks stay where they can be seen, as those of earlier visits; tasks that
    were still open are called off. The caller holds the locks of the ticket, of its column and of
    `locked`, and has put the new context into it; this saves it.
    Raises WorkRunning, StaleVersion.
    """
    source, old_column = ticket.phase, ticket.column
    target = restart_phase(ticket)
    if target.column_id not in {old_column.pk, *locked}:
        # It moved between the look for its columns and their locks.
        raise StaleVersion(current_etag=f'"v{ticket.version}"')
    # Counted after the locks: whoever took the last place has committed.
    column = BoardColumn.objects.get(pk=target.column_id)
    reason = f"Its {' and '.join(replaced)} was replaced: all is done again for the new one."
    cancel_open_tasks(ticket=ticket, actor=actor, reason=reason, unless_held=True)
    moves, now = target.pk != source.pk, timezone.now()
    keeps_place = column.pk == old_column.pk and ticket.admitted_at is not None
    if moves:
        ticket.previous_phase, ticket.phase, ticket.column = source, target, column
        ticket.rank = now.timestamp()
    if not keeps_place:
        ticket.admitted_at = now if ticket.is_approved and not column.is_full else None
    ticket.phase_entered_at = now
    ticket.visit += 1
    ticket.fresh_from_visit = ticket.visit
    ticket.is_blocked, ticket.blocked_reason, ticket.auto_wait = False, "", None
    ticket.context = {k: v for k, v in ticket.context.items() if k not in RESERVED}
    ticket.context_summary = ""
    PhaseContext.objects.filter(ticket=ticket).delete()
    ticket.version += 1
    ticket.save()
    _write_history(ticket, actor, source, kind=PhaseHistory.Kind.RESTART, via=via, reason=reason)
    queued = ticket.admitted_at is None
    if moves:
        emit(
            events.TICKET_PHASE_CHANGED,
            subject=ticket,
            actor=actor,
            reason=reason,
            from_phase=source.key,
            to_phase=target.key,
            move=PhaseHistory.Kind.RESTART,
            via=via,
            queued=queued,
        )
    emit(
        events.TICKET_RESTARTED,
        subject=ticket,
        actor=actor,
        reason=reason,
        from_phase=source.key,
        to_phase=target.key,
        replaced=replaced,
        visit=ticket.visit,
        queued=queued,
    )
    create_entry_task(actor=actor, ticket=ticket, phase=target)
    if old_column.pk != column.pk and old_column.wip_limit is not None:
        emit(events.BOARD_SLOT_FREED, subject=old_column, column=old_column.key)


def _write_history(
    ticket: Ticket, actor: Actor, source: Phase, *, kind: str, via: str, reason: str
) -> None:
    PhaseHistory.objects.create(
        team=ticket.team,
        ticket=ticket,
        from_phase=source,
        to_phase=ticket.phase,
        kind=kind,
        via=via,
        transition_reason=reason,
        transitioned_by=actor.user,
        ticket_version=ticket.version,
    )


@transaction.atomic
def reopen_ticket(
    *,
    actor: Actor,
    ticket_id: UUID,
    reason: str,
    version: int | None = None,
    via: str = PhaseHistory.Via.API,
) -> Ticket:
    """Take a failed or cancelled ticket up again, in the phase it was in; needs level 3.

    What was called off with it, and what had failed in this phase, is put up again. In a full
    column it waits for a place.
    Raises NotFound, NotYours, AuthorityTooLow, StaleVersion, IllegalTransition, TicketClosed.
    """
    ticket = locked_ticket(team_id=actor.team_id, ticket_id=ticket_id, version=version)
    require_part(actor=actor, ticket=ticket)
    require_level(actor, MONITOR)
    if ticket.is_open:
        raise IllegalTransition("This ticket is open.", allowed=["failed", "cancelled"])
    if not can_proceed(ticket.reopen):
        raise TicketClosed(status=ticket.status)
    ticket.reopen()
    admitted = ticket.is_approved and not ticket.column.is_full
    ticket.admitted_at = timezone.now() if admitted else None
    ticket.auto_wait = None
    if ticket.approval_status == Ticket.Approval.PENDING_REVIEW:
        ticket.approval_expires_at = ticket.workflow.approval_ends(timezone.now())
    ticket.version += 1
    fields = ["status", "admitted_at", "auto_wait", "approval_expires_at", "version", "updated_at"]
    ticket.save(update_fields=fields)
    _write_history(
        ticket, actor, ticket.phase, kind=PhaseHistory.Kind.REOPEN, via=via, reason=reason
    )
    emit(
        events.TICKET_REOPENED,
        subject=ticket,
        actor=actor,
        reason=reason,
        number=ticket.number,
        queued=ticket.admitted_at is None,
    )
    _take_up(ticket, actor)
    return ticket


def _take_up(ticket: Ticket, actor: Actor) -> None:
    """Its tasks: those that its end called off, those that failed here, or the phase's first."""
    here = Task.objects.of_visit(ticket, ticket.phase)
    works = ticket.phase.kind == Phase.Kind.WORK
    ended = Task.objects.filter(ticket=ticket, status="cancelled", error_code=TICKET_CANCELLED)
    wanted = list(ended.values_list("id", flat=True))
    if works:
        wanted += here.filter(status=Task.Status.FAILED).values_list("id", flat=True)
    for task in locked_tasks(with_dependents(wanted)):
        if task.pk in wanted:
            task.ticket = ticket
            reset_task(task=task, actor=actor, reason="the ticket was reopened")
    if works and not here.exclude(status__in=["cancelled", "failed"]).exists():
        create_entry_task(actor=actor, ticket=ticket, phase=ticket.phase)
