"""What an operator does about jobs of the background work: try again, or call off."""

from typing import Any

from django.db import transaction
from django.utils import timezone
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.contrib.django.models import ProcrastinateJob
from procrastinate.manager import JobManager

from guardian import events
from guardian.authority import GUARDIAN, Actor, require_level, require_scope
from guardian.errors import IllegalTransition, NotFound
from guardian.outbox import emit

SCOPE = "system:operate"


@transaction.atomic
def retry_job(*, actor: Actor, job_id: int, reason: str) -> None:
    """Let a worker run a failed job at once.

    Raises NotFound, ScopeMissing, AuthorityTooLow, IllegalTransition.
    """
    job = _job(actor, job_id, fits={"failed"})
    _manager().retry_job_by_id(job.pk, timezone.now(), job.priority, job.queue_name, job.lock)
    _tell(events.JOB_RETRIED, actor, job, reason)


@transaction.atomic
def cancel_job(*, actor: Actor, job_id: int, reason: str) -> None:
    """Take a waiting job back; ask a running one to stop.

    Raises NotFound, ScopeMissing, AuthorityTooLow, IllegalTransition.
    """
    job = _job(actor, job_id, fits={"todo", "doing"})
    _manager().cancel_job_by_id(job.pk, abort=job.status == "doing")
    _tell(events.JOB_CANCELLED, actor, job, reason)


def _manager() -> Any:
    """Not the app's own: in a worker that has a pool of its own, outside of this transaction."""
    return JobManager(DjangoConnector())


def _job(actor: Actor, job_id: int, *, fits: set[str]) -> ProcrastinateJob:
    require_scope(actor, SCOPE)
    require_level(actor, GUARDIAN)
    job = ProcrastinateJob.objects.filter(pk=job_id).first()
    if job is None:
        raise NotFound("There is no such job.")
    if job.status not in fits:
        raise IllegalTransition(f"This job is {job.status}.", allowed=sorted(fits))
    return job


def _tell(kind: str, actor: Actor, job: ProcrastinateJob, reason: str) -> None:
    emit(kind, subject=job, actor=actor, reason=reason, job=job.task_name, queue=job.queue_name)
