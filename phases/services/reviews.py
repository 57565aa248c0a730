"""Reviews: somebody else takes a finished task, says whether it is good, and so ends the wait."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from guardian.authority import MONITOR, Actor, require_level
from guardian.errors import Forbidden, IllegalTransition, Invalid, NotFound, SelfReview
from guardian.outbox import emit
from phases import claims, events
from phases.clock import database_now
from phases.errors import ReviewLost, ReviewTaken
from phases.models import Review, Task
from phases.services.tasks import make_ready
from phases.waits import ESCALATED

LEASE_SECONDS = 600


def _locked(actor: Actor, task_id: UUID, iteration: int | None = None) -> tuple[Task, Review]:
    """A task and one of its reviews, the newest unless named, locked. Raises NotFound."""
    task = (
        Task.objects.select_for_update(of=("self",))
        .select_related("phase", "ticket")
        .filter(pk=task_id, team=actor.team)
        .first()
    )
    if task is None:
        raise NotFound("There is no such task.")
    rows = Review.objects.select_for_update(of=("self",)).select_related("author", "reviewer")
    rows = rows.filter(task=task).order_by("-iteration")
    review = (rows if iteration is None else rows.filter(iteration=iteration)).first()
    if review is None:
        if iteration is None:
            raise IllegalTransition(f"This task is {task.status}: nothing to review.", allowed=[])
        raise NotFound("There is no such review.")
    return task, review


def _require_other(actor: Actor, review: Review) -> None:
    """Who handed in any round of the task does not judge a later one. Raises SelfReview."""
    if Review.objects.filter(task=review.task_id, author=actor.id).exists():
        raise SelfReview


@transaction.atomic
def start_review(*, actor: Actor, task_id: UUID) -> Review:
    """Take a finished task to look at, for 600 s; its reviewer may begin again to have longer.

    Raises NotFound, SelfReview, ReviewTaken, IllegalTransition.
    """
    task, review = _locked(actor, task_id)
    _require_other(actor, review)
    again = review.status == Review.Status.VALIDATING and review.reviewer_id == actor.id
    if review.status == Review.Status.VALIDATING and not again:
        until = review.lease_expires_at
        raise ReviewTaken(
            holder={"id": str(review.reviewer_id), "name": str(review.reviewer)},
            lease_expires_at=until.isoformat() if until else None,
        )
    if not again:
        if task.status != Task.Status.UNDER_REVIEW:
            raise IllegalTransition(f"This task is {task.status}: nothing to review.", allowed=[])
        task.begin_review()
        task.save(update_fields=["status", "updated_at"])
        review.begin()
        review.reviewer = actor.user
    review.lease_expires_at = database_now() + timedelta(seconds=LEASE_SECONDS)
    review.save(update_fields=["status", "reviewer", "lease_expires_at", "updated_at"])
    if not again:
        emit(
            events.TASK_REVIEW_STARTED,
            subject=task,
            actor=actor,
            ticket_id=str(task.ticket_id),
            iteration=review.iteration,
        )
    return review


@transaction.atomic
def give_verdict(
    *,
    actor: Actor,
    task_id: UUID,
    iteration: int,
    passed: bool,
    feedback: str = "",
    evidence: list[Any] | None = None,
    recommendations: list[str] | None = None,
) -> tuple[Review, list[UUID]]:
    """End a review: (it, tasks that wait for nothing more). A refusal says what is to be done.

    The same verdict again answers the same. Raises NotFound, SelfReview, ReviewLost, Invalid.
    """
    if not passed and not feedback.strip():
        raise Invalid(path="feedback", reason="says what is to be done; a refusal needs it")
    task, review = _locked(actor, task_id, iteration)
    _require_other(actor, review)
    if review.status not in {Review.Status.REQUESTED, Review.Status.VALIDATING}:
        same = (review.reviewer_id, review.status == Review.Status.PASSED, review.feedback)
        if same != (actor.id, passed, feedback):
            raise ReviewLost(f"This review is over: {review.status}.")
        return review, []
    _require_lease(actor, review)
    review.feedback = feedback
    review.evidence = evidence or []
    review.recommendations = recommendations or []
    if passed:
        review.approve()
        review.save()
        # What changes afterwards is told by the same clock: a host's own may be ahead.
        review.updated_at = database_now()
        Review.objects.filter(pk=review.pk).update(updated_at=review.updated_at)
        return review, _complete(task, actor)
    task.review_iteration += 1
    if task.review_iteration >= task.phase.max_review_iterations:
        review.escalate()
        review.save()
        _escalate(task, review, actor)
    else:
        review.refuse()
        review.save()
        _send_back(task, review, actor)
    return review, []


def _require_lease(actor: Actor, review: Review) -> None:
    alive = Review.objects.filter(
        pk=review.pk, status="validating", reviewer=actor.id, lease_expires_at__gt=Now()
    )
    if not alive.exists():
        raise ReviewLost


def _complete(task: Task, actor: Actor) -> list[UUID]:
    """Told exactly as a completion by its holder: the event, dependents, the queue."""
    task.accept()
    task.progress, task.completed_at = 1, database_now()
    task.save()
    return claims.free_dependents(actor=actor, task_id=task.pk, fence=task.fence)


def _send_back(task: Task, review: Review, actor: Actor) -> None:
    """Once more, for who did it first, and after 600 s for anybody."""
    task.send_back()
    task.progress, task.not_before = 0, None
    task.save()
    emit(
        events.TASK_NEEDS_WORK,
        subject=task,
        actor=actor,
        ticket_id=str(task.ticket_id),
        iteration=review.iteration,
        feedback=review.feedback,
    )
    make_ready([task.pk])


def _escalate(task: Task, review: Review, actor: Actor) -> None:
    task.escalate()
    times = "once" if task.review_iteration == 1 else f"{task.review_iteration} times"
    task.blocked_reason = f"{ESCALATED}: sent back {times}. {review.feedback}"[:4000]
    task.save()
    emit(
        events.TASK_REVIEW_ESCALATED,
        subject=task,
        actor=actor,
        priority="high",
        ticket_id=str(task.ticket_id),
        iteration=review.iteration,
        feedback=review.feedback,
    )


@transaction.atomic
def decide_review(*, actor: Actor, task_id: UUID, decision: str, reason: str) -> Task:
    """A person ends a review that went round too often: completed, needs_work or failed.

    needs_work is one more round, with the reason as its feedback. Raises NotFound, Forbidden,
    AuthorityTooLow, SelfReview, IllegalTransition.
    """
    if not actor.is_human:
        raise Forbidden("Only a person decides what reviews could not.")
    require_level(actor, MONITOR)
    task, review = _locked(actor, task_id)
    _require_other(actor, review)
    escalated = (task.blocked_reason or "").startswith(ESCALATED)
    if task.status != Task.Status.BLOCKED or not escalated:
        raise IllegalTransition(f"This task is {task.status}: nothing to decide.", allowed=[])
    said = f"{actor.name} decided {decision.replace('_', ' ')}: {reason}"
    review.feedback = f"{review.feedback}\n\n{said}"
    review.save(update_fields=["feedback", "updated_at"])
    emit(
        events.TASK_REVIEW_DECIDED,
        subject=task,
        actor=actor,
        reason=reason,
        ticket_id=str(task.ticket_id),
        iteration=review.iteration,
        decision=decision,
    )
    if decision == Task.Status.COMPLETED:
        _complete(task, actor)
    elif decision == Task.Status.NEEDS_WORK:
        _send_back(task, review, actor)
    else:
        _fail(task, actor, reason)
    return task


def _fail(task: Task, actor: Actor, reason: str) -> None:
    task.give_up()
    task.error_code, task.error_message = "review_refused", reason
    task.completed_at = database_now()
    task.save()
    emit(
        events.TASK_FAILED,
        subject=task,
        actor=actor,
        ticket_id=str(task.ticket_id),
        fence=task.fence,
        error_code=task.error_code,
        error_message=task.error_message,
    )


@transaction.atomic
def sweep_reviews(*, limit: int = 200) -> int:
    """Give tasks back to the next reviewer where one went silent. Returns how many."""
    due = Review.objects.filter(status="validating", lease_expires_at__lte=Now())
    ids = due.order_by("lease_expires_at").values_list("task_id", flat=True)[:limit]
    tasks = Task.objects.select_for_update(skip_locked=True).filter(
        pk__in=list(ids), status="validating"
    )
    count = 0
    for task in tasks.order_by("id"):
        review = due.select_for_update(of=("self",)).filter(task=task).first()
        if review is None:
            continue
        silent = str(review.reviewer_id)
        review.give_back()
        review.save(update_fields=["status", "reviewer", "lease_expires_at", "updated_at"])
        task.end_review()
        task.save(update_fields=["status", "updated_at"])
        emit(
            events.TASK_REVIEW_EXPIRED,
            subject=task,
            ticket_id=str(task.ticket_id),
            iteration=review.iteration,
            reviewer=silent,
        )
        count += 1
    return count


def feedback_of(*, task: Task) -> str | None:
    """What its newest review asked for, for whoever does it now; None where none sent it back."""
    if not task.review_iteration:
        return None
    told = Review.objects.filter(task=task).exclude(feedback="").order_by("-iteration")
    return told.values_list("feedback", flat=True).first()
