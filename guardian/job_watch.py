"""What is measured, traced and logged of every background job, around the job itself."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from guardian import context, metrics, tracing

# Arguments of jobs that logs may name, under the name they have in the lines of others.
_NAMED = {"run_id": "run", "task_id": "task", "ticket_id": "ticket", "team_id": "team"}


async def watch(call: Callable[[], Awaitable[Any]], job_context: Any, _worker: Any) -> Any:
    """A middleware of procrastinate's worker, inside of `job_context.around_each_job`."""
    job = job_context.job
    began = time.perf_counter()
    named = {
        word: job.task_kwargs[name] for name, word in _NAMED.items() if name in job.task_kwargs
    }
    structlog.contextvars.bind_contextvars(**named)
    try:
        with tracing.span("lemnos.job", job=job.task_name, queue=job.queue):
            structlog.contextvars.bind_contextvars(trace_id=context.trace_id())
            return await call()
    finally:
        metrics.JOB_SECONDS.observe(
            time.perf_counter() - began, queue=job.queue, task=job.task_name
        )
