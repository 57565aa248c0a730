"""Once more: a blocked ticket goes back to work, a failed or called off task is put up again."""

from uuid import UUID

from django.db import transaction

from guardian.authority import MONITOR, Actor, require_level
from guardian.errors import IllegalTransition, NotFound, StaleVersion
from phases.errors import RetryElsewhere, TicketClosed
from phases.models import Phase, PhaseHistory, Task, Ticket
from phases.models.task import RETRYABLE
from phases.part import require_part
from phases.services.dependents import with_dependents
from phases.services.locking import locked_tasks
from phases.services.moves import Moved, transition
from phases.services.tasks import reset_task


def retry_ticket(
    *,
    actor: Actor,
    ticket_id: UUID,
    reason: str,
    via: str = PhaseHistory.Via.API,
    task_id: UUID | None = None,
) -> Moved:
    """Return a blocked ticket to the phase it came from; its failed tasks are put up again.

    A full column takes it in its queue. Raises NotFound, IllegalTransition and what `transition`
    raises.
    """
    ticket = (
        Ticket.objects.select_related("phase", "previous_phase")
        .filter(pk=ticket_id, team=actor.team)
        .first()
    )
    if ticket is None:
        raise NotFound("There is no such ticket.")
    if ticket.phase.kind != Phase.Kind.BLOCKED or ticket.previous_phase is None:
        raise IllegalTransition("This ticket is not blocked.", allowed=[])
    return transition(
        actor=actor,
        ticket_id=ticket_id,
        to_phase=ticket.previous_phase.key,
        reason=reason,
        via=via,
        queue=True,
        visit=ticket.visit,
        task_id=task_id,
    )


@transaction.atomic
def retry_task(
    *, actor: Actor, task_id: UUID, reason: str, via: str = PhaseHistory.Via.API
) -> Task:
    """Try a failed or cancelled task once more, counters at zero; needs level 3.

    Where it is what its ticket was blocked for, the ticket goes back to work with it: this is the
    board's Retry. Raises NotFound, NotYours, AuthorityTooLow, IllegalTransition, TicketClosed,
    RetryElsewhere, StaleVersion.
    """
    require_level(actor, MONITOR)
    task = (
        Task.objects.select_related("phase", "ticket__phase", "ticket__previous_phase")
        .filter(pk=task_id, team=actor.team)
        .first()
    )
    if task is None:
        raise NotFound("There is no such task.")
    require_part(actor=actor, ticket=task.ticket)
    if not task.ticket.is_open:
        raise TicketClosed(status=task.ticket.status)
    _require_ended(task)
    if task.ticket.phase.kind == Phase.Kind.BLOCKED:
        return _retry_out_of_blocked(actor=actor, task=task, reason=reason, via=via)
    return _retry_in_place(actor=actor, seen=task, reason=reason)


def _require_ended(task: Task) -> None:
    if task.status not in RETRYABLE:
        raise IllegalTransition(f"This task is {task.status}.", allowed=list(RETRYABLE))


def _retry_out_of_blocked(*, actor: Actor, task: Task, reason: str, via: str) -> Task:
    came_from = task.ticket.previous_phase
    if came_from is None or came_from.pk != task.phase_id:
        before = came_from.name if came_from else "nowhere"
        raise RetryElsewhere(
            f"The ticket is blocked and came from {before}; this task is of {task.phase.name}.",
            remedy=f"Move the ticket there: POST /api/v1/tickets/{task.ticket_id}/transition"
            f' {{"to_phase": "{task.phase.key}"}}. Its failed tasks are then put up again.',
            ticket_id=str(task.ticket_id),
        )
    retry_ticket(actor=actor, ticket_id=task.ticket_id, reason=reason, via=via, task_id=task.pk)
    return Task.objects.get(pk=task.pk)


def _retry_in_place(*, actor: Actor, seen: Task, reason: str) -> Task:
    # The ticket first: a move meanwhile would begin another visit.
    ticket = Ticket.objects.select_for_update(no_key=True).get(pk=seen.ticket_id)
    if (ticket.phase_id, ticket.status) != (seen.ticket.phase_id, seen.ticket.status):
        raise StaleVersion(current_etag=f'"v{ticket.version}"')
    [task] = [task for task in locked_tasks(with_dependents([seen.pk])) if task.pk == seen.pk]
    _require_ended(task)
    task.ticket = ticket
    reset_task(task=task, actor=actor, reason=reason)
    return task
