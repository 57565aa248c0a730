"""What a run did: the facts it was pinned to, who worked, how each step ended."""

from typing import Any

from orchestrator.models import PatternRun, StepRun
from orchestrator.services.run_rows import duration_ms

STATUS = {
    StepRun.State.SUCCEEDED: "success",
    StepRun.State.FAILED: "error",
    StepRun.State.SKIPPED: "skipped",
    StepRun.State.CANCELLED: "cancelled",
}
PINNED = ("pricing_pack_id", "ledger_commit_hash", "trace_id", "request_id")


def build_trace(run: PatternRun) -> dict[str, Any]:
    """The trace of a run; steps that have not ended carry their state as status."""
    steps = list(run.steps.order_by("position"))
    called = [step for step in steps if step.attempt]
    answered = [step for step in steps if step.state == StepRun.State.SUCCEEDED]
    return {
        "pattern_id": run.pattern.slug,
        "pattern_version": run.pattern.version,
        **{name: run.ctx.get(name) for name in PINNED},
        "agents_used": sorted({step.agent for step in called}),
        "capabilities_used": sorted({step.capability for step in called}),
        "sources": sorted({str(step.metadata.get("source", "")) for step in answered} - {""}),
        "per_panel_staleness": [
            {
                "capability": step.capability,
                "asof": step.metadata.get("asof"),
                "ttl": step.metadata.get("ttl_seconds"),
            }
            for step in answered
        ],
        "steps": [_step(step) for step in steps],
    }


def _step(step: StepRun) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": step.step_id,
        "capability": step.capability,
        "agent": step.agent,
        "args": step.args,
        "status": "cached" if step.cached else STATUS.get(StepRun.State(step.state), step.state),
        "duration_ms": step.metadata.get(
            "duration_ms", duration_ms(step.started_at, step.finished_at)
        ),
        "attempt": step.attempt,
    }
    if step.reason:
        told["reason"] = step.reason
    if step.error_code:
        told["error"] = {"code": step.error_code, "message": step.error}
    return told
