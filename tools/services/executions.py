"""Every edge of a ToolExecution."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import jsonschema
from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from guardian import metrics
from guardian.authority import GUARDIAN, Actor, owns, service_actor
from guardian.errors import Invalid, NotYours
from guardian.outbox import defer, emit
from guardian.services import log_error
from guardian.storable import storable
from tools import access, events, passport
from tools.errors import (
    ExecutionNotFound,
    ExecutionNotOpen,
    HandlerMissing,
    ToolNotFound,
    ToolQuarantined,
    ToolRateLimited,
)
from tools.models import Tool, ToolExecution, ToolExecutionLog, ToolVersion
from tools.registry import HANDLERS, Handler
from tools.sandbox.job import level_is_enough
from tools.services.files import store_file
from tools.services.hosts import require_level_at_hand, reviewed_floor, untrusted_floor
from tools.services.registration import quarantine_tool

Origin = Literal["upload", "self", ""]
TEXT_BYTES = 64 * 1024
LEASE_SLACK = timedelta(seconds=30)
FORGOTTEN_AFTER = timedelta(seconds=60)
ENDED_EVENTS = {
    "completed": events.EXECUTION_COMPLETED,
    "failed": events.EXECUTION_FAILED,
    "timeout": events.EXECUTION_TIMEOUT,
    "cancelled": events.EXECUTION_CANCELLED,
}


@dataclass
class Outcome:
    """What a run left behind, ready to be stored."""

    result_class: str
    output: dict[str, Any] | None = None
    stdout: str = ""
    stderr: str = ""
    error: str = ""
    flags: list[str] = field(default_factory=list)
    exit_code: int | None = None
    time_ms: int | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    logs: list[tuple[str, str]] = field(default_factory=list)


def find_tool(*, actor: Actor, tool: str | UUID | Tool) -> Tool:
    """A tool by name or id: the team's own before the global one. Raises ToolNotFound."""
    if isinstance(tool, Tool):
        return tool
    rows = Tool.objects.visible_to(actor.team_id)
    key = {"pk": tool} if isinstance(tool, UUID) else {"name": tool}
    found = rows.filter(**key).order_by(F("team_id").asc(nulls_last=True), "-id").first()
    if found is None:
        raise ToolNotFound(tool=str(tool))
    return found


def handler_of(tool: Tool) -> Handler:
    """Raises HandlerMissing for unset, unknown and not yet supported handlers."""
    name = tool.handler.get("callable", "") if tool.handler_kind == "python" else ""
    if name not in HANDLERS:
        raise HandlerMissing(tool=tool.name)
    return HANDLERS[name]


def runs_its_input(*, tool: Tool) -> bool:
    """Whether the code handed in is executed, or only read. Raises HandlerMissing."""
    return handler_of(tool).touches in {"runs", "commands"}


def needed_level(*, handler: Handler, origin: str) -> str:
    """The isolation this run needs, judged by the code that executes, not by the tool alone."""
    if handler.touches == "commands":
        return untrusted_floor()
    if origin == "self" or handler.touches == "reads":
        return "none"
    return untrusted_floor() if handler.touches == "runs" else reviewed_floor()


def check_input(*, tool: Tool, value: dict[str, Any]) -> None:
    """Raises Invalid with the path of each fault."""
    validator = jsonschema.Draft202012Validator(
        tool.function_signature, format_checker=jsonschema.FormatChecker(["uuid"])
    )
    faults = [
        {
            "path": ".".join(["input", *map(str, fault.absolute_path)]),
            "code": "invalid",
            "message": fault.message[:300],
        }
        for fault in validator.iter_errors(value)
    ]
    if faults:
        raise Invalid(f"{faults[0]['path']}: {faults[0]['message']}", errors=faults[:20])


