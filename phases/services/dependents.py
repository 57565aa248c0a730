"""Tasks that wait for others: blocked when one of these failed or was called off, and back."""

from collections.abc import Iterable
from uuid import UUID

from guardian.outbox import emit
from phases import claims, events
from phases.models import Task, TaskDependency
from phases.services.locking import locked_tasks
from phases.waits import DEPENDENCY_FAILED

_ENDED_BADLY = (Task.Status.FAILED, Task.Status.CANCELLED)
_WAITING = (Task.Status.PENDING, Task.Status.NEEDS_WORK)


def dependents_of(task_id: UUID) -> list[UUID]:
    """The tasks that wait for this one, stand blocked because of it, or did so before they ended.

    Also the ended ones: one may be put up again at this very moment.
    """
    return with_dependents([task_id])[1:]


def with_dependents(task_ids: Iterable[UUID]) -> list[UUID]:
    """These tasks and then what waits for them: whoever changes both locks them together.

    One after the other would be out of the order of their ids, and could wait in a circle.
    """
    ids = list(task_ids)
    waiting = Task.objects.filter(dependencies__depends_on__in=ids).exclude(pk__in=ids)
    found = waiting.exclude(status=Task.Status.COMPLETED).order_by("id").distinct()
    return [*ids, *found.values_list("id", flat=True)]


def settle_blocks(task_ids: Iterable[UUID]) -> list[UUID]:
    """Block each task that waits for one which failed or was called off; free those that do not.

    Whoever ends or retries a dependency holds its lock, and so must the caller of this. Returns
    those that are pending again, for the queue.
    """
    freed = []
    for task in locked_tasks(task_ids):
        if task.status in _WAITING:
            _block(task)
        elif task.status == Task.Status.BLOCKED and _is_ours(task) and not _block(task):
            task.unblock()
            task.save()
            emit(events.TASK_UNBLOCKED, subject=task, ticket_id=str(task.ticket_id))
            freed.append(task.pk)
    return freed


def _is_ours(task: Task) -> bool:
    return (task.blocked_reason or "").startswith(DEPENDENCY_FAILED)


def _block(task: Task) -> bool:
    """Whether it stands blocked: by name, and by another name when the first one is gone."""
    edges = TaskDependency.objects.filter(
        task=task, satisfied=False, depends_on__status__in=_ENDED_BADLY
    )
    edge = edges.select_related("depends_on").order_by("depends_on_id").first()
    if edge is None:
        return False
    cause = edge.depends_on
    reason = f"{DEPENDENCY_FAILED}: {cause.title} is {cause.status}"
    if task.blocked_reason == reason:
        return True
    if task.status != Task.Status.BLOCKED:
        claims.withdraw([task.pk])
        task.block()
    task.blocked_reason = reason
    task.save()
    emit(
        events.TASK_BLOCKED,
        subject=task,
        ticket_id=str(task.ticket_id),
        blocked_reason=reason,
    )
    return True
