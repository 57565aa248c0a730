"""The one execution path: take, run without a transaction, judge, finish."""

import hashlib
import socket
import time
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings

from guardian import tracing
from guardian.authority import Actor
from guardian.errors import DomainError, IsolationUnavailable
from tools import services
from tools.errors import ExecutionNotOpen
from tools.models import ToolExecution
from tools.registry import Call, Handler
from tools.sandbox import levels
from tools.sandbox.collect import parse_output
from tools.sandbox.job import Job, Limits, Report, ShouldStop, level_is_enough, never
from tools.services.executions import Origin, Outcome, handler_of, load_execution
from tools.services.hosts import isolation_error

log = structlog.get_logger(__name__)


def install_id() -> str:
    """Marks the containers of this installation, so that its reaper touches no other's."""
    return hashlib.sha256(str(settings.DATA_DIR).encode()).hexdigest()[:12]


def host_name() -> str:
    return socket.gethostname()


_reported: levels.Findings | None = None


def report_host(*, fresh: bool = False) -> None:
    """Store what this host proved, whoever made the newest proof; else say that it is there.

    A stored proof that is older than this process's own would send work here that it refuses.
    """
    global _reported  # noqa: PLW0603  what this process stored last
    found = levels.findings(fresh=fresh, install=install_id())
    if found is _reported and services.hosts.is_known(name=host_name()):
        services.hosts.beat(name=host_name())
        return
    services.record_host(
        name=host_name(),
        levels=found.levels,
        evidence=found.evidence,
        warnings=found.warnings,
        image=found.image,
    )
    _reported = found


# A host too weak for some work is asked anew, but not once per ticket of a crowd.
ASKED_AGAIN_SECONDS = 5


def levels_for(needed: str) -> list[str]:
    """This host's levels; too weak ones are proved anew, for what was missing may be mended."""
    here = levels.local_levels()
    if any(level_is_enough(level, needed) for level in here):
        return here
    here = levels.findings(believed=ASKED_AGAIN_SECONDS, install=install_id()).levels
    report_host()
    return here


def weakest_sufficient(needed: str) -> str:
    """The cheapest level of this host that is strong enough. Raises IsolationUnavailable."""
    enough = [level for level in levels_for(needed) if level_is_enough(level, needed)]
    if not enough:
        found = levels.findings()
        raise isolation_error(needed, found.levels, [found.evidence])
    return enough[-1]


def execute(
    *,
    tool: str,
    actor: Actor,
    input: dict[str, Any],  # noqa: A002 - the tool's contract calls it input
    context: dict[str, Any] | None = None,
    origin: Origin = "",
    timeout_seconds: float | None = None,
    should_stop: ShouldStop = never,
    run_key: str = "",
) -> ToolExecution:
    """Request a run and, if this host offers the level, do it now and answer it ended.

    If only another host offers it, the row is answered pending, with a job: the caller frees its
    slot and hears `tools.execution.*`. For worker threads, never for web processes. Raises what
    `request_execution` raises, IsolationUnavailable if no live host offers the level.
    """
    found = services.find_tool(actor=actor, tool=tool)
    needed = services.needed_level(handler=handler_of(found), origin=origin)
    here = levels_for(needed)
    mine = any(level_is_enough(level, needed) for level in here)
    execution = services.request_execution(
        tool=found, actor=actor, input=input, context=context, origin=origin,
        timeout_seconds=timeout_seconds, queue=not mine, here=here, rate_limited=False,
        run_key=run_key,
    )  # fmt: skip
    if not mine:
        return execution
    try:
        return run(execution.pk, should_stop=should_stop)
    except IsolationUnavailable as lost:
        # The level failed between the look and the run; nobody was given a job for this row.
        services.refuse_execution(
            execution_id=execution.pk, result_class="infra_error", error=lost.detail
        )
        raise


def run(execution_id: UUID, *, should_stop: ShouldStop = never) -> ToolExecution:
    """Run one pending execution to its end in this process; answers the row.

    `should_stop` is asked about four times a second. An execution somebody else took is answered
    as it stands. Raises IsolationUnavailable when this host lacks the level (nothing is taken),
    ExecutionNotFound.
    """
    while True:
        row = load_execution(execution_id)
        if row.status != "pending":
            return row
        level = weakest_sufficient(row.needed_level)
        taken = services.take_execution(execution_id=execution_id, level=level, host=host_name())
        if taken is None:
            return load_execution(execution_id)
        with tracing.span("lemnos.tool", tool=taken.tool.name, level=level) as seen:
            outcome = _attempt(taken, level, should_stop)
            if outcome.result_class != "ok":
                tracing.failed(seen, outcome.result_class)
        if outcome.result_class == "infra_error" and taken.attempt < taken.max_attempts:
            log.warning("sandbox_infra_error", execution=str(execution_id), error=outcome.error)
            levels.forget()
            services.hand_back_execution(
                execution_id=execution_id, attempt=taken.attempt, reason=outcome.error
            )
            report_host()
            continue
        try:
            return services.finish_execution(
                execution_id=execution_id, attempt=taken.attempt, outcome=outcome
            )
        except ExecutionNotOpen:
            log.warning("result_dropped", execution=str(execution_id), attempt=taken.attempt)
            return load_execution(execution_id)


