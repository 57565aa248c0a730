"""What is measured and traced of a run: its calls of capabilities, one by one."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from structlog.contextvars import bound_contextvars

from guardian import metrics, tracing
from orchestrator.capabilities import Capability, Waiting
from orchestrator.models import PatternRun
from orchestrator.request_context import RequestCtx


def logged(run: PatternRun) -> AbstractContextManager[None]:
    """Every line written meanwhile names the run, and for whom and what it is."""
    named = {
        "run": run.pk, "team": run.team_id, "actor": run.started_by_id,
        "ticket": run.ticket_id, "task": run.task_id,
    }  # fmt: skip
    known = {name: str(value) for name, value in named.items() if value is not None}
    return bound_contextvars(**known)


@contextmanager
def whole_run(run: PatternRun, ctx: RequestCtx) -> Iterator[Any]:
    """The span of a run; what its result depends on stands on all spans below it."""
    with (
        tracing.carrying(
            pattern_id=run.pattern.slug,
            pricing_pack_id=ctx.pricing_pack_id,
            ledger_commit_hash=ctx.ledger_commit_hash,
            asof_date=ctx.asof_date,
            team=run.team_id,
            user=tracing.hashed(run.started_by_id),
        ),
        tracing.span("lemnos.pattern") as seen,
    ):
        yield seen


@contextmanager
def one_call(run: PatternRun, step: dict[str, Any], capability: Capability) -> Iterator[None]:
    """The spans and figures of one call, however it ends; to wait is no failure."""
    began = time.perf_counter()
    status = "succeeded"
    quiet = (Waiting,)
    try:
        with (
            tracing.span("lemnos.step", quiet=quiet, step=step["id"], capability=capability.name),
            tracing.span("lemnos.agent", quiet=quiet, agent_name=capability.agent),
        ):
            yield
    except Waiting:
        status = "waiting"
        raise
    except BaseException:
        status = "failed"
        raise
    finally:
        _count(run, step, capability, status, time.perf_counter() - began)


def _count(
    run: PatternRun, step: dict[str, Any], capability: Capability, status: str, seconds: float
) -> None:
    metrics.AGENT_CALLS.count()
    metrics.AGENT_CALL_SECONDS.observe(
        seconds, agent_name=capability.agent, capability=capability.name, status=status
    )
    metrics.PATTERN_STEP_SECONDS.observe(
        seconds, pattern_id=run.pattern.slug, step=step["id"], capability=capability.name
    )