def _check_rate(*, tool: Tool, actor: Actor) -> None:
    """Raises ToolRateLimited; counted under a lock, so two calls cannot both be the last."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 36))", [f"{tool.pk}:{actor.id}"]
        )
    window = timedelta(seconds=tool.rate_limit_seconds)
    recent = ToolExecution.objects.for_team(actor.team_id).filter(
        tool=tool, user=actor.user, created_at__gt=Now() - window
    )
    if recent.count() >= tool.rate_limit_calls:
        raise ToolRateLimited(
            f"At most {tool.rate_limit_calls} calls in {tool.rate_limit_seconds} seconds.",
            retry_after=tool.rate_limit_seconds,
        )


def _limits(tool: Tool, decision: access.Decision, timeout_seconds: float | None) -> dict[str, Any]:
    limits = dict(tool.limits)
    seconds = [limits["max_execution_seconds"], decision.constraints["max_execution_seconds"]]
    if timeout_seconds is not None:
        seconds.append(timeout_seconds)
    limits["max_execution_seconds"] = min(seconds)
    return limits


def request_execution(
    *,
    tool: str | UUID | Tool,
    actor: Actor,
    input: dict[str, Any],  # noqa: A002 - the tool's contract calls it input
    context: dict[str, Any] | None = None,
    origin: Origin = "",
    timeout_seconds: float | None = None,
    queue: bool = True,
    here: Sequence[str] = (),
    rate_limited: bool = True,
    run_key: str = "",
) -> ToolExecution:
    """Ask for one run: checked, allowed, its isolation at hand; then a row, an event and a job.

    `origin="self"` and `run_key` are set by server code only. `queue=False`: the caller
    runs it in-process with `runner.run()`; `here` are then the levels of its own host.
    Raises ToolNotFound, ToolDenied, ToolNotActive, Invalid, IsolationUnavailable,
    ToolRateLimited, HandlerMissing, ToolQuarantined.
    """
    found = find_tool(actor=actor, tool=tool)
    decision = access.require(actor=actor, tool=found)
    check_input(tool=found, value=input)
    handler = handler_of(found)
    needed = needed_level(handler=handler, origin=origin)
    version = approved_version(tool=found)
    if not any(level_is_enough(level, needed) for level in here):
        require_level_at_hand(needed=needed)
    seconds = timeout_seconds or input.get("timeout_seconds")
    with transaction.atomic():
        if rate_limited:
            _check_rate(tool=found, actor=actor)
        execution = ToolExecution.objects.create(
            team_id=actor.team_id,
            tool=found,
            version=version,
            user=actor.user,
            context=context or {},
            origin=origin,
            run_key=run_key,
            needed_level=needed,
            input_data=input,
            limits_applied=_limits(found, decision, seconds),
        )
        emit(
            events.EXECUTION_PENDING,
            subject=execution,
            actor=actor,
            tool=found.name,
            needed_level=needed,
            context=execution.context,
        )
        if queue:
            defer_run(execution.pk)
    return execution


def defer_run(execution_id: UUID, *, schedule_in: timedelta | None = None) -> None:
    """The job that runs an execution; at most one waits for each."""
    defer(
        "tools.run_execution",
        queue="sandbox",
        queueing_lock=f"tools.run_execution:{execution_id}",
        schedule_in=schedule_in,
        execution_id=str(execution_id),
    )


def approved_version(*, tool: Tool) -> ToolVersion:
    """The approved revision if it still is what would run; else both are quarantined.

    Raises ToolQuarantined.
    """
    version = tool.versions.filter(status="approved").first()
    if version is None:
        raise ToolQuarantined("This tool has no approved revision.", tool=tool.name)
    now = passport.snapshot(tool)
    if passport.hash_of(now) != version.passport_hash:
        diff = passport.difference(version.snapshot, now)
        quarantine_tool(tool=tool, version=version, diff=diff)
        raise ToolQuarantined(tool=tool.name, diff=sorted(diff))
    return version


def load_execution(execution_id: UUID) -> ToolExecution:
    """The row with its tool, team and requester, read anew. Raises ExecutionNotFound."""
    rows = ToolExecution.objects.select_related("tool", "team", "user")
    row: ToolExecution | None = rows.filter(pk=execution_id).first()
    if row is None:
        raise ExecutionNotFound(execution_id=str(execution_id))
    return row


@transaction.atomic
def take_execution(*, execution_id: UUID, level: str, host: str) -> ToolExecution | None:
    """pending→running with a lease; None if somebody else took or ended it."""
    execution: ToolExecution | None = (
        ToolExecution.objects.select_for_update(of=("self",), skip_locked=True)
        .select_related("tool", "team", "user")
        .filter(pk=execution_id, status="pending")
        .first()
    )
    if execution is None:
        return None
    if execution.attempt >= execution.max_attempts:
        return None
    execution.take()
    execution.attempt += 1
    execution.isolation_level, execution.host = level, host[:200]
    seconds = execution.limits_applied.get("max_execution_seconds", 60)
    execution.lease_until = Now() + timedelta(seconds=seconds) + LEASE_SLACK
    execution.started_at = Now()
    execution.save(
        update_fields=[
            "status", "attempt", "isolation_level", "host", "lease_until", "started_at",
            "updated_at",
        ]
    )  # fmt: skip
    emit(
        events.EXECUTION_RUNNING,
        subject=execution,
        tool=execution.tool.name,
        attempt=execution.attempt,
        isolation_level=level,
        context=execution.context,
    )
    return load_execution(execution.pk)


def _own_attempt(execution_id: UUID, attempt: int) -> ToolExecution:
    """The running row, locked, if this attempt still holds it. Raises ExecutionNotOpen."""
    row: ToolExecution | None = (
        ToolExecution.objects.select_for_update(of=("self",))
        .select_related("tool", "team", "user")
        .filter(pk=execution_id, status="running", attempt=attempt)
        .first()
    )
    if row is None:
        raise ExecutionNotOpen(execution_id=str(execution_id))
    return row


@transaction.atomic
def hand_back_execution(*, execution_id: UUID, attempt: int, reason: str) -> ToolExecution:
    """running→pending after the host failed. Raises ExecutionNotOpen."""
    execution = _own_attempt(execution_id, attempt)
    execution.hand_back()
    execution.save(update_fields=["status", "lease_until", "updated_at"])
    _log(execution, [("warning", reason)])
    return execution


@transaction.atomic
def finish_execution(*, execution_id: UUID, attempt: int, outcome: Outcome) -> ToolExecution:
    """running→its end: row, logs, artifacts and event together.

    Raises ExecutionNotOpen when another attempt holds it: then the result is dropped.
    """
    execution = _own_attempt(execution_id, attempt)
    if outcome.result_class == "ok":
        execution.complete()
    elif outcome.result_class == "timeout":
        execution.time_out()
    elif outcome.result_class == "cancelled":
        execution.cancel()
    else:
        execution.fail()
    output = outcome.output
    stored = _store_files(execution, outcome.files)
    if stored and output is not None:
        output = {**output, "files": stored}
    execution.output_data = storable(output)
    execution.stdout = _text(outcome.stdout)
    execution.stderr = _text(outcome.stderr)
    execution.error_message = _text(outcome.error)
    execution.result_class = outcome.result_class
    execution.flags = outcome.flags
    execution.exit_code = outcome.exit_code
    execution.execution_time_ms = outcome.time_ms
    execution.resource_usage = outcome.usage
    execution.completed_at = Now()
    execution.save()
    Tool.objects.filter(pk=execution.tool_id).update(last_used_at=Now())
    _log(execution, outcome.logs)
    _remember_error(execution)
    _emit_end(execution)
    return load_execution(execution.pk)


class ToolRunFailed(Exception):
    """What a failed or overrun execution leaves in the error log."""


def _remember_error(execution: ToolExecution) -> None:
    """One open ErrorLog per tool, class and first line; the host's failures under `sandbox`."""
    if execution.status not in {"failed", "timeout"}:
        return
    output = execution.output_data
    if isinstance(output, dict) and "refused" in output:
        return  # an answer about what somebody uploaded, no fault of tool or host
    first = (execution.error_message.strip().splitlines() or [""])[0]
    error = ToolRunFailed(f"{execution.tool.name}: {execution.result_class}: {first}")
    log_error(
        error=error,
        component="sandbox" if execution.result_class == "infra_error" else "tools",
        team_id=execution.team_id,
        subject_label=execution._meta.label_lower,
        subject_id=str(execution.pk),
        severity="high" if execution.result_class == "infra_error" else "low",
    )


