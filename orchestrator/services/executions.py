"""The life of an execution: started by a worker host, ended together with its task."""

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from guardian.authority import Actor
from guardian.errors import DomainError
from guardian.models import WorkerHost
from guardian.outbox import defer, emit
from guardian.services import standing_of
from orchestrator import events
from orchestrator.errors import ExecutionNotFound
from orchestrator.models import AgentExecution, AgentInstance, PatternRun
from orchestrator.services.dispatch import (
    LEASE_SECONDS,
    agent_actor,
    may_take_next,
    queue_claimed,
)
from orchestrator.services.patterns import find_pattern
from orchestrator.services.runs import start_run
from phases import services as phases

log = structlog.get_logger(__name__)

MOST_ATTEMPTS = 3
NOBODY_TOOK_IT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(hours=24)
HANDED_BACK = {
    "cancelled": "A cancel was requested.",
    "host_stopping": "Its worker host was asked to end.",
    "kill_switch_on": "The kill switch is on.",
}
RENEW_WITHIN = timedelta(seconds=LEASE_SECONDS * 2 // 3)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the work of an execution ended.

    `kind`: succeeded (with result), failed (with code, message, permanent), or stopped (code says
    why: cancelled, host_stopping, kill_switch_on, lease_lost, superseded).
    """

    kind: Literal["succeeded", "failed", "stopped"]
    result: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    message: str = ""
    permanent: bool = True
    tool_calls: int = 0


@transaction.atomic
def start_execution(*, execution_id: UUID, host: str) -> AgentExecution | None:
    """Take a queued execution and beat for its task; None if there is nothing left to do.

    Called again for a running one, its first host is gone: it is taken up here. A host that died
    counts, and the third ends it; one that took its leave does not.
    """
    execution = _locked(execution_id)
    if execution is None or execution.has_ended:
        return None
    if standing_of(team_id=execution.team_id).kill_switch:
        _stop(execution, Outcome("stopped", code="kill_switch_on"))
        return None
    resumed = execution.state == AgentExecution.State.RUNNING and not _continues(execution)
    if resumed:
        execution.lost_hosts += _died(execution.host)
        if execution.lost_hosts >= MOST_ATTEMPTS:
            message = f"Its worker host was lost {MOST_ATTEMPTS} times."
            _fail_task(execution, Outcome("failed", code="host_lost", message=message))
            return None
        execution.requeue()
        # The edge running -> queued -> running: the database allows no step twice at once.
        execution.save(update_fields=["state", "attempt", "lost_hosts", "updated_at"])
    try:
        with transaction.atomic():
            phases.extend_lease(
                actor=agent_actor(_instance(execution)),
                task_id=_task_id(execution),
                fence=execution.fence or 0,
                lease_seconds=LEASE_SECONDS,
            )
    except DomainError as refusal:
        _close(execution, "aborted", code=refusal.code, message=refusal.detail)
        return None
    if resumed:
        phases.tell_resumed(actor=agent_actor(_instance(execution)), task_id=_task_id(execution))
    if execution.state == AgentExecution.State.QUEUED:
        execution.start()
    execution.host = host
    execution.started_at = execution.started_at or timezone.now()
    execution.save(update_fields=["state", "host", "started_at", "updated_at"])
    _tell(events.EXECUTION_STARTED, execution, attempt=execution.attempt)
    return execution


def _died(host: str) -> bool:
    """A worker that ends as it should takes itself off the list; a killed one stays on it."""
    silent = WorkerHost.objects.exclude(pk__in=WorkerHost.objects.live().values("pk"))
    return silent.filter(name=host).exists()


def _continues(execution: AgentExecution) -> bool:
    """What its run waited for has come; no host was lost."""
    return execution.run is not None and execution.run.state == "queued"


@transaction.atomic
def finish_execution(*, execution_id: UUID, attempt: int, outcome: Outcome) -> AgentExecution:
    """End the task with its fence and close the row; a late host changes nothing."""
    execution = _locked(execution_id)
    if execution is None:
        raise AgentExecution.DoesNotExist
    if execution.state != AgentExecution.State.RUNNING or execution.attempt != attempt:
        return execution
    execution.tool_calls = outcome.tool_calls
    if outcome.kind == "succeeded":
        _complete_task(execution, outcome)
    elif outcome.kind == "failed":
        _fail_task(execution, outcome)
    else:
        _stop(execution, outcome)
    return execution


def _complete_task(execution: AgentExecution, outcome: Outcome) -> None:
    """The task's end, and the agent's next one with it where it may go on."""
    instance = _instance(execution)
    end: dict[str, Any] = {
        "actor": agent_actor(instance),
        "task_id": _task_id(execution),
        "fence": execution.fence or 0,
        "result": outcome.result,
    }
    try:
        with transaction.atomic():
            if may_take_next(instance):
                over = phases.complete_and_claim(
                    **end,
                    capabilities=instance.capabilities,
                    lease_seconds=LEASE_SECONDS,
                    needing=True,
                )
                for claimed in over.claimed:
                    queue_claimed(instance=instance, task=claimed.task)
            else:
                phases.complete_task(**end)
    except DomainError as refusal:
        if refusal.code == "cancel_requested":
            _stop(execution, Outcome("stopped", code="cancelled", message=refusal.detail))
        else:
            _close(execution, "aborted", code=refusal.code, message=refusal.detail)
        return
    execution.result = outcome.result
    execution.progress = 100
    _close(execution, "success")


def _fail_task(execution: AgentExecution, outcome: Outcome) -> None:
    if execution.state == AgentExecution.State.QUEUED:
        execution.start()
        execution.save(update_fields=["state", "updated_at"])
    auto_retry = True
    if execution.agent_version is not None:
        auto_retry = execution.agent_version.content["config"]["auto_retry"]
    try:
        with transaction.atomic():
            phases.fail_task(
                actor=agent_actor(_instance(execution)),
                task_id=_task_id(execution),
                fence=execution.fence or 0,
                code=outcome.code,
                message=outcome.message,
                permanent=outcome.permanent or not auto_retry,
            )
    except DomainError as refusal:
        _close(execution, "aborted", code=refusal.code, message=refusal.detail)
        return
    _close(execution, "failed", code=outcome.code, message=outcome.message)


def _stop(execution: AgentExecution, outcome: Outcome) -> None:
    """Called off: a task that is still ours is handed back, a lost one left alone."""
    if outcome.code in HANDED_BACK:
        try:
            with transaction.atomic():
                phases.release_task(
                    actor=agent_actor(_instance(execution)),
                    task_id=_task_id(execution),
                    fence=execution.fence,
                    reason=outcome.message or HANDED_BACK[outcome.code],
                )
        except DomainError as refusal:
            outcome = Outcome("stopped", code=refusal.code, message=refusal.detail)
    _close(execution, "aborted", code=outcome.code, message=outcome.message)


@transaction.atomic
def begin_pattern(*, execution_id: UUID, actor: Actor) -> PatternRun:
    """The run of an execution: the one it has, or a new one of its agent's pattern.

    The pattern gets those of the execution's facts that it declares as inputs.
    Raises PatternNotFound, and what starting a run refuses.
    """
    execution = _locked(execution_id)
    if execution is None or execution.agent_version is None:
        raise ExecutionNotFound
    if execution.run is not None:
        return execution.run
    pattern = find_pattern(
        team_id=execution.team_id, slug=execution.agent_version.content["runtime"]["pattern"]
    )
    declared = pattern.normal["inputs"]
    execution.run = start_run(
        pattern=pattern,
        inputs={name: execution.input[name] for name in declared if name in execution.input},
        actor=actor,
        ticket=execution.task.ticket if execution.task else None,
        task=execution.task,
        own_job=False,
    )
    execution.save(update_fields=["run", "updated_at"])
    return execution.run


@transaction.atomic
def offer_again(*, limit: int = 100) -> int:
    """Runs that are queued while their execution runs and that no host took: the job was lost.

    Until the run's deadline; then the lease lapses and the task goes back to the queue.
    """
    lost = AgentExecution.objects.filter(
        state="running",
        run__state="queued",
        run__updated_at__lt=Now() - NOBODY_TOOK_IT,
        run__deadline__gt=Now(),
    ).values_list("id", flat=True)[:limit]
    return sum(
        defer(
            "orchestrator.run_execution",
            queue="agents",
            queueing_lock=f"orchestrator.run_execution:{execution_id}",
            execution_id=str(execution_id),
        )
        for execution_id in lost
    )


def renew_waiting_leases() -> int:
    """Keep the tasks whose runs wait for another host; nobody holds a slot for them."""
    renewed = 0
    waiting = (
        AgentExecution.objects.filter(state="running", run__state__in=["waiting", "queued"])
        .filter(run__deadline__gt=Now() - LONGEST_WAIT)
        .exclude(run__state="queued", run__deadline__lt=Now())
        .filter(task__lease_expires_at__lt=Now() + RENEW_WITHIN)
        .select_related("instance__user", "instance__team")
    )
    for execution in waiting:
        try:
            phases.extend_lease(
                actor=agent_actor(_instance(execution)),
                task_id=_task_id(execution),
                fence=execution.fence or 0,
                lease_seconds=LEASE_SECONDS,
            )
        except DomainError as refusal:
            log.info("waiting_task_lost", execution=str(execution.pk), code=refusal.code)
        else:
            renewed += 1
    return renewed


@transaction.atomic
def sweep_executions(*, limit: int = 100) -> int:
    """Close executions whose task is no longer theirs; frees the slots they held."""
    lost = (
        AgentExecution.objects.still_open()
        .filter(kind=AgentExecution.Kind.TASK)
        .filter(
            ~Q(task__fence=F("fence"))
            | ~Q(task__status__in=["assigned", "running"])
            | ~Q(task__holder=F("instance__user"))
        )
        .order_by("id")
        .values_list("id", flat=True)[:limit]
    )
    closed = 0
    for execution_id in list(lost):
        execution = _locked(execution_id)
        if execution is None or execution.has_ended or not _is_lost(execution):
            continue
        message = "Its task went back to the queue before it ended."
        _close(execution, "aborted", code="lease_lost", message=message)
        closed += 1
    return closed


def _is_lost(execution: AgentExecution) -> bool:
    task = execution.task
    if task is None:
        return False
    held = task.status in {"assigned", "running"} and task.fence == execution.fence
    return not (held and task.holder_id == _instance(execution).user_id)


def _locked(execution_id: UUID) -> AgentExecution | None:
    """The execution, locked behind its instance: the order in which placing locks them too."""
    row = AgentExecution.objects.filter(pk=execution_id).values_list("instance_id").first()
    if row is None:
        return None
    if row[0] is not None:
        AgentInstance.objects.select_for_update().get(pk=row[0])
    return (
        AgentExecution.objects.select_for_update(of=("self",))
        .select_related(
            "instance__user", "instance__team", "agent_version", "task__ticket", "run", "team"
        )
        .get(pk=execution_id)
    )


def _close(execution: AgentExecution, state: str, *, code: str = "", message: str = "") -> None:
    {"success": execution.succeed, "failed": execution.fail, "aborted": execution.abort}[state]()
    execution.error_code, execution.error = code, message[:4000]
    execution.finished_at = timezone.now()
    if execution.started_at is not None:
        seconds = (execution.finished_at - execution.started_at).total_seconds()
        execution.duration_seconds = Decimal(f"{max(0.0, seconds):.3f}")
    execution.save()
    _free_slot(_instance(execution))
    _tell(events.EXECUTION_FINISHED, execution, state=state, error_code=code)


def _free_slot(instance: AgentInstance) -> None:
    instance = AgentInstance.objects.get(pk=instance.pk)
    if AgentExecution.objects.still_open().filter(instance=instance).exists():
        return
    if instance.state == AgentInstance.State.RUNNING:
        instance.free_last_slot()
        instance.save(update_fields=["state", "updated_at"])


def _instance(execution: AgentExecution) -> AgentInstance:
    if execution.instance is None:
        raise ValueError(f"execution {execution.pk} has no agent")
    return execution.instance


def _task_id(execution: AgentExecution) -> UUID:
    if execution.task_id is None:
        raise ValueError(f"execution {execution.pk} has no task")
    return execution.task_id


def _tell(kind: str, execution: AgentExecution, **data: Any) -> None:
    emit(
        kind,
        subject=execution,
        actor=agent_actor(_instance(execution)),
        task_id=str(execution.task_id or ""),
        ticket_id=str(execution.task.ticket_id) if execution.task else "",
        agent=_instance(execution).name,
        **data,
    )
