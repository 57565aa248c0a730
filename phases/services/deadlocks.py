"""Two that wait for each other: the database ends one of them, which then may try again."""

from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError, connection
from psycopg.errors import DeadlockDetected

Answer = TypeVar("Answer")


def again_if_deadlocked(work: Callable[[], Answer]) -> Answer:
    """What the work returns; once more where the database undid it to break a circle of waits.

    The work is all of its transaction, or has a savepoint of its own: in a transaction that was
    broken there is no second try.
    """
    try:
        return work()
    except OperationalError as error:
        if not isinstance(error.__cause__, DeadlockDetected) or _is_broken():
            raise
    return work()


def _is_broken() -> bool:
    raw = connection.connection
    return raw is None or raw.info.transaction_status.name == "INERROR" or connection.needs_rollback
