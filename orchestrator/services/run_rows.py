"""What every verb on runs shares: the lock, the fence, the event, the end of a step."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from guardian.authority import Actor
from guardian.errors import DomainError
from guardian.outbox import defer, emit
from guardian.redaction import redact_text
from guardian.storable import storable
from orchestrator import events
from orchestrator.errors import RunTakenOver
from orchestrator.models import PatternRun, StepRun

ERROR_CHARACTERS = 4000


def locked(run_id: UUID) -> PatternRun:
    """Raises PatternRun.DoesNotExist."""
    run: PatternRun = (
        PatternRun.objects.select_for_update(of=("self",))
        .select_related("pattern", "team", "started_by")
        .get(pk=run_id)
    )
    return run


def mine(run: PatternRun) -> PatternRun:
    """The running row, locked, if this attempt still has it. Raises RunTakenOver."""
    row = locked(run.pk)
    if row.state != PatternRun.State.RUNNING or row.attempt != run.attempt:
        raise RunTakenOver(run_id=str(run.pk), state=row.state)
    return row


def tell(
    kind: str, run: PatternRun, *, reason: str = "", actor: Actor | None = None, **data: Any
) -> None:
    emit(kind, subject=run, actor=actor, reason=reason, **facts(run), **data)


def facts(run: PatternRun) -> dict[str, Any]:
    return {
        "run_id": str(run.pk),
        "ticket_id": str(run.ticket_id or ""),
        "task_id": str(run.task_id or ""),
        "pattern": run.pattern.slug,
        "version": run.pattern.version,
    }


def offer(run: PatternRun) -> None:
    """Whoever runs a queued run hears of it: its own job, or the execution that started it."""
    if run.has_own_job:
        defer("orchestrator.run_pattern", queue="patterns", run_id=str(run.pk))
        return
    for execution in run.executions.still_open():
        defer("orchestrator.run_execution", queue="agents", execution_id=str(execution.pk))


def close_step(run: PatternRun, step: StepRun, fields: Iterable[str]) -> None:
    step.finished_at = timezone.now()
    step.save(update_fields=["state", "finished_at", "updated_at", *fields])
    ended = run.steps.filter(state__in=["succeeded", "failed", "skipped", "cancelled"]).count()
    emit(
        events.STEP_FINISHED,
        subject=step,
        **facts(run),
        step=step.step_id,
        capability=step.capability,
        agent=step.agent,
        state=step.state,
        duration_ms=duration_ms(step.started_at, step.finished_at),
        error_code=step.error_code,
        ended=ended,
        total=len(run.pattern.normal["steps"]),
    )


def message_of(error: DomainError) -> str:
    text = " ".join(part for part in (error.detail, error.remedy_text) if part)
    return str(storable(redact_text(text)))[:ERROR_CHARACTERS]


def duration_ms(began: datetime | None, ended: datetime | None) -> int:
    return max(0, round((ended - began).total_seconds() * 1000)) if began and ended else 0