def _text(value: str) -> str:
    return value.replace("\0", "\ufffd")[:TEXT_BYTES]


def _store_files(execution: ToolExecution, files: dict[str, bytes]) -> list[dict[str, Any]]:
    if not files:
        return []
    actor = _requester(execution)
    stored = []
    for name, content in sorted(files.items()):
        artifact, _ = store_file(actor=actor, name=name, content=content, execution=execution)
        stored.append(
            {
                "artifact_id": str(artifact.pk),
                "name": artifact.name,
                "media_type": artifact.media_type,
                "size": artifact.size,
                "sha256": artifact.sha256,
            }
        )
    return stored


def _requester(execution: ToolExecution) -> Actor:
    """Lemnos acting for the requester: files of a run belong to whoever asked for it."""
    service = service_actor(execution.team)
    return Actor(
        user=execution.user, team=execution.team, role=service.role,
        authority=service.authority, scopes=service.scopes,
    )  # fmt: skip


def _log(execution: ToolExecution, lines: list[tuple[str, str]]) -> None:
    last = execution.logs.count()
    ToolExecutionLog.objects.bulk_create(
        ToolExecutionLog(
            team_id=execution.team_id, execution=execution, seq=last + number, level=level,
            message=_text(message),
        )
        for number, (level, message) in enumerate(lines, start=1)
        if last + number <= 10_000
    )  # fmt: skip