def _attempt(execution: ToolExecution, level: str, should_stop: ShouldStop) -> Outcome:
    """One attempt, from input to outcome; whatever the job's making refuses is its outcome."""
    started = time.monotonic()
    try:
        services.executions.approved_version(tool=execution.tool)
        handler = handler_of(execution.tool)
        job = handler.build(_call(execution))
    except DomainError as refusal:
        kind = "blocked" if refusal.code == "tool_quarantined" else "handler_error"
        refused = {"refused": {"code": refusal.code, "message": str(refusal)}}
        return Outcome(kind, output=refused, error=str(refusal), time_ms=0)
    limits = Limits(**execution.limits_applied)
    report = run_job(
        job, limits, level, run_id=str(execution.pk), should_stop=_stopper(execution, should_stop)
    )
    outcome = _conclude(execution, handler, report)
    outcome.time_ms = int((time.monotonic() - started) * 1000)
    return outcome


def run_job(
    job: Job, limits: Limits, level: str, *, run_id: str = "", should_stop: ShouldStop = never
) -> Report:
    """One job at one level of this host."""
    return levels.run_at(
        level, job, limits, install=install_id(), run_id=run_id, should_stop=should_stop
    )


def _stopper(execution: ToolExecution, should_stop: ShouldStop) -> ShouldStop:
    """The caller's word, or a cancel stored in the row, looked up at most once a second."""
    last = time.monotonic()
    asked = False

    def stop() -> bool:
        nonlocal last, asked
        if should_stop():
            return True
        if time.monotonic() - last >= 1:
            last = time.monotonic()
            asked = ToolExecution.objects.filter(
                pk=execution.pk, cancel_requested_at__isnull=False
            ).exists()
        return asked

    return stop


def _call(execution: ToolExecution) -> Call:
    def open_file(file_id: str) -> bytes:
        return services.open_file(team_id=execution.team_id, file_id=file_id)[1]

    def facts(file_id: str) -> dict[str, Any]:
        row = services.file_row(team_id=execution.team_id, file_id=file_id)
        return {
            "name": row.name, "media_type": row.media_type, "size": row.size, "sha256": row.sha256,
        }  # fmt: skip

    return Call(execution.input_data, execution.origin, open_file, facts)


def _conclude(execution: ToolExecution, handler: Handler, report: Report) -> Outcome:
    """From bytes to the stored outcome: stdout as JSON, refusals of archives as failures."""
    stdout = report.stdout.decode("utf-8", "replace")
    outcome = Outcome(
        report.result_class,
        stdout=stdout if not handler.json_output else "",
        stderr=report.stderr.decode("utf-8", "replace")[-65536:],
        error=report.error,
        flags=report.flags,
        exit_code=report.exit_code,
        usage=report.usage,
        files=report.files,
        logs=[("warning", f"file refused: {r['name']}: {r['why']}") for r in report.refused[:100]],
    )
    if report.result_class != "ok":
        outcome.error = report.error or explain(
            report, seconds=execution.limits_applied["max_execution_seconds"]
        )
        if not handler.json_output:
            outcome.output = {
                "stdout": stdout, "stderr": outcome.stderr, "exit_code": report.exit_code,
            }  # fmt: skip
        return outcome
    output, fault = parse_output(report.stdout, required=handler.json_output)
    if fault:
        outcome.result_class, outcome.error = "invalid_output", fault
    elif "refused" in output:
        outcome.result_class, outcome.error = "failed", str(output["refused"].get("message"))
    outcome.output = output
    if not handler.json_output:
        result = output if "stdout" not in output else None
        outcome.output = {
            "result": result, "stdout": stdout, "stderr": outcome.stderr,
            "exit_code": report.exit_code,
        }  # fmt: skip
    if handler.name == "write_artifact" and "content" in outcome.files:
        outcome.files = {str(execution.input_data["name"]): outcome.files["content"]}
    return outcome


REASONS = {
    "timeout": "It ran longer than its {seconds:g} seconds and was ended.",
    "cancelled": "It was cancelled.",
    "output_truncated": "It wrote more output than allowed and was ended.",
    "oom_killed": "It needed more memory than allowed.",
    "pids_exceeded": "It started more processes than allowed.",
    "disk_full": "It wrote more files than the sandbox has room for.",
    "killed_self": "It was killed by a signal (exit code {exit_code}).",
    "failed": "It ended with exit code {exit_code}.",
}


def explain(report: Report, *, seconds: float) -> str:
    """One sentence for people."""
    text = REASONS.get(report.result_class, report.result_class)
    said = report.stderr.decode("utf-8", "replace").strip().splitlines()
    last = f" It said: {said[-1][:300]}" if said and report.result_class == "failed" else ""
    return text.format(exit_code=report.exit_code, seconds=seconds) + last
