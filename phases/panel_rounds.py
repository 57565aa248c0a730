"""What the panel shows of decisions: approvals, reviews, discoveries, results of a workflow."""

from typing import Any
from uuid import UUID

from guardian.authority import MONITOR, Actor
from phases.board import REVIEW_ESCALATED
from phases.models import Review, Task, TaskDiscovery, Ticket, WorkflowResult

SHOWN = 50


def rounds(ticket: Ticket, tasks: list[Task], actor: Actor) -> dict[str, Any]:
    """{approval, discoveries, results, may_submit_result}."""
    decides = actor.has_scope("approvals:decide") and actor.can_write
    return {
        "approval": _approval(ticket, actor, decides=decides),
        "discoveries": list(
            TaskDiscovery.objects.filter(source_task__ticket=ticket)
            .select_related("source_task", "discovered_by")
            .prefetch_related("spawned")
            .order_by("-id")[:SHOWN]
        ),
        "results": [
            {
                "row": result,
                "may_decide": decides
                and result.status == WorkflowResult.Status.PENDING_VALIDATION
                and result.submitted_by_id != actor.id,
            }
            for result in WorkflowResult.objects.filter(ticket=ticket)
            .select_related("submitted_by", "decided_by")
            .order_by("-id")[:SHOWN]
        ],
    }


def _approval(ticket: Ticket, actor: Actor, *, decides: bool) -> dict[str, Any]:
    outstanding = ticket.is_open and not ticket.is_approved
    stranger = actor.is_human and actor.id != ticket.created_by_id
    return {
        "outstanding": outstanding,
        "may_decide": outstanding
        and ticket.approval_status != Ticket.Approval.REJECTED
        and decides
        and stranger
        and actor.authority >= MONITOR,
        "may_resubmit": outstanding
        and ticket.approval_status != Ticket.Approval.PENDING_REVIEW
        and actor.has_scope("tickets:write")
        and actor.can_write,
    }


def reviews_of(tasks: list[Task]) -> dict[UUID, list[Review]]:
    """The reviews of these tasks, each task's newest first."""
    found: dict[UUID, list[Review]] = {}
    rows = Review.objects.filter(task__in=tasks).select_related("author", "reviewer")
    for review in rows.order_by("-iteration"):
        found.setdefault(review.task_id, []).append(review)
    return found


def told_reviews(task: Task, reviews: list[Review], actor: Actor) -> dict[str, Any]:
    """What one may do with a task that waits for a verdict, and what was said before."""
    newest = reviews[0] if reviews else None
    may = actor.has_scope("approvals:decide") and actor.can_write
    other = newest is not None and newest.author_id != actor.id
    escalated = (task.blocked_reason or "").startswith(REVIEW_ESCALATED)
    mine = newest is not None and newest.reviewer_id == actor.id
    return {
        "iteration": newest.iteration if newest else None,
        "may_review": may and other and task.status == Task.Status.UNDER_REVIEW,
        "may_give_verdict": may and mine and task.status == Task.Status.VALIDATING,
        "may_decide_review": may
        and other
        and escalated
        and actor.is_human
        and actor.authority >= MONITOR,
        "reviewer": newest.reviewer if newest and newest.status == "validating" else None,
        "feedback": [review for review in reviews if review.feedback],
    }
