"""Runs that nobody holds: waiting for something elsewhere, woken, or swept."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from orchestrator import events
from orchestrator.errors import RunTimeout
from orchestrator.models import AgentExecution, PatternRun, StepRun
from orchestrator.services.run_rows import locked, mine, offer, tell
from orchestrator.services.runs import end_run, lose_host
from tools.models import ToolExecution

LONGEST_WAIT = timedelta(hours=24)
# A run without a job of its own that nobody has touched for so long belongs to nobody.
ORPHANED = timedelta(seconds=60)


@transaction.atomic
def suspend_run(*, run: PatternRun) -> PatternRun:
    """running → waiting; what its steps wait for may have ended meanwhile: then it is queued."""
    row = mine(run)
    waits = list(row.steps.filter(state="waiting"))
    row.wait()
    row.save(update_fields=["state", "lease_until", "updated_at"])
    tell(events.RUN_WAITING, row, steps=[step.step_id for step in waits])
    _wake(row, [step for step in waits if _is_over(step)])
    return row


@transaction.atomic
def wake_runs(*, label: str, subject_id: UUID | str) -> int:
    """Something ended: queue the runs whose steps wait for it. Returns how many."""
    steps = StepRun.objects.filter(
        state="waiting", metadata__waiting_for={"label": label.lower(), "id": str(subject_id)}
    )
    woken = 0
    for run_id in sorted(set(steps.values_list("run_id", flat=True))):
        run = locked(run_id)
        woken += _wake(run, list(steps.filter(run=run)))
    return woken


def _wake(run: PatternRun, steps: list[StepRun]) -> bool:
    """waiting → queued with these steps pending; the time it waited is no time it used."""
    if run.state != PatternRun.State.WAITING or not steps:
        return False
    for step in steps:
        step.again()
        step.started_at = None
        step.save(update_fields=["state", "started_at", "updated_at"])
    waited = max(timedelta(0), timezone.now() - run.updated_at)
    run.requeue()
    run.deadline += waited
    run.save(update_fields=["state", "lease_until", "deadline", "updated_at"])
    tell(events.RUN_QUEUED, run, attempt=run.attempt)
    offer(run)
    return True


def _is_over(step: StepRun) -> bool:
    """Whether what a step waits for has ended, or is gone."""
    subject = step.metadata.get("waiting_for", {})
    if subject.get("label") != ToolExecution._meta.label_lower:
        return False
    return (
        not ToolExecution.objects.filter(pk=subject["id"])
        .exclude(status__in=["completed", "failed", "timeout", "cancelled"])
        .exists()
    )


def sweep_runs(*, limit: int = 100) -> int:
    """What no event told of: dead hosts, missed wake-ups, runs that waited too long or for nobody.

    Returns how many runs it moved.
    """
    runs = (
        PatternRun.objects.filter(
            Q(state="running", lease_until__lt=Now())
            | Q(state="waiting")
            | Q(state="queued", has_own_job=True, deadline__lt=Now())
            | Q(state="queued", has_own_job=False, updated_at__lt=Now() - ORPHANED)
        )
        .exclude(Exists(_open_executions()) & Q(state__in=["running", "queued"]))
        .order_by(F("lease_until").asc(nulls_last=True), "updated_at")
    )
    return sum(_sweep(run_id) for run_id in runs.values_list("pk", flat=True)[:limit])


def _open_executions() -> QuerySet[Any]:
    return AgentExecution.objects.still_open().filter(run=OuterRef("pk"))


@transaction.atomic
def _sweep(run_id: UUID) -> bool:
    run = locked(run_id)
    now = timezone.now()
    if run.state == PatternRun.State.RUNNING and (run.lease_until is None or run.lease_until > now):
        return False
    if not run.has_own_job and not run.executions.still_open().exists():
        return _sweep_orphan(run, now)
    if run.state == PatternRun.State.RUNNING and run.has_own_job:
        if lose_host(run):
            tell(events.RUN_QUEUED, run, attempt=run.attempt)
            offer(run)
        return True
    if run.state == PatternRun.State.WAITING:
        return _sweep_waiting(run, now)
    if run.state == PatternRun.State.QUEUED and run.has_own_job and run.deadline < now:
        end_run(run, "failed", error=RunTimeout("No host took it before its deadline."))
        return True
    return False


def _sweep_waiting(run: PatternRun, now: datetime) -> bool:
    if now - run.updated_at > LONGEST_WAIT:
        end_run(run, "failed", error=RunTimeout("It waited for more than 24 hours."))
        return True
    return _wake(run, [step for step in run.steps.filter(state="waiting") if _is_over(step)])


def _sweep_orphan(run: PatternRun, now: datetime) -> bool:
    """The execution that ran it is over: nobody will ever go on with it."""
    if run.is_ended or now - run.updated_at < ORPHANED:
        return False
    end_run(run, "cancelled", reason="The execution that ran it ended before it.")
    return True
