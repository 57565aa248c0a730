"""A completion that is told again, because its answer was lost: the same answer, nothing anew."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models.functions import Now
from django.utils import timezone

from guardian.authority import Actor
from guardian.errors import NotFound
from guardian.ledger import told_of
from guardian.models import Event, ResourceLock
from phases import events
from phases.claims import Taken
from phases.errors import CancelRequested
from phases.models import Task
from phases.reports import score_at
from phases.services.leases import Claimed, lease_lost
from phases.services.submissions import submitted_before


@dataclass(frozen=True, slots=True)
class Before:
    """What a completion did when it was told first."""

    task: Task
    event: Event | None
    status: str = str(Task.Status.COMPLETED)

    @property
    def unblocked(self) -> list[UUID]:
        return [UUID(pk) for pk in self.event.data["unblocked"]] if self.event else []


def completed_before(*, actor: Actor, task_id: UUID, fence: int, result: dict[str, Any]) -> Before:
    """The completion that this one repeats, with the same fence and result.

    Raises NotFound, CancelRequested, LeaseLost.
    """
    task = Task.objects.filter(pk=task_id, team=actor.team).first()
    if task is None:
        raise NotFound("There is no such task.")
    if submitted_before(actor=actor, task=task, fence=fence, result=result):
        return Before(task, None, str(Task.Status.UNDER_REVIEW))
    same = (task.last_holder_id, task.fence, task.result) == (actor.id, fence, result)
    if same and task.status == Task.Status.COMPLETED:
        told = told_of(team_id=task.team_id, kind=events.TASK_COMPLETED, subject_ids=[task.pk])
        return Before(task, next((e for e in told if e.data["fence"] == fence), None))
    if (task.holder_id, task.fence) == (actor.id, fence) and task.cancel_deadline:
        raise CancelRequested
    raise lease_lost(actor=actor, task_id=task_id)


def handed_over_before(*, actor: Actor, before: Before) -> list[Claimed]:
    """The task that was claimed with that completion, while it is held and not begun.

    Known by the request that both events are of: another worker of this actor may hold tasks that
    it has not begun either. Nothing is claimed.
    """
    if before.event is None or not before.event.request_id:
        return []
    waiting = Task.objects.select_related("ticket__workflow").filter(
        team=actor.team,
        holder=actor.user,
        status=Task.Status.ASSIGNED,
        cancel_deadline=None,
        lease_expires_at__gt=Now(),
    )
    held = {str(task.pk): task for task in waiting}
    told = told_of(team_id=actor.team_id, kind=events.TASK_CLAIMED, subject_ids=held)
    for event in told:
        task = held[event.subject_id]
        with_it = (event.request_id, event.actor_id, event.data["fence"]) == (
            before.event.request_id,
            actor.id,
            task.fence,
        )
        if with_it and event.created_at >= before.event.created_at:
            return [_again(task)]
    return []


def _again(task: Task) -> Claimed:
    locks = ResourceLock.objects.filter(task_id=task.pk, released_at=None).order_by("id")
    assert task.lease_expires_at is not None  # noqa: S101  the database wants one of a held task
    taken = Taken(
        task_id=task.pk,
        fence=task.fence,
        ticket_id=task.ticket_id,
        task_type=task.task_type,
        title=task.title,
        lease_expires_at=task.lease_expires_at,
        score=score_at(task, now=task.claimed_at or timezone.now()).value,
    )
    return Claimed(taken, list(locks))
