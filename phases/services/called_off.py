"""A task ends because somebody called it off: now, or once its holder had time to hear of it."""

from guardian.authority import Actor, actor_for
from guardian.errors import Forbidden
from guardian.outbox import emit
from phases import events
from phases.models import Task
from phases.reports import db_now
from phases.services.settling import end_open_review, end_task


def cancel_as_ordered(task: Task) -> None:
    """The end of a locked task whose cancel was asked for: told as the act of who ordered it."""
    cancel_now(task, actor=_orderer(task), reason=task.cancel_reason)


def _orderer(task: Task) -> Actor | None:
    """None: ordered before it was noted by whom."""
    user = task.cancel_requested_by
    if user is None:
        return None
    try:
        return actor_for(user, task.team)
    except Forbidden:  # has left the team since
        return Actor(user=user, team=task.team, role="", authority=0, scopes=frozenset())


def cancel_now(task: Task, *, actor: Actor | None, reason: str) -> None:
    """Ends a locked task; who ordered that before, and why, stays on it."""
    end_open_review(task=task)
    if task.cancel_deadline is None:
        task.cancel_reason = reason
        task.cancel_requested_by = actor.user if actor else None
    task.cancel()
    task.completed_at = db_now()
    task.save()
    end_task(task_id=task.pk, reason="cancelled")
    emit(
        events.TASK_CANCELLED,
        subject=task,
        actor=actor,
        reason=reason,
        ticket_id=str(task.ticket_id),
        requested_by=str(by) if (by := task.cancel_requested_by_id) else None,
    )
