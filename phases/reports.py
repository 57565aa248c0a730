"""What programs read about one task: its score, what it waits for and what waits for it."""

from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from phases.models import Task, TaskDependency
from phases.scoring import Facts, Score, score_of, weights_of
from phases.waits import waiting_for

MOST = 200


def score_at(task: Task, *, now: datetime) -> Score:
    """What a claim would order it by at that moment, with its parts."""
    blockers = TaskDependency.objects.filter(depends_on=task, satisfied=False).count()
    tries_left = max(0, task.max_retries - task.retry_count)
    facts = Facts(
        priority=task.priority,
        ready_at=task.ready_at,
        deadline=task.deadline or task.ticket.deadline,
        blockers=blockers,
        retry_left=tries_left / task.max_retries if task.max_retries else 0.0,
    )
    return score_of(facts, now=now, weights=weights_of(task.ticket.workflow.score))


def score_report(task: Task) -> dict[str, Any]:
    """The score of now by the database's clock, part by part."""
    now = db_now()
    return {
        **score_at(task, now=now).as_dict(),
        "ready_at": task.ready_at,
        "deadline": task.deadline or task.ticket.deadline,
        "at": now,
    }


def why_report(task: Task) -> dict[str, Any]:
    """{status, claimable, waiting[{code, detail, refs, until}]}."""
    found = waiting_for(task, now=db_now())
    return {
        "status": task.status,
        "claimable": not found,
        "waiting": [wait.as_dict() for wait in found],
    }


def timeout_report(task: Task) -> dict[str, Any]:
    """How long a task may run and how long it did."""
    now, ends = db_now(), times_out_at(task)
    runs = task.holder_id is not None and task.claimed_at is not None
    elapsed = (now - task.claimed_at).total_seconds() if runs and task.claimed_at else None
    return {
        "status": task.status,
        "timeout_seconds": task.timeout_seconds,
        "claimed_at": task.claimed_at,
        "times_out_at": ends,
        "elapsed_seconds": None if elapsed is None else round(elapsed, 1),
        "remaining_seconds": None if ends is None else round((ends - now).total_seconds(), 1),
        "timed_out": ends is not None and ends <= now,
        "lease_expires_at": task.lease_expires_at,
        "cancel_deadline": task.cancel_deadline,
        "retry_count": task.retry_count,
        "max_retries": task.max_retries,
    }


def db_now() -> datetime:
    """The time of the database, which all leases are measured by."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def times_out_at(task: Task) -> datetime | None:
    """When a held task is timed out; None: never, or nobody holds it."""
    if task.holder_id is None or task.claimed_at is None or task.timeout_seconds is None:
        return None
    return task.claimed_at + timedelta(seconds=task.timeout_seconds)


def dependency_report(task: Task) -> dict[str, Any]:
    """{dependencies, dependents, deps_left}: up to 200 of each, by id."""
    waits_for = TaskDependency.objects.filter(task=task).select_related("depends_on")
    waiting = TaskDependency.objects.filter(depends_on=task).select_related("task")
    return {
        "dependencies": [
            _edge(edge.depends_on, edge) for edge in waits_for.order_by("depends_on_id")[:MOST]
        ],
        "dependents": [_edge(edge.task, edge) for edge in waiting.order_by("task_id")[:MOST]],
        "deps_left": task.deps_left,
    }


def _edge(other: Task, edge: TaskDependency) -> dict[str, Any]:
    return {
        "id": str(other.pk),
        "ticket": str(other.ticket_id),
        "title": other.title,
        "status": other.status,
        "satisfied": edge.satisfied,
    }
