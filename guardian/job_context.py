"""What every job is wrapped in: its request and trace on the way in, its failure on the way out."""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from django.db import DatabaseError, connection
from procrastinate import JobContext
from procrastinate.exceptions import JobAborted
from procrastinate.utils import sync_to_async
from procrastinate.worker import Worker

from guardian import context
from guardian.models import ErrorLog
from guardian.retries import is_transient
from guardian.services import log_error

log = structlog.get_logger(__name__)


async def around_each_job(
    call_next: Callable[[], Awaitable[Any]], job_context: JobContext, _worker: Worker
) -> Any:
    """Runs in the job's own asyncio task, whose context the job's thread inherits."""
    job = job_context.job
    request_id, traceparent = context.taken_from(job.task_kwargs)
    context.set_request_id(request_id)
    context.set_traceparent(traceparent)
    structlog.contextvars.bind_contextvars(
        request_id=request_id, trace_id=context.trace_id(), job=job.id, job_name=job.task_name
    )
    try:
        return await call_next()
    except JobAborted:
        raise
    except Exception as error:
        task = job_context.task
        if task is None or task.get_retry_exception(exception=error, job=job) is None:
            await sync_to_async(tell_people, error, job.task_name, job.id)
        raise


def tell_people(error: Exception, task_name: str, job_id: int | None) -> None:
    """A job that is not tried again is an error for people. What passes by itself matters less."""
    severity = ErrorLog.Severity.MEDIUM if is_transient(error) else ErrorLog.Severity.HIGH
    try:
        log_error(
            error=error,
            component=task_name,
            subject_label="job",
            subject_id=str(job_id),
            severity=severity,
        )
    except DatabaseError as unwritten:
        log.warning("job_error_not_kept", task=task_name, error=type(unwritten).__name__)
    finally:
        connection.close()
