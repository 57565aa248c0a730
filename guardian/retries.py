"""Whether a failed job is tried again, and when: one answer for all jobs."""

import random
from datetime import timedelta

from croniter import croniter
from django.db import InterfaceError, OperationalError
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job
from procrastinate.retry import BaseRetryStrategy, RetryDecision

from guardian.errors import DomainError

MOST_ATTEMPTS = 8
BASE_SECONDS = 1.0
LONGEST_SECONDS = 300.0
# A tick that comes more often than this is itself the next try.
OFTEN = timedelta(minutes=10)
# The database or another machine was away, or two waited for each other; OSError is left out, of
# it only broken connections and time that ran out are of this kind.
_PASSING = (OperationalError, InterfaceError, ConnectorException, ConnectionError, TimeoutError)


def is_transient(error: BaseException) -> bool:
    """Whether the same again may go well; a refusal says so itself (`permanent`)."""
    if isinstance(error, DomainError):
        return not error.permanent
    return isinstance(error, _PASSING)


class TransientAlone(BaseRetryStrategy):
    """1, 2, 4 … seconds, at most 300, each shortened by up to a half; eight attempts in all."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        last = job.attempts + 1 >= MOST_ATTEMPTS
        if last or not is_transient(exception) or comes_again_soon(job.task_name):
            return None
        return RetryDecision(retry_in={"milliseconds": int(wait_seconds(job.attempts) * 1000)})


def wait_seconds(failures_before: int) -> float:
    longest = min(LONGEST_SECONDS, BASE_SECONDS * 2.0**failures_before)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  jitter


def comes_again_soon(task_name: str) -> bool:
    """Whether a tick brings this job anyway: then a retry would only stand in its way."""
    return any(
        period(known.cron) < OFTEN
        for known in app.periodic_registry.periodic_tasks.values()
        if known.task.name == task_name
    )


def period(cron: str) -> timedelta:
    """From one tick to the next."""
    ticks = croniter(cron, timezone.now())
    return timedelta(seconds=-ticks.get_next(float) + ticks.get_next(float))


STRATEGY = TransientAlone()
