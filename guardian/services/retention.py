"""What nobody asks for any more is removed, in portions that hold no lock for long."""

from datetime import timedelta
from typing import Any

from django.db import connection, transaction

JOB_AGE = timedelta(days=7)
KEY_AGE = timedelta(hours=24)
PORTION = 2000

# A job is as old as the last thing that happened to it; its events go with it.
_JOBS = """
DELETE FROM procrastinate_jobs WHERE id IN (
    SELECT j.id FROM procrastinate_jobs j
     WHERE j.status IN ('succeeded', 'failed', 'cancelled', 'aborted')
       AND j.id < %(below)s
       AND NOT EXISTS (SELECT 1 FROM procrastinate_events e
                        WHERE e.job_id = j.id AND e.at > now() - %(age)s)
     ORDER BY j.id LIMIT %(portion)s)
"""
# Events are numbered in time: jobs above the youngest old event's are not even looked at.
_BELOW = """
SELECT coalesce(max(job_id), 0) + 1 FROM procrastinate_events
 WHERE id <= (SELECT id FROM procrastinate_events WHERE at <= now() - %(age)s
               ORDER BY id DESC LIMIT 1)
"""
_KEYS = """
DELETE FROM guardian_idempotencykey WHERE id IN (
    SELECT id FROM guardian_idempotencykey WHERE created_at < now() - %(age)s
     ORDER BY created_at LIMIT %(portion)s)
"""


def remove_old_jobs() -> int:
    """Remove jobs that ended more than 7 days ago. Returns how many."""
    with connection.cursor() as cursor:
        values: dict[str, Any] = {"age": JOB_AGE}
        cursor.execute(_BELOW, values)
        (below,) = cursor.fetchone()
    return _in_portions(_JOBS, age=JOB_AGE, below=below)


def remove_old_keys() -> int:
    """Remove answers kept under an Idempotency-Key for more than 24 h. Returns how many."""
    return _in_portions(_KEYS, age=KEY_AGE)


def _in_portions(statement: str, **values: Any) -> int:
    removed = 0
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, {**values, "portion": PORTION})
            gone = cursor.rowcount
        removed += gone
        if gone < PORTION:
            return removed
