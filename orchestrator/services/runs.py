"""Runs of patterns: asked for, taken by a host, moved step by step, ended, woken, swept.

A run's `attempt` is its fence: every write of a host names the attempt it took, and is refused
with RunTakenOver once another host has the run or somebody ended it. Lock order: run, then steps.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from guardian import context
from guardian.authority import Actor, actor_for, require_scope, scopes_of
from guardian.errors import DomainError, IllegalTransition
from guardian.ledger import ledger_head
from guardian.models.base import uuid7
from guardian.outbox import defer, emit
from guardian.redaction import redact, redact_text
from guardian.services.money import newest_pack_id
from orchestrator import events
from orchestrator.capabilities import Waiting
from orchestrator.errors import HostLost, PatternNotFound, RunBusy, RunTakenOver, RunTimeout
from orchestrator.models import AgentExecution, ExecutionPattern, PatternRun, StepRun
from orchestrator.pattern_inputs import checked_inputs
from orchestrator.request_context import RequestCtx
from orchestrator.services.patterns import find_pattern
from orchestrator.services.reuse import copy_result, find_reusable, key_of
from phases.models import Task, Ticket
from tools.models import ToolExecution

LEASE = timedelta(seconds=45)
# So often may a run's host be lost before the run itself is blamed.
MOST_ATTEMPTS = 3
LONGEST_WAIT = timedelta(hours=24)
# A run without a job of its own that nobody has touched for so long belongs to nobody.
ORPHANED = timedelta(seconds=60)
ERROR_CHARACTERS = 4000

# Asking


def build_ctx(*, actor: Actor, **choices: Any) -> RequestCtx:
    """The facts of this moment, pinned: newest built price pack, ledger head, who asks.

    `choices`: asof_date, require_fresh, portfolio_id, security_id, trace_id. Raises PackNotFound.
    """
    ledger_hash, seq = ledger_head(actor.team_id)
    now = timezone.now()
    request_id = context.request_id()
    return RequestCtx(
        **{
            "pricing_pack_id": newest_pack_id(),
            "ledger_commit_hash": ledger_hash,
            "ledger_seq": seq,
            "trace_id": uuid7().hex,
            "request_id": request_id,
            "user_id": actor.id,
            "team_id": actor.team_id,
            "timestamp": now,
            "asof_date": now.date(),
            "scopes": tuple(sorted(actor.scopes)),
            "authority": actor.authority,
            **choices,
        }
    )


def actor_of_run(run: PatternRun) -> Actor:
    """Who started it, with at most the rights they had then and have now.

    Raises Forbidden when they are no longer in the team.
    """
    ctx = RequestCtx.from_json(run.ctx)
    now = actor_for(run.started_by, run.team)
    return Actor(
        user=now.user,
        team=now.team,
        role=now.role,
        authority=min(now.authority, ctx.authority),
        scopes=scopes_of(now.role, ctx.scopes),
    )


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
        _tell(events.RUN_FINISHED, run, state=run.state, error_code="", error_step="")
        return run
    _tell(events.RUN_QUEUED, run, attempt=run.attempt)
    _offer(run)
    return run


def _offer(run: PatternRun) -> None:
    """Whoever runs a queued run hears of it: its own job, or the execution that started it."""
    if run.has_own_job:
        defer("orchestrator.run_pattern", queue="patterns", run_id=str(run.pk))
        return
    for execution in run.executions.still_open():
        defer("orchestrator.run_execution", queue="agents", execution_id=str(execution.pk))


def _tell(
    kind: str, run: PatternRun, *, reason: str = "", actor: Actor | None = None, **data: Any
) -> None:
    emit(kind, subject=run, actor=actor, reason=reason, **_facts(run), **data)


def _facts(run: PatternRun) -> dict[str, Any]:
    return {
        "run_id": str(run.pk),
        "ticket_id": str(run.ticket_id or ""),
        "task_id": str(run.task_id or ""),
        "pattern": run.pattern.slug,
        "version": run.pattern.version,
    }


# Locks


def _locked(run_id: UUID) -> PatternRun:
    """Raises PatternRun.DoesNotExist."""
    run: PatternRun = (
        PatternRun.objects.select_for_update(of=("self",))
        .select_related("pattern", "team", "started_by")
        .get(pk=run_id)
    )
    return run


def _mine(run: PatternRun) -> PatternRun:
    """The running row, locked, if this attempt still has it. Raises RunTakenOver."""
    row = _locked(run.pk)
    if row.state != PatternRun.State.RUNNING or row.attempt != run.attempt:
        raise RunTakenOver(run_id=str(run.pk), state=row.state)
    return row


# Running


@transaction.atomic
def take_run(*, run_id: UUID) -> PatternRun | None:
    """Take a run for this host; None if there is nothing to do (ended, or waiting).

    A running one is taken over when its lease has lapsed, or at once when an execution runs it:
    that execution's own fence says that the former host is out. What the former host had begun
    is pending again. Raises RunBusy.
    """
    run = _locked(run_id)
    if run.is_ended or run.state == PatternRun.State.WAITING:
        return None
    if run.state == PatternRun.State.RUNNING:
        left = (run.lease_until - timezone.now()).total_seconds() if run.lease_until else 0
        if run.has_own_job and left > 0:
            raise RunBusy(run_id=str(run.pk), retry_after=int(left) + 1)
        if not _lose_host(run):
            return None
    run.start()
    run.lease_until = Now() + LEASE
    run.started_at = run.started_at or timezone.now()
    run.save(update_fields=["state", "lease_until", "started_at", "updated_at"])
    _tell(events.RUN_STARTED, run, attempt=run.attempt)
    return _locked(run.pk)


def _lose_host(run: PatternRun) -> bool:
    """running → queued, what was begun is pending again; False if that ended the run."""
    if run.attempt >= MOST_ATTEMPTS:
        _end(run, "failed", error=HostLost(f"Its host was lost {MOST_ATTEMPTS} times."))
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


# Steps


def _step(run: PatternRun, step_id: str) -> tuple[PatternRun, StepRun]:
    row = _mine(run)
    return row, StepRun.objects.select_for_update().get(run=row, step_id=step_id)


@transaction.atomic
def begin_step(*, run: PatternRun, step_id: str, args: Mapping[str, Any]) -> StepRun:
    """pending → running, with the arguments as they will be called. Raises RunTakenOver."""
    _, step = _step(run, step_id)
    if step.state == StepRun.State.RUNNING:
        return step  # said twice: only this attempt can have begun it
    step.start()
    step.args = redact(storable(dict(args)))
    step.started_at = timezone.now()
    step.save(update_fields=["state", "attempt", "args", "started_at", "updated_at"])
    return step


@transaction.atomic
def skip_step(*, run: PatternRun, step_id: str, reason: str) -> StepRun:
    """Its condition is false. Raises RunTakenOver."""
    row, step = _step(run, step_id)
    if step.is_ended:
        return step
    step.skip()
    step.reason = reason
    _close_step(row, step, ["reason"])
    return step


@transaction.atomic
def finish_step(
    *, run: PatternRun, step_id: str, result: Mapping[str, Any], metadata: Mapping[str, Any]
) -> StepRun:
    """running → succeeded: result, metadata and event together. Raises RunTakenOver.

    Said twice (a connection broke at the commit), the second time changes nothing.
    """
    row, step = _step(run, step_id)
    if step.is_ended:
        return step
    step.succeed()
    step.result, step.metadata, step.reason = dict(result), dict(metadata), ""
    _close_step(row, step, ["result", "metadata", "reason"])
    return step


@transaction.atomic
def fail_step(*, run: PatternRun, step_id: str, error: DomainError) -> StepRun:
    """running (or not even begun) → failed, with code and a message for people."""
    row, step = _step(run, step_id)
    if step.is_ended:
        return step
    if step.state == StepRun.State.PENDING:
        step.start()
        step.save(update_fields=["state", "attempt", "updated_at"])
    step.fail()
    step.error_code, step.error = error.code, _message(error)
    step.metadata = {**step.metadata, "permanent": error.permanent}
    _close_step(row, step, ["error_code", "error", "metadata"])
    return step


def _message(error: DomainError) -> str:
    text = " ".join(part for part in (error.detail, error.remedy_text) if part)
    return str(storable(redact_text(text)))[:ERROR_CHARACTERS]


@transaction.atomic
def retry_step(*, run: PatternRun, step_id: str, error: DomainError) -> StepRun:
    """running → pending: it is called again soon."""
    _, step = _step(run, step_id)
    if step.state == StepRun.State.RUNNING:
        step.again()
        step.reason = f"Call {step.attempt} failed, {error.code}: {_message(error)}"[:1000]
        step.save(update_fields=["state", "reason", "updated_at"])
    return step


@transaction.atomic
def suspend_step(*, run: PatternRun, step_id: str, waiting: Waiting) -> StepRun:
    """running → waiting for something that goes on elsewhere."""
    _, step = _step(run, step_id)
    if step.state == StepRun.State.RUNNING:
        step.wait()
        step.reason = waiting.reason[:1000]
        step.metadata = {
            **step.metadata,
            "waiting_for": {"label": waiting.label.lower(), "id": waiting.subject_id},
        }
        step.save(update_fields=["state", "reason", "metadata", "updated_at"])
    return step


def _close_step(run: PatternRun, step: StepRun, fields: Iterable[str]) -> None:
    step.finished_at = timezone.now()
    step.save(update_fields=["state", "finished_at", "updated_at", *fields])
    ended = run.steps.filter(state__in=["succeeded", "failed", "skipped", "cancelled"]).count()
    emit(
        events.STEP_FINISHED,
        subject=step,
        **_facts(run),
        step=step.step_id,
        capability=step.capability,
        agent=step.agent,
        state=step.state,
        duration_ms=duration_ms(step.started_at, step.finished_at),
        error_code=step.error_code,
        ended=ended,
        total=len(run.pattern.normal["steps"]),
    )


def duration_ms(began: datetime | None, ended: datetime | None) -> int:
    return max(0, round((ended - began).total_seconds() * 1000)) if began and ended else 0


def storable(value: Any) -> Any:
    """The value without what PostgreSQL cannot hold in text: U+0000 and half surrogate pairs."""
    if isinstance(value, str):
        if value.isascii():
            return value.replace("\x00", "\ufffd")
        text = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text.replace("\x00", "\ufffd")
    if isinstance(value, Mapping):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(item) for item in value]
    return value


# Ends


@transaction.atomic
def succeed_run(
    *, run: PatternRun, outputs: Mapping[str, Any], warnings: Iterable[str]
) -> PatternRun:
    """Raises RunTakenOver."""
    row = _mine(run)
    row.outputs = dict(outputs)
    _end(row, "succeeded", warnings=warnings)
    return row


@transaction.atomic
def fail_run(
    *, run: PatternRun, error: DomainError, step_id: str = "", warnings: Iterable[str] = ()
) -> PatternRun:
    """The run ends as failed, its open steps as cancelled. Raises RunTakenOver."""
    row = _mine(run)
    _end(row, "failed", error=error, step_id=step_id, warnings=warnings)
    return row


@transaction.atomic
def stop_run(*, run: PatternRun, reason: str, warnings: Iterable[str] = ()) -> PatternRun:
    """The host was told to stop: the run ends as cancelled. Raises RunTakenOver."""
    row = _mine(run)
    _end(row, "cancelled", reason=reason, warnings=warnings)
    return row


@transaction.atomic
def cancel_run(*, run_id: UUID, actor: Actor, reason: str) -> PatternRun:
    """Call off an open run; a host that runs it notices within seconds.

    Raises ScopeMissing for another's run without `runs:operate`, IllegalTransition,
    PatternRun.DoesNotExist.
    """
    run = _locked(run_id)
    if run.started_by_id != actor.id:
        require_scope(actor, "runs:operate")
    if run.is_ended:
        raise IllegalTransition(f"This run {run.state} already.", allowed=[], state=run.state)
    _end(run, "cancelled", reason=reason, actor=actor)
    return run


def _end(
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
    why = _message(error) if error else reason or "The run ended without it."
    for step in run.steps.filter(state__in=["pending", "running", "waiting"]):
        step.cancel()
        step.reason = why
        _close_step(run, step, ["reason"])
    run.error_code = error.code if error else ""
    run.error_step = step_id
    run.warnings = [*run.warnings, *(text for text in warnings if text not in run.warnings)]
    run.finished_at = timezone.now()
    run.save()
    _tell(
        events.RUN_FINISHED,
        run,
        actor=actor,
        reason=why if state != "succeeded" else "",
        state=state,
        error_code=run.error_code,
        error_step=step_id,
        duration_ms=duration_ms(run.started_at, run.finished_at),
    )


# Waiting and waking


@transaction.atomic
def suspend_run(*, run: PatternRun) -> PatternRun:
    """running → waiting; what its steps wait for may have ended meanwhile: then it is queued."""
    row = _mine(run)
    waits = list(row.steps.filter(state="waiting"))
    row.wait()
    row.save(update_fields=["state", "lease_until", "updated_at"])
    _tell(events.RUN_WAITING, row, steps=[step.step_id for step in waits])
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
        run = _locked(run_id)
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
    _tell(events.RUN_QUEUED, run, attempt=run.attempt)
    _offer(run)
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
    run = _locked(run_id)
    now = timezone.now()
    if run.state == PatternRun.State.RUNNING and (run.lease_until is None or run.lease_until > now):
        return False
    if not run.has_own_job and not run.executions.still_open().exists():
        return _sweep_orphan(run, now)
    if run.state == PatternRun.State.RUNNING and run.has_own_job:
        if _lose_host(run):
            _tell(events.RUN_QUEUED, run, attempt=run.attempt)
            _offer(run)
        return True
    if run.state == PatternRun.State.WAITING:
        return _sweep_waiting(run, now)
    if run.state == PatternRun.State.QUEUED and run.has_own_job and run.deadline < now:
        _end(run, "failed", error=RunTimeout("No host took it before its deadline."))
        return True
    return False


def _sweep_waiting(run: PatternRun, now: datetime) -> bool:
    if now - run.updated_at > LONGEST_WAIT:
        _end(run, "failed", error=RunTimeout("It waited for more than 24 hours."))
        return True
    return _wake(run, [step for step in run.steps.filter(state="waiting") if _is_over(step)])


def _sweep_orphan(run: PatternRun, now: datetime) -> bool:
    """The execution that ran it is over: nobody will ever go on with it."""
    if run.is_ended or now - run.updated_at < ORPHANED:
        return False
    _end(run, "cancelled", reason="The execution that ran it ended before it.")
    return True
