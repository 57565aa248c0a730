"""How long a task may run: told, changed while it runs, and ended where it ran longer."""

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import DateTimeField, DurationField, ExpressionWrapper, F, QuerySet, Value
from django.db.models.functions import Now

from guardian.authority import MONITOR, Actor, require_level
from guardian.errors import IllegalTransition, NotFound
from guardian.outbox import emit
from phases import events
from phases.models import Task
from phases.part import require_part
from phases.services.called_off import cancel_as_ordered
from phases.services.endings import end_attempt

# NULL, and so never due, where nobody claimed it or it may run for ever.
TIMES_OUT_AT = ExpressionWrapper(
    F("claimed_at")
    + ExpressionWrapper(
        F("timeout_seconds") * Value(timedelta(seconds=1), output_field=DurationField()),
        output_field=DurationField(),
    ),
    output_field=DateTimeField(),
)


def timed_out(*, team_id: UUID | None = None) -> QuerySet[Task]:
    """Held tasks that ran longer than they may, the longest overdue first."""
    held = Task.objects.held().annotate(times_out_at=TIMES_OUT_AT).filter(times_out_at__lte=Now())
    found = held if team_id is None else held.filter(team_id=team_id)
    return found.order_by("times_out_at")


def time_out(task: Task) -> None:
    """Ends the try of a locked task; it is tried again while retries are left.

    One that was called off meanwhile is called off for good: its end is what was asked for.
    """
    if task.cancel_deadline is not None:
        cancel_as_ordered(task)
        return
    message = f"It ran longer than its {task.timeout_seconds} seconds."
    end_attempt(task, code="timeout", message=message, permanent=False)


@transaction.atomic
def clean_up_timed_out(*, actor: Actor, limit: int = 200) -> dict[str, int]:
    """End what ran too long in the actor's team now, not with the next sweep: {failed, retried}.

    What was called off meanwhile ends so, and is in neither count. Needs level 3.
    Raises AuthorityTooLow.
    """
    require_level(actor, MONITOR)
    late = timed_out(team_id=actor.team_id).select_for_update(skip_locked=True, of=("self",))
    counts = {"failed": 0, "retried": 0}
    for task in late[:limit]:
        time_out(task)
        if task.status != Task.Status.CANCELLED:
            counts["failed" if task.status == Task.Status.FAILED else "retried"] += 1
    return counts


@transaction.atomic
def set_timeout(*, actor: Actor, task_id: UUID, timeout_seconds: int | None) -> Task:
    """How long an open task may run, counted from its claim; None: for ever.

    Raises NotFound, NotYours, IllegalTransition.
    """
    task = (
        Task.objects.select_for_update(of=("self",), no_key=True)
        .select_related("ticket", "phase", "holder", "last_holder")
        .filter(pk=task_id, team=actor.team)
        .first()
    )
    if task is None:
        raise NotFound("There is no such task.")
    require_part(actor=actor, ticket=task.ticket)
    if not task.is_open:
        raise IllegalTransition(f"This task is {task.status}.", allowed=[])
    before = task.timeout_seconds
    if before != timeout_seconds:
        task.timeout_seconds = timeout_seconds
        task.save(update_fields=["timeout_seconds", "updated_at"])
        emit(
            events.TASK_TIMEOUT_SET,
            subject=task,
            actor=actor,
            ticket_id=str(task.ticket_id),
            before={"timeout_seconds": before},
            after={"timeout_seconds": timeout_seconds},
        )
    return task
