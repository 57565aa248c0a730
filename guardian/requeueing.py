"""Jobs back into their queues: of workers that died, that end, and of those that never will."""

from django.utils import timezone
from procrastinate.exceptions import UniqueViolation
from procrastinate.jobs import Status
from procrastinate.manager import JobManager


class WorkersDied(RuntimeError):
    """A job was under way in every one of several workers that died: it is not tried again."""


async def requeue(manager: JobManager, job_id: int) -> bool:
    """Queue a job again. False: a newer one under its queueing lock waits and does the work."""
    try:
        await manager.retry_job_by_id_async(job_id, retry_at=timezone.now())
    except UniqueViolation:
        await manager.finish_job_by_id_async(job_id, Status.ABORTED, delete_job=False)
        return False
    return True
