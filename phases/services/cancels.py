"""Work is called off: one task, or all that is open of a ticket."""

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from guardian.authority import MONITOR, Actor, require_level
from guardian.errors import IllegalTransition, NotFound
from guardian.outbox import emit
from phases import claims, events
from phases.errors import WorkRunning
from phases.models import Task, Ticket
from phases.reports import db_now
from phases.services.called_off import cancel_now
from phases.services.locking import locked_tasks

# Why a task was called off, where its ticket is the cause; reopening takes up the first kind.
TICKET_CANCELLED = "ticket_cancelled"
TICKET_RESTARTED = "ticket_restarted"


@transaction.atomic
def cancel_task(*, actor: Actor, task_id: UUID, reason: str, grace_seconds: int = 10) -> Task:
    """Call a task off: a waiting one at once, a running one hears it with its next heartbeat.

    Asked again, a running one may only end sooner; whoever asked first stays who ordered it.
    Raises NotFound, AuthorityTooLow, IllegalTransition.
    """
    task = Task.objects.select_related("ticket").filter(pk=task_id, team=actor.team).first()
    if task is None:
        raise NotFound("There is no such task.")
    if task.ticket.created_by_id != actor.id:
        require_level(actor, MONITOR)
    [task] = locked_tasks([task.pk])
    if not task.is_open:
        raise IllegalTransition(f"This task is {task.status} already.", allowed=[])
    if task.holder_id is not None and grace_seconds > 0:
        _order(task, actor=actor, reason=reason, grace_seconds=grace_seconds)
        return task
    claims.withdraw([task.pk])
    cancel_now(task, actor=actor, reason=reason)
    return task


def _order(task: Task, *, actor: Actor, reason: str, grace_seconds: int) -> None:
    """The order stands on the locked task until its holder obeys or the deadline has passed."""
    deadline = db_now() + timedelta(seconds=grace_seconds)
    if task.cancel_deadline is not None and task.cancel_deadline <= deadline:
        return
    if task.cancel_deadline is None:
        task.cancel_reason, task.cancel_requested_by = reason, actor.user
    task.cancel_deadline = deadline
    task.save(
        update_fields=["cancel_deadline", "cancel_reason", "cancel_requested_by", "updated_at"]
    )
    emit(
        events.TASK_CANCEL_REQUESTED,
        subject=task,
        actor=actor,
        reason=reason,
        ticket_id=str(task.ticket_id),
        held_by=str(task.holder_id),
        deadline=deadline.isoformat(),
    )


def cancellable_tasks(*, actor: Actor) -> QuerySet[Task]:
    """Open tasks that `cancel_task` would take from this actor, newest first."""
    rows = Task.objects.still_open().for_team(actor.team_id)
    if actor.authority < MONITOR:
        rows = rows.filter(ticket__created_by=actor.id)
    return rows.select_related("phase", "holder", "last_holder").order_by("-id")


def cancel_open_tasks(
    *, ticket: Ticket, actor: Actor, reason: str, unless_held: bool = False
) -> None:
    """Call off what is open of a locked ticket, together with it or because it begins anew.

    Raises WorkRunning where `unless_held` and somebody is at one of them; nothing is changed then.
    """
    still_open = Task.objects.still_open().filter(ticket=ticket)
    # Behind a claim that is under way: its task is held when this has the row.
    tasks = [task for task in locked_tasks(still_open.values_list("id", flat=True)) if task.is_open]
    claims.withdraw(task.pk for task in tasks)
    held = [task for task in tasks if task.holder is not None]
    if held and unless_held:
        raise WorkRunning(
            f"{held[0].holder} is at “{held[0].title}”; its result would be about what is to be"
            " replaced.",
            tasks=[{"id": str(t.pk), "title": t.title, "holder": str(t.holder)} for t in held],
        )
    for task in tasks:
        # One that was to end anyway ends for its own reason, and does not come back with the rest.
        if task.cancel_deadline is None:
            task.error_code = TICKET_RESTARTED if unless_held else TICKET_CANCELLED
            task.error_message = reason
        cancel_now(task, actor=actor, reason=reason)
