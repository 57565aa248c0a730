"""What somebody else does at the same moment, in a connection of their own."""

import threading
from collections.abc import Callable
from typing import Any

from django.db import connection

from guardian.errors import DomainError

PATIENCE_SECONDS = 20


class Beside(threading.Thread):
    """Does something in a connection of its own and keeps what came of it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self.work = work
        self.result: Any = None
        self.refusal: DomainError | None = None
        self.pid = 0
        self.start()

    def run(self) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                self.pid = cursor.fetchone()[0]
            self.result = self.work()
        except DomainError as refusal:
            self.refusal = refusal
        finally:
            connection.close()

    def wait_until_blocked(self) -> None:
        moment = threading.Event()
        for _ in range(PATIENCE_SECONDS * 100):
            with connection.cursor() as cursor:
                cursor.execute("SELECT cardinality(pg_blocking_pids(%s))", [self.pid])
                if self.pid and cursor.fetchone()[0]:
                    return
            moment.wait(0.01)
        raise AssertionError("it never waited for a lock")
