"""A finished task whose phase asks for a second pair of eyes: handed in, and told again."""

import hashlib
import json
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Max
from django.db.models.functions import Now

from guardian.authority import Actor
from guardian.ledger import told_of
from guardian.outbox import emit
from phases import events
from phases.models import Review, Task
from phases.models.task import HELD
from phases.services.settling import end_task


def submit(*, actor: Actor, task_id: UUID, fence: int, result: dict[str, Any]) -> bool:
    """Hand a held task in for review, if its phase asks for one; whether that was done.

    The guards are those of the one statement that completes: holder, fence, lease, no cancel.
    """
    task = (
        Task.objects.select_for_update(of=("self",))
        .select_related("phase", "holder")
        .filter(
            pk=task_id,
            team=actor.team,
            status__in=HELD,
            holder=actor.id,
            fence=fence,
            cancel_deadline=None,
            lease_expires_at__gt=Now(),
            phase__review_required=True,
        )
        .first()
    )
    if task is None:
        return False
    task.submit()
    task.result, task.progress, task.note, task.handoff = result, 1, "", ""
    task.save()
    end_task(task_id=task.pk, reason="completed")
    last = Review.objects.filter(task=task).aggregate(last=Max("iteration"))["last"] or 0
    review = Review.objects.create(
        team=actor.team, task=task, iteration=last + 1, author=actor.user
    )
    # Evidence handed in with it is weighed by this time: by the database's clock, as all of it is.
    Review.objects.filter(pk=review.pk).update(created_at=Now())
    emit(
        events.TASK_REVIEW_REQUESTED,
        subject=task,
        actor=actor,
        ticket_id=str(task.ticket_id),
        fence=fence,
        iteration=review.iteration,
        result=_digest(result),
    )
    return True


def submitted_before(*, actor: Actor, task: Task, fence: int, result: dict[str, Any]) -> bool:
    """Whether this very result was handed in with this fence, whatever became of it since."""
    if not Review.objects.filter(task=task, author=actor.id).exists():
        return False
    told = told_of(team_id=task.team_id, kind=events.TASK_REVIEW_REQUESTED, subject_ids=[task.pk])
    same = (actor.id, fence, _digest(result))
    return any((e.actor_id, e.data["fence"], e.data["result"]) == same for e in told)


def _digest(result: dict[str, Any]) -> str:
    text = json.dumps(
        result, sort_keys=True, separators=(",", ":"), ensure_ascii=False, cls=DjangoJSONEncoder
    )
    return hashlib.sha256(text.encode()).hexdigest()
