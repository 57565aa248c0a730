"""One execution on this host: take it, keep its lease, do the work, end it with its task."""

from typing import Any
from uuid import UUID

import structlog

from guardian.authority import Actor
from guardian.error_book import told
from guardian.errors import DomainError
from guardian.hosts import worker_name
from guardian.services import log_error, standing_of
from orchestrator import executor, services
from orchestrator.errors import RunBusy, RunTakenOver
from orchestrator.keeper import LeaseKeeper
from orchestrator.models import AgentExecution, PatternRun
from orchestrator.services.dispatch import LEASE_SECONDS, agent_actor
from orchestrator.services.executions import Outcome

log = structlog.get_logger(__name__)

DEFAULT_SECONDS = 3600
# These say that the same try would end the same way, though their class allows another.
NO_SECOND_TRY = {"isolation_unavailable", "timeout"}


def run(execution_id: UUID) -> None:
    """Do one execution from start to end; a second call for an ended one does nothing.

    A run that waits for another host leaves the execution open and frees this slot; it is
    called again when what it waits for has come.
    """
    execution = services.start_execution(execution_id=execution_id, host=worker_name())
    if execution is None or execution.instance is None:
        return
    actor = agent_actor(execution.instance)
    with LeaseKeeper(
        actor=actor,
        execution=execution,
        lease_seconds=LEASE_SECONDS,
        timeout_seconds=_seconds(execution),
    ) as keeper:
        outcome = _work(execution, actor, keeper)
    if outcome is not None:
        services.finish_execution(
            execution_id=execution.pk, attempt=execution.attempt, outcome=outcome
        )


def _seconds(execution: AgentExecution) -> float:
    if execution.agent_version is None:
        return DEFAULT_SECONDS
    return float(execution.agent_version.content["config"]["timeout_seconds"])


def _work(execution: AgentExecution, actor: Actor, keeper: LeaseKeeper) -> Outcome | None:
    try:
        started = services.begin_pattern(execution_id=execution.pk, actor=actor)
        run = executor.execute_run(started.pk, should_stop=keeper.should_stop)
    except RunTakenOver:
        return Outcome("stopped", code=keeper.reason or "superseded")
    except DomainError as refusal:
        return refused(refusal)
    except Exception as error:
        log.exception("execution_failed", execution=str(execution.pk))
        log_error(
            error=error,
            component="orchestrator.runner",
            team_id=execution.team_id,
            subject_label="orchestrator.agentexecution",
            subject_id=str(execution.pk),
        )
        message = "Lemnos itself failed at this; the error is in the error log."
        return Outcome("failed", code="internal_error", message=message, permanent=False)
    return conclude(run, keeper.reason)


def refused(refusal: DomainError) -> Outcome:
    """A refusal as the end of a try, with its remedy, so that a person knows what to do."""
    if isinstance(refusal, RunBusy):
        # Another host has the run now; it ends the execution, not this one.
        return Outcome("stopped", code="superseded")
    message = " ".join(part for part in (refusal.detail, refusal.remedy_text) if part)
    permanent = refusal.permanent or refusal.code in NO_SECOND_TRY
    return Outcome("failed", code=refusal.code, message=message, permanent=permanent)


def conclude(run: PatternRun, reason: str) -> Outcome | None:
    """The run's end as the execution's end; None while it waits for another host."""
    calls = run.steps.exclude(result=None).filter(result__has_key="execution_id").count()
    if run.state == PatternRun.State.SUCCEEDED:
        return Outcome("succeeded", result=_result(run), tool_calls=calls)
    if reason == "timeout":
        message = "The work did not end within the time its agent allows."
        return Outcome("failed", code="timeout", message=message, tool_calls=calls)
    if run.state == PatternRun.State.FAILED:
        return _failed(run, calls)
    if reason:
        return Outcome("stopped", code=reason, tool_calls=calls)
    return _cancelled(run, calls) if run.state == PatternRun.State.CANCELLED else None


def _cancelled(run: PatternRun, calls: int) -> Outcome:
    if standing_of(team_id=run.team_id).kill_switch:
        return Outcome("stopped", code="kill_switch_on", tool_calls=calls)
    # Somebody called this run off; to try again is for a person to say.
    message = "Its run was cancelled. Retry the task, or move the ticket back, to go on."
    return Outcome("failed", code="run_cancelled", message=message, tool_calls=calls)


def _result(run: PatternRun) -> dict[str, Any]:
    outputs = dict(run.outputs)
    return {
        "summary": str(outputs.pop("summary", f"{run.pattern.name} is done.")),
        "outputs": outputs,
        "run_id": str(run.pk),
    }


def _failed(run: PatternRun, calls: int) -> Outcome:
    step = run.steps.filter(state="failed", step_id=run.error_step).first()
    message = step.error if step is not None else ""
    passes = step is not None and not step.metadata.get("permanent", True)
    return Outcome(
        "failed",
        code=run.error_code,
        message=message or f"The run failed. {told(run.error_code)}",
        permanent=run.error_code in NO_SECOND_TRY or not passes,
        tool_calls=calls,
    )