def _emit_end(execution: ToolExecution, actor: Actor | None = None, reason: str = "") -> None:
    metrics.TOOL_EXECUTIONS.on_commit(
        tool=execution.tool.name, result=execution.result_class or execution.status
    )
    emit(
        ENDED_EVENTS[execution.status],
        subject=execution,
        actor=actor,
        reason=reason,
        tool=execution.tool.name,
        result_class=execution.result_class,
        context=execution.context,
    )


@transaction.atomic
def refuse_execution(*, execution_id: UUID, result_class: str, error: str) -> ToolExecution | None:
    """pending→failed by the system; None if it is no longer pending."""
    execution: ToolExecution | None = (
        ToolExecution.objects.select_for_update(of=("self",))
        .select_related("tool")
        .filter(pk=execution_id, status="pending")
        .first()
    )
    if execution is None:
        return None
    execution.fail()
    execution.result_class, execution.error_message = result_class, _text(error)
    execution.completed_at = Now()
    execution.save(
        update_fields=[
            "status", "lease_until", "result_class", "error_message", "completed_at", "updated_at",
        ]
    )  # fmt: skip
    _emit_end(execution, reason=error[:500])
    return execution


@transaction.atomic
def cancel_execution(*, execution_id: UUID, actor: Actor, reason: str) -> ToolExecution:
    """Cancel a pending run at once; ask a running one to stop.

    Raises ExecutionNotFound, NotYours, ExecutionNotOpen.
    """
    execution: ToolExecution | None = (
        ToolExecution.objects.select_for_update(of=("self",))
        .select_related("tool")
        .filter(pk=execution_id, team_id=actor.team_id)
        .first()
    )
    if execution is None or not owns(actor, execution.user_id):
        raise ExecutionNotFound  # an agent does not see those of others either
    if execution.user_id != actor.id and actor.authority < GUARDIAN:
        raise NotYours("Only who asked for this run may cancel it, or level 4.")
    if execution.status == "running":
        execution.cancel_requested_at = Now()
        execution.save(update_fields=["cancel_requested_at", "updated_at"])
        return ToolExecution.objects.select_related("tool").get(pk=execution_id)
    if execution.status != "pending":
        raise ExecutionNotOpen(f"It is already {execution.status}.", allowed=[])
    execution.cancel()
    execution.result_class, execution.completed_at = "cancelled", Now()
    execution.save(
        update_fields=["status", "lease_until", "result_class", "completed_at", "updated_at"]
    )
    _emit_end(execution, actor, reason)
    return ToolExecution.objects.select_related("tool").get(pk=execution_id)  # with its times


@transaction.atomic
def sweep_executions() -> int:
    """Take back runs whose worker vanished: another attempt if one is left, else failed."""
    lapsed = (
        ToolExecution.objects.select_for_update(of=("self",), skip_locked=True)
        .select_related("tool")
        .filter(Q(status="running", lease_until__lt=Now()))
    )
    count = 0
    for execution in lapsed:
        count += 1
        if execution.attempt < execution.max_attempts:
            execution.hand_back()
            execution.save(update_fields=["status", "lease_until", "updated_at"])
            defer_run(execution.pk)
            continue
        execution.fail()
        execution.result_class, execution.completed_at = "infra_error", Now()
        execution.error_message = "The worker that ran this vanished, three times."
        execution.save(
            update_fields=[
                "status", "lease_until", "result_class", "error_message", "completed_at",
                "updated_at",
            ]
        )  # fmt: skip
        _emit_end(execution)
    return count + _queue_the_forgotten()


def _queue_the_forgotten() -> int:
    """A caller that meant to run it itself was killed before: somebody else does it."""
    forgotten = ToolExecution.objects.filter(
        status="pending", updated_at__lt=Now() - FORGOTTEN_AFTER
    ).values_list("id", flat=True)
    for execution_id in forgotten:
        defer_run(execution_id)
    return len(forgotten)
