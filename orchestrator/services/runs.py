"""Runs of patterns: asked for, taken by a host, kept, ended.

A run's `attempt` is its fence: every write of a host names the attempt it took, and is refused
with RunTakenOver once another host has the run or somebody ended it. Lock order: run, then steps.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from guardian import metrics
from guardian.authority import Actor, require_scope
from guardian.errors import DomainError, IllegalTransition
from orchestrator import events
from orchestrator.errors import (
    HostLost,
    PatternNotFound,
    RunBusy,
    RunOfTask,
    RunStillOpen,
    RunTakenOver,
)
from orchestrator.models import ExecutionPattern, PatternRun, StepRun
from orchestrator.pattern_inputs import checked_inputs
from orchestrator.request_context import RequestCtx
from orchestrator.services.patterns import find_pattern
from orchestrator.services.reuse import copy_result, find_reusable, key_of
from orchestrator.services.run_context import build_ctx
from orchestrator.services.run_rows import (
    close_step,
    duration_ms,
    locked,
    message_of,
    mine,
    offer,
    tell,
)
from phases.models import Task, Ticket

LEASE = timedelta(seconds=45)
# So often may a run's host be lost before the run itself is blamed.
MOST_ATTEMPTS = 3

# Asking


@transaction.atomic
def start_run(
    *,
    pattern: ExecutionPattern | str,
    inputs: Mapping[str, Any],
    actor: Actor,
    ticket: Ticket | None = None,
    task: Task | None = None,
    ctx: RequestCtx | None = None,
    deadline: datetime | timedelta | None = None,
    parent_run: PatternRun | None = None,
    own_job: bool = False,
    reuse: bool = False,
) -> PatternRun:
    """Write down a run and its steps; `own_job` defers the job that does it.

    With `reuse` an earlier result over the same facts is taken where it may be: the run is then
    answered as succeeded, its steps marked as cached.

    Without `own_job` the caller runs it: `executor.execute_run(run.pk, should_stop=…)`. `pattern`
    is a published row or a slug; the deadline is the pattern's timeout unless given.
    Raises PatternNotFound, PatternInputsInvalid, PackNotFound.
    """
    if isinstance(pattern, str):
        pattern = find_pattern(team_id=actor.team_id, slug=pattern)
    if pattern.state != ExecutionPattern.State.PUBLISHED:
        raise PatternNotFound(
            f"Version {pattern.version} is {pattern.state}, not published.", pattern=pattern.slug
        )
    values = checked_inputs(pattern.normal["inputs"], inputs)
    if deadline is None:
        deadline = timedelta(seconds=pattern.normal["timeout_seconds"])
    if isinstance(deadline, timedelta):
        deadline = timezone.now() + deadline
    pinned = ctx or build_ctx(actor=actor)
    key = key_of(pattern=pattern, ctx=pinned, inputs=values, team_id=actor.team_id)
    run = PatternRun.objects.create(
        team=actor.team,
        pattern=pattern,
        content_hash=pattern.content_hash,
        ctx=pinned.as_json(),
        inputs=values,
        cache_key=key,
        ticket=ticket,
        task=task,
        started_by=actor.user,
        deadline=deadline,
        parent_run=parent_run,
        has_own_job=own_job,
    )
    StepRun.objects.bulk_create(
        StepRun(
            team=actor.team,
            run=run,
            step_id=step["id"],
            position=position,
            capability=step["capability"],
            agent=step["agent"],
        )
        for position, step in enumerate(pattern.normal["steps"], start=1)
    )
    source = find_reusable(key=key, team_id=actor.team_id) if reuse else None
    if source is not None:
        copy_result(run=run, source=source)
        tell(events.RUN_FINISHED, run, state=run.state, error_code="", error_step="")
        return run
    tell(events.RUN_QUEUED, run, attempt=run.attempt)
    offer(run)
    return run


@transaction.atomic
def rerun(*, run_id: UUID, actor: Actor) -> PatternRun:
    """The same question again, over the facts of now, by a job of its own.

    It stands beside the ticket but holds none of its tasks. Raises RunStillOpen, RunOfTask where
    the run belonged to a task (its evidence needs that task's lease), PatternNotFound
    when that version is no longer published, PackNotFound.
    """
    before = locked(run_id)
    if not before.is_ended:
        raise RunStillOpen(run_id=str(before.pk), state=before.state)
    if before.task_id is not None:
        raise RunOfTask(run_id=str(before.pk), task_id=str(before.task_id))
    return start_run(
        pattern=before.pattern,
        inputs=before.inputs,
        actor=actor,
        ticket=before.ticket,
        parent_run=before,
        own_job=True,
    )


# Running


@transaction.atomic
def take_run(*, run_id: UUID) -> PatternRun | None:
    """Take a run for this host; None if there is nothing to do (ended, or waiting).

    A running one is taken over when its lease has lapsed, or at once when an execution runs it:
    that execution's own fence says that the former host is out. What the former host had begun
    is pending again. Raises RunBusy.
    """
    run = locked(run_id)
    if run.is_ended or run.state == PatternRun.State.WAITING:
        return None
    if run.state == PatternRun.State.RUNNING:
        left = (run.lease_until - timezone.now()).total_seconds() if run.lease_until else 0
        if run.has_own_job and left > 0:
            raise RunBusy(run_id=str(run.pk), retry_after=int(left) + 1)
        if not lose_host(run):
            return None
    run.start()
    run.lease_until = Now() + LEASE
    run.started_at = run.started_at or timezone.now()
    run.save(update_fields=["state", "lease_until", "started_at", "updated_at"])
    tell(events.RUN_STARTED, run, attempt=run.attempt)
    return locked(run.pk)


def lose_host(run: PatternRun) -> bool:
    """running → queued, what was begun is pending again; False if that ended the run."""
    if run.attempt >= MOST_ATTEMPTS:
        end_run(run, "failed", error=HostLost(f"Its host was lost {MOST_ATTEMPTS} times."))
        return False
    run.requeue()
    run.save(update_fields=["state", "lease_until", "attempt", "updated_at"])
    for step in run.steps.filter(state="running"):
        step.again()
        step.started_at = None
        step.save(update_fields=["state", "started_at", "updated_at"])
    return True


def renew_run(*, run: PatternRun) -> None:
    """One statement: the lease goes on. Raises RunTakenOver."""
    mine = PatternRun.objects.filter(pk=run.pk, state="running", attempt=run.attempt)
    if not mine.update(lease_until=Now() + LEASE):
        raise RunTakenOver(run_id=str(run.pk))


def still_mine(*, run: PatternRun) -> bool:
    """Whether this attempt still has the run: a cheap read between two renewals."""
    return PatternRun.objects.filter(
        pk=run.pk, state=PatternRun.State.RUNNING, attempt=run.attempt
    ).exists()


# Ends


@transaction.atomic
def succeed_run(
    *, run: PatternRun, outputs: Mapping[str, Any], warnings: Iterable[str]
) -> PatternRun:
    """Raises RunTakenOver."""
    row = mine(run)
    row.outputs = dict(outputs)
    end_run(row, "succeeded", warnings=warnings)
    return row


@transaction.atomic
def fail_run(
    *, run: PatternRun, error: DomainError, step_id: str = "", warnings: Iterable[str] = ()
) -> PatternRun:
    """The run ends as failed, its open steps as cancelled. Raises RunTakenOver."""
    row = mine(run)
    end_run(row, "failed", error=error, step_id=step_id, warnings=warnings)
    return row


@transaction.atomic
def stop_run(*, run: PatternRun, reason: str, warnings: Iterable[str] = ()) -> PatternRun:
    """The host was told to stop: the run ends as cancelled. Raises RunTakenOver."""
    row = mine(run)
    end_run(row, "cancelled", reason=reason, warnings=warnings)
    return row


@transaction.atomic
def cancel_run(*, run_id: UUID, actor: Actor, reason: str) -> PatternRun:
    """Call off an open run; a host that runs it notices within seconds.

    Raises ScopeMissing for another's run without `runs:operate`, IllegalTransition,
    PatternRun.DoesNotExist.
    """
    run = locked(run_id)
    if run.started_by_id != actor.id:
        require_scope(actor, "runs:operate")
    if run.is_ended:
        raise IllegalTransition(f"This run {run.state} already.", allowed=[], state=run.state)
    end_run(run, "cancelled", reason=reason, actor=actor)
    return run


def end_run(
    run: PatternRun,
    state: str,
    *,
    error: DomainError | None = None,
    step_id: str = "",
    warnings: Iterable[str] = (),
    reason: str = "",
    actor: Actor | None = None,
) -> None:
    {"succeeded": run.succeed, "failed": run.fail, "cancelled": run.cancel}[state]()
    why = message_of(error) if error else reason or "The run ended without it."
    for step in run.steps.filter(state__in=["pending", "running", "waiting"]):
        step.cancel()
        step.reason = why
        close_step(run, step, ["reason"])
    run.error_code = error.code if error else ""
    run.error_step = step_id
    run.warnings = [*run.warnings, *(text for text in warnings if text not in run.warnings)]
    run.finished_at = timezone.now()
    run.save()
    metrics.PATTERN_RUNS.on_commit(pattern_id=run.pattern.slug, status=state)
    tell(
        events.RUN_FINISHED,
        run,
        actor=actor,
        reason=why if state != "succeeded" else "",
        state=state,
        error_code=run.error_code,
        error_step=step_id,
        duration_ms=duration_ms(run.started_at, run.finished_at),
    )
