"""The steps of a run on this host: begun, ended, tried again, suspended.

Each verb locks the run first and is refused with RunTakenOver once this attempt no longer has it.
"""

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from guardian.errors import DomainError
from guardian.redaction import redact
from guardian.storable import storable
from orchestrator.capabilities import Waiting
from orchestrator.models import PatternRun, StepRun
from orchestrator.services.run_rows import close_step, message_of, mine


def _step(run: PatternRun, step_id: str) -> tuple[PatternRun, StepRun]:
    row = mine(run)
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
    close_step(row, step, ["reason"])
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
    close_step(row, step, ["result", "metadata", "reason"])
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
    step.error_code, step.error = error.code, message_of(error)
    step.metadata = {**step.metadata, "permanent": error.permanent}
    close_step(row, step, ["error_code", "error", "metadata"])
    return step


@transaction.atomic
def retry_step(*, run: PatternRun, step_id: str, error: DomainError) -> StepRun:
    """running → pending: it is called again soon."""
    _, step = _step(run, step_id)
    if step.state == StepRun.State.RUNNING:
        step.again()
        step.reason = f"Call {step.attempt} failed, {error.code}: {message_of(error)}"[:1000]
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
