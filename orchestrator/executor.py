"""One run on this host, from where it stands to where it can get.

    execute_run(run_id, *, should_stop=None) -> PatternRun

Call it from a worker thread, outside any transaction. It answers the run as it then stands:
`succeeded`, `failed` (error_code, error_step; the message is the failed step's `error`),
`cancelled` (should_stop said so, or somebody cancelled it), or `waiting`: the slot is free, and
`services.wake_runs` queues it again and offers it to whoever runs it. A run that ended or waits
already is answered unchanged. Raises services' RunBusy (another host has it) and RunTakenOver
(another host took it meanwhile, or `should_stop` raised it: nothing more is written).

Steps run in threads of their own, at most four at once; this thread alone writes the run's rows,
each change in one short transaction with its event, and keeps the run's lease.
"""

import contextvars
import copy
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError, connection, connections
from django.utils import timezone

from guardian import conditions, tracing
from guardian.authority import Actor
from guardian.errors import DomainError
from guardian.services import log_error, standing_of
from guardian.storable import storable
from orchestrator import capabilities, templates, watching
from orchestrator.capabilities import Answer, Capability, StepContext, Waiting, as_answer
from orchestrator.errors import (
    CapabilityFailed,
    DatabaseAway,
    ResultTooLarge,
    RunTakenOver,
    RunTimeout,
    StepTimeout,
    TemplateMissing,
)
from orchestrator.models import PatternRun, StepRun
from orchestrator.models.exact import exact_json
from orchestrator.pattern_graph import needs
from orchestrator.request_context import RequestCtx
from orchestrator.services import runs, steps, waiting
from orchestrator.services.run_context import actor_of_run

log = structlog.get_logger(__name__)

MOST_AT_ONCE = 4
MOST_RESULT_BYTES = 1024 * 1024
RETRY_SECONDS = (1, 2, 4)
TICK_SECONDS = 0.25
LOOK_SECONDS = 1
RENEW_SECONDS = 10
# A call that was told to stop has this long to return before its thread is left behind.
GRACE_SECONDS = 5
# A database that is away is waited for until the lease must have lapsed.
AWAY_SECONDS = 40

T = TypeVar("T")
Outcome = Answer | Waiting | DomainError


def execute_run(run_id: UUID, *, should_stop: Callable[[], bool] | None = None) -> PatternRun:
    """Do what is left of a run. See the head of this module."""
    if connection.in_atomic_block:
        raise RuntimeError("a run does its work outside of any transaction")
    run = runs.take_run(run_id=run_id)
    if run is None:
        return _stored(run_id)
    try:
        doing = _Execution(run, _actor(run), should_stop or (lambda: False))
        with watching.logged(run), watching.whole_run(run, doing.ctx) as seen:
            doing.go()
            if doing.ending is not None and doing.ending.error is not None:
                tracing.failed(seen, doing.ending.error.code)
    except RunTakenOver:
        stored = _stored(run_id)
        if stored.attempt != run.attempt or stored.state == PatternRun.State.RUNNING:
            raise  # another host has it
        return stored  # somebody cancelled it, or its end was said twice
    return _stored(run_id)


def _stored(run_id: UUID) -> PatternRun:
    return PatternRun.objects.select_related("pattern").get(pk=run_id)


def _actor(run: PatternRun) -> Actor:
    try:
        return actor_of_run(run)
    except DomainError as refusal:  # the starter has left the team: the run ends, here and now
        runs.fail_run(run=run, error=refusal)
        raise RunTakenOver(run_id=str(run.pk)) from refusal


@dataclass(slots=True)
class _Call:
    """A capability at work in its thread."""

    step: dict[str, Any]
    capability: Capability
    context: StepContext
    began: float
    deadline: float
    stop: threading.Event = field(default_factory=threading.Event)
    left_at: float | None = None  # when a stopped call's thread is given up
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class _End:
    """Why a run ends before its last step: an error, or a reason to stop."""

    error: DomainError | None = None
    step_id: str = ""
    reason: str = ""


