"""What a waiting task waits for: told, taken on, dropped, and never in a circle."""

from uuid import UUID

from django.db import transaction

from guardian.authority import Actor
from guardian.errors import Invalid, NotFound
from guardian.outbox import defer, emit
from phases import claims, events
from phases.errors import DependenciesFixed, DependencyCycle
from phases.models import Task, TaskDependency
from phases.models.task import WAITING
from phases.part import require_part
from phases.services.dependents import settle_blocks
from phases.services.edges import circle, lock_edges, originals
from phases.services.locking import locked_tasks
from phases.services.tasks import make_ready
from phases.waits import DEPENDENCY_FAILED


def _task(actor: Actor, task_id: UUID) -> Task:
    task = Task.objects.select_related("ticket").filter(pk=task_id, team=actor.team).first()
    if task is None:
        raise NotFound("There is no such task.")
    return task


def _require_waiting(task: Task) -> None:
    """It waits, also where it stands blocked for what it waits for. Raises DependenciesFixed."""
    for_dependency = (task.blocked_reason or "").startswith(DEPENDENCY_FAILED)
    if task.status not in WAITING and not for_dependency:
        raise DependenciesFixed(f"This task is {task.status}.", allowed=[])


def circle_with(*, actor: Actor, task_id: UUID, depends_on: list[UUID]) -> list[UUID]:
    """The circle that these dependencies would close, [task, …, task]; empty if none.

    Raises NotFound, Invalid.
    """
    task = _task(actor, task_id)
    return circle(task_id=task.pk, depends_on=_stand_for(actor, depends_on))


def _stand_for(actor: Actor, task_ids: list[UUID]) -> list[UUID]:
    found, missing = originals(team_id=actor.team_id, task_ids=task_ids)
    if missing:
        raise Invalid(path="depends_on", reason=f"names a task that does not exist: {missing[0]}")
    return sorted(set(found.values()))


@transaction.atomic
def add_dependencies(*, actor: Actor, task_id: UUID, depends_on: list[UUID]) -> int:
    """Let a waiting task wait for these too; it leaves the queue. Returns how many are new.

    A copy stands for its original. Raises NotFound, Invalid, NotYours, DependencyCycle,
    DependenciesFixed.
    """
    lock_edges(team_id=actor.team_id)
    task = _task(actor, task_id)
    require_part(actor=actor, ticket=task.ticket)
    wanted = _stand_for(actor, depends_on)
    if cycle := circle(task_id=task.pk, depends_on=wanted):
        raise DependencyCycle(cycle=[str(pk) for pk in cycle])
    locked = {found.pk: found for found in locked_tasks([task.pk, *wanted])}
    task = locked[task.pk]
    known = set(TaskDependency.objects.filter(task=task).values_list("depends_on_id", flat=True))
    fresh = [locked[pk] for pk in wanted if pk not in known]
    if not fresh:
        return 0
    _require_waiting(task)
    still_open = [other for other in fresh if other.status != Task.Status.COMPLETED]
    TaskDependency.objects.bulk_create(
        TaskDependency(
            team_id=task.team_id,
            task=task,
            depends_on=other,
            satisfied=other.status == Task.Status.COMPLETED,
        )
        for other in fresh
    )
    if still_open:
        claims.withdraw([task.pk])
        task.deps_left += len(still_open)
        task.ready_at = None
        task.save(update_fields=["deps_left", "ready_at", "updated_at"])
        claims.count_blockers(other.pk for other in still_open)
        defer("phases.settle_dependencies", queue="system", task_id=str(task.pk))
        settle_blocks([task.pk])
    for other in fresh:
        emit(
            events.TASK_DEPENDENCY_ADDED,
            subject=task,
            actor=actor,
            ticket_id=str(task.ticket_id),
            depends_on=str(other.pk),
        )
    return len(fresh)


@transaction.atomic
def remove_dependency(*, actor: Actor, task_id: UUID, depends_on: UUID) -> Task:
    """Let a task no longer wait for another; without any it can be claimed.

    Raises NotFound, NotYours, DependenciesFixed.
    """
    lock_edges(team_id=actor.team_id)
    task = _task(actor, task_id)
    require_part(actor=actor, ticket=task.ticket)
    found, _ = originals(team_id=actor.team_id, task_ids=[depends_on])
    if depends_on not in found:
        raise NotFound("There is no such dependency.")
    other_id = found[depends_on]
    locked = {row.pk: row for row in locked_tasks([task.pk, other_id])}
    task = locked[task.pk]
    edge = TaskDependency.objects.filter(task=task, depends_on=other_id).first()
    if edge is None:
        raise NotFound("There is no such dependency.")
    _require_waiting(task)
    edge.delete()
    if not edge.satisfied:
        task.deps_left -= 1
        task.save(update_fields=["deps_left", "updated_at"])
        claims.count_blockers([other_id], each=-1)
        settle_blocks([task.pk])
        make_ready([task.pk])
    emit(
        events.TASK_DEPENDENCY_REMOVED,
        subject=task,
        actor=actor,
        ticket_id=str(task.ticket_id),
        depends_on=str(other_id),
    )
    return Task.objects.get(pk=task.pk)