class _Execution:
    """The state of one run on this host."""

    def __init__(self, run: PatternRun, actor: Actor, should_stop: Callable[[], bool]) -> None:
        self.run = run
        self.actor = actor
        self.should_stop = should_stop
        self.ctx = RequestCtx.from_json(run.ctx)
        self.steps = {step["id"]: step for step in run.pattern.normal["steps"]}
        self.needs = needs(run.pattern.normal["steps"])
        self.rows = {row.step_id: row for row in run.steps.all()}
        self.calls: dict[str, _Call] = {}
        self.tries: dict[str, int] = {}
        self.retry_at: dict[str, float] = {}
        self.outcomes: queue.SimpleQueue[tuple[_Call, Outcome]] = queue.SimpleQueue()
        self.ending: _End | None = None
        now = time.monotonic()
        self.deadline = now + (run.deadline - timezone.now()).total_seconds()
        self.look_at = now + LOOK_SECONDS
        self.renew_at = now + RENEW_SECONDS

    # The loop

    def go(self) -> None:
        try:
            self._resume()
            while True:
                self._look()
                self._start_what_can()
                if not self.calls and not (self.retry_at and self.ending is None):
                    break
                self._hear()
            self._conclude()
        finally:
            self._leave()

    def _leave(self) -> None:
        """Calls that still run, since the run was taken or cancelled, are told and waited for."""
        for call in self.calls.values():
            call.stop.set()
        until = time.monotonic() + GRACE_SECONDS
        while self.calls and time.monotonic() < until:
            try:
                call, _ = self.outcomes.get(timeout=TICK_SECONDS)
            except queue.Empty:
                continue
            self.calls.pop(call.step["id"], None)

    def _resume(self) -> None:
        """A step that failed before the host was lost ends the run now, as it would have then."""
        for step_id, row in self.rows.items():
            if row.state == StepRun.State.FAILED and self.steps[step_id]["on_error"] == "fail":
                error = _stored_error(row)
                self.ending = _End(error=error, step_id=step_id)

    def _look(self) -> None:
        """Whether to go on: the caller's word, the deadline, the lease, the calls' own time."""
        now = time.monotonic()
        if self.ending is None:
            if self.should_stop():
                self.ending = _End(reason="The host was told to stop.")
            elif now > self.deadline:
                running = next(iter(self.calls), "")
                seconds = self.run.pattern.normal["timeout_seconds"]
                error = RunTimeout(f"The run did not end within its time ({seconds} s).")
                self.ending = _End(error=error, step_id=running)
        self._keep(now)
        for call in list(self.calls.values()):
            self._watch(call, now)

    def _keep(self, now: float) -> None:
        if now >= self.renew_at:
            self._written(lambda: runs.renew_run(run=self.run))
            self.renew_at = time.monotonic() + RENEW_SECONDS
            self.look_at = self.renew_at - RENEW_SECONDS + LOOK_SECONDS
        elif now >= self.look_at:
            if not self._written(lambda: runs.still_mine(run=self.run)):
                raise RunTakenOver(run_id=str(self.run.pk))
            if self.ending is None and standing_of(team_id=self.run.team_id).kill_switch:
                self.ending = _End(reason="The kill switch is on.")
            self.look_at = time.monotonic() + LOOK_SECONDS

    def _watch(self, call: _Call, now: float) -> None:
        if now > call.deadline and not call.stop.is_set():
            call.timed_out = True
        if (call.timed_out or self.ending is not None) and not call.stop.is_set():
            call.stop.set()
            call.left_at = now + GRACE_SECONDS
        if call.left_at is not None and now > call.left_at:
            log.warning("step_left_behind", run=str(self.run.pk), step=call.step["id"])
            del self.calls[call.step["id"]]
            if call.timed_out:
                self._failed(call.step, _step_timeout(call.step))

    # Starting

    def _start_what_can(self) -> None:
        """Everything whose needs have ended; a skipped step may free the next at once."""
        moved = True
        while moved and self.ending is None:
            moved = False
            for step_id, step in self.steps.items():
                if len(self.calls) >= MOST_AT_ONCE or self.ending is not None:
                    return
                if self._is_due(step_id):
                    self.retry_at.pop(step_id, None)
                    self._begin(step)
                    moved = True

    def _is_due(self, step_id: str) -> bool:
        return (
            self.rows[step_id].state == StepRun.State.PENDING
            and step_id not in self.calls
            and self.retry_at.get(step_id, 0) <= time.monotonic()
            and all(self.rows[wanted].is_ended for wanted in self.needs[step_id])
        )

    def _scope(self) -> dict[str, Any]:
        """What templates and conditions see: results by `as`, in the order of the file."""
        state = {
            step["as"]: self.rows[step_id].result
            for step_id, step in self.steps.items()
            if self.rows[step_id].state == StepRun.State.SUCCEEDED
        }
        return {"inputs": self.run.inputs, "state": state, "ctx": self.run.ctx}

    def _begin(self, step: dict[str, Any]) -> None:
        scope = self._scope()
        try:
            if step["condition"] and not conditions.evaluate(
                conditions.parse(step["condition"]), scope
            ):
                reason = f"The condition is false: {step['condition']}"
                self._keep_row(lambda: steps.skip_step(
                    run=self.run, step_id=step["id"], reason=reason
                ))  # fmt: skip
                return
            args = copy.deepcopy(templates.render(step["args"], scope))
            capability = capabilities.find(step["capability"])
            capability.check_args(args)
        except DomainError as error:
            self._failed(step, error)
            return
        self._keep_row(lambda: steps.begin_step(run=self.run, step_id=step["id"], args=args))
        self._call(step, capability, args)

    def _call(self, step: dict[str, Any], capability: Capability, args: dict[str, Any]) -> None:
        now = time.monotonic()
        stop = threading.Event()
        deadline = min(now + step["timeout_seconds"], self.deadline)
        context = StepContext(
            actor=self.actor,
            run_id=self.run.pk,
            step_id=step["id"],
            attempt=self.rows[step["id"]].attempt,
            ticket_id=self.run.ticket_id,
            task_id=self.run.task_id,
            idempotency_key=f"{self.run.pk}:{step['id']}",
            should_stop=stop.is_set,
            seconds_left=lambda: max(0.0, deadline - time.monotonic()),
        )
        call = _Call(
            step, capability, context, began=now, deadline=now + step["timeout_seconds"], stop=stop
        )
        self.calls[step["id"]] = call
        inherited = contextvars.copy_context()
        threading.Thread(
            target=lambda: inherited.run(self._work, call, args),
            name=f"step {step['id']}",
            daemon=True,  # a call that never returns must not keep the process
        ).start()

    def _work(self, call: _Call, args: dict[str, Any]) -> None:
        """In the step's own thread: call, and say what came of it."""
        outcome: Outcome
        try:
            with watching.one_call(self.run, call.step, call.capability):
                returned = call.capability.function(self.ctx, call.context, args)
                outcome = self._judged(call.capability, as_answer(returned, call.capability.name))
        except (Waiting, DomainError) as signal:
            outcome = signal
        except (OperationalError, InterfaceError) as error:
            log.warning("step_lost_database", step=call.step["id"], error=type(error).__name__)
            outcome = DatabaseAway()
        except Exception as error:  # noqa: BLE001  a capability may break in any way; it is logged
            outcome = self._broken(call, error)
        finally:
            connections.close_all()
        self.outcomes.put((call, outcome))

    def _judged(self, capability: Capability, answer: Answer) -> Answer:
        """The answer as it will be read back, within its contract and its size."""
        value = exact_json(storable(answer.value))
        capability.check_result(value)
        size = len(templates.compact_json(value).encode())
        if size > MOST_RESULT_BYTES:
            raise ResultTooLarge(f"{capability.name} answered {size} bytes.", limit_bytes=size)
        return Answer(value, answer.source, answer.asof, answer.ttl_seconds, answer.confidence)

    def _broken(self, call: _Call, error: Exception) -> DomainError:
        name = call.capability.name
        log.error("capability_failed", capability=name, run=str(self.run.pk), exc_info=error)
        try:
            log_error(
                error=error,
                component=f"orchestrator.capability.{name}",
                team_id=self.run.team_id,
                subject_label="orchestrator.patternrun",
                subject_id=str(self.run.pk),
            )
        except (OperationalError, InterfaceError):
            log.warning("error_not_stored", capability=name)
        return CapabilityFailed(
            f"{name} broke down ({type(error).__name__}); the error log has the details.",
            capability=name,
        )

    # Hearing

    def _hear(self) -> None:
        """Wait for the next outcome, at most a tick; take all that are there."""
        try:
            call, outcome = self.outcomes.get(timeout=TICK_SECONDS)
        except queue.Empty:
            connection.close()  # back to the pool: the calls go on for longer
            return
        while True:
            self._take(call, outcome)
            try:
                call, outcome = self.outcomes.get_nowait()
            except queue.Empty:
                return

    def _take(self, call: _Call, outcome: Outcome) -> None:
        step = call.step
        if self.calls.get(step["id"]) is not call:
            return  # left behind: its step has another end already
        del self.calls[step["id"]]
        if isinstance(outcome, Answer) and not call.timed_out:
            elapsed = round((time.monotonic() - call.began) * 1000)
            metadata = call.capability.metadata(self.ctx, outcome, duration_ms=elapsed)
            value = outcome.value
            self._keep_row(lambda: steps.finish_step(
                run=self.run, step_id=step["id"], result=value, metadata=metadata
            ))  # fmt: skip
        elif isinstance(outcome, Waiting):
            self._keep_row(lambda: steps.suspend_step(
                run=self.run, step_id=step["id"], waiting=outcome
            ))  # fmt: skip
        elif call.timed_out:
            self._failed(step, _step_timeout(step))
        elif isinstance(outcome, DomainError) and self.ending is None:
            self._failed(step, outcome)
        # An error of a call that was told to stop is no error: its step ends as cancelled.

    def _failed(self, step: dict[str, Any], error: DomainError) -> None:
        """Once more if that may help and tries are left; else the step failed."""
        tries = self.tries.get(step["id"], 0)
        running = self.rows[step["id"]].state == StepRun.State.RUNNING
        if running and not error.permanent and tries < step["retries"] and self.ending is None:
            self.tries[step["id"]] = tries + 1
            self.retry_at[step["id"]] = time.monotonic() + RETRY_SECONDS[tries]
            self._keep_row(lambda: steps.retry_step(
                run=self.run, step_id=step["id"], error=error
            ))  # fmt: skip
            return
        self._keep_row(lambda: steps.fail_step(run=self.run, step_id=step["id"], error=error))
        if step["on_error"] == "fail" and self.ending is None:
            self.ending = _End(error=error, step_id=step["id"])

    # Writing

    def _keep_row(self, write: Callable[[], StepRun]) -> None:
        row = self._written(write)
        self.rows[row.step_id] = row

    def _written(self, write: Callable[[], T]) -> T:
        """The write, again while the database is away; every write here may be said twice."""
        until = time.monotonic() + AWAY_SECONDS
        while True:
            try:
                return write()
            except (OperationalError, InterfaceError) as error:
                connection.close()
                if time.monotonic() > until:
                    raise
                log.warning("run_waits_for_database", run=str(self.run.pk), error=str(error)[:200])
                time.sleep(1)

    def _conclude(self) -> None:
        if self.ending is not None and self.ending.error is not None:
            error, step_id = self.ending.error, self.ending.step_id
            self._written(lambda: runs.fail_run(
                run=self.run, error=error, step_id=step_id, warnings=self._warnings()
            ))  # fmt: skip
        elif self.ending is not None:
            reason = self.ending.reason
            self._written(lambda: runs.stop_run(
                run=self.run, reason=reason, warnings=self._warnings()
            ))  # fmt: skip
        elif all(row.is_ended for row in self.rows.values()):
            self._succeed()
        else:
            self._written(lambda: waiting.suspend_run(run=self.run))

    def _succeed(self) -> None:
        scope = self._scope()
        outputs, missing = {}, []
        try:
            for name, text in self.run.pattern.normal["outputs"].items():
                try:
                    outputs[name] = templates.render(text, scope, limit=MOST_RESULT_BYTES)
                except TemplateMissing:
                    missing.append(f"output_missing:{name}")
        except DomainError as error:
            refusal = error
            self._written(lambda: runs.fail_run(
                run=self.run, error=refusal, warnings=self._warnings()
            ))  # fmt: skip
            return
        warnings = [*self._warnings(), *missing]
        self._written(lambda: runs.succeed_run(run=self.run, outputs=outputs, warnings=warnings))

    def _warnings(self) -> list[str]:
        """What a reader of the result should know: what may differ next time, what failed."""
        found = []
        for row in sorted(self.rows.values(), key=lambda row: row.position):
            if row.state == StepRun.State.FAILED:
                found.append(f"step_failed:{row.step_id}:{row.error_code}")
            elif row.state == StepRun.State.SUCCEEDED and not _reproducible(row.capability):
                found.append(f"not_reproducible:{row.capability}")
        return list(dict.fromkeys(found))


def _reproducible(name: str) -> bool:
    try:
        return capabilities.find(name).reads in {"none", "ledger"}
    except DomainError:
        return False


def _step_timeout(step: dict[str, Any]) -> StepTimeout:
    return StepTimeout(f"Step {step['id']} did not end within {step['timeout_seconds']} s.")


def _stored_error(row: StepRun) -> DomainError:
    """The error of a step that failed earlier, as it was said then."""
    permanent = bool(row.metadata.get("permanent", True))
    kind = type("StoredError", (DomainError,), {"code": row.error_code, "permanent": permanent})
    error: DomainError = kind(row.error)
    return error
