"""Worker processes make themselves known, and what else must beat on each host beats with them."""

import os
import socket
import threading
from collections.abc import Callable

import structlog
from django.db import DatabaseError, connection, transaction
from django.db.models.functions import Now

from guardian.models import WorkerHost

log = structlog.get_logger(__name__)

BEAT_SECONDS = 10
FORGET_AFTER = "1 hour"
# Given the queues this worker serves.
HostBeat = Callable[[list[str]], None]

_beats: list[HostBeat] = []
_leaving = threading.Event()


def leave() -> None:
    """This process ends within seconds: what cannot be finished is to be given back now."""
    _leaving.set()


def is_leaving() -> bool:
    return _leaving.is_set()


def on_each_host(beat: HostBeat) -> HostBeat:
    """Register what every worker process does with each beat; slow work belongs in a thread."""
    if beat not in _beats:
        _beats.append(beat)
    return beat


def worker_name() -> str:
    """This process among all workers of all hosts."""
    return f"{socket.gethostname()}:{os.getpid()}"


@transaction.atomic
def announce(*, queues: list[str], concurrency: int) -> None:
    """Say that this worker is there and what it serves."""
    WorkerHost.objects.update_or_create(
        name=worker_name(),
        defaults={"queues": queues, "concurrency": concurrency, "heartbeat_at": Now()},
        create_defaults={
            "queues": queues,
            "concurrency": concurrency,
            "heartbeat_at": Now(),
            "started_at": Now(),
        },
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM guardian_workerhost WHERE heartbeat_at < now() - %s::interval",
            [FORGET_AFTER],
        )


def withdraw() -> None:
    """Say that this worker is gone."""
    WorkerHost.objects.filter(name=worker_name()).delete()


def slots(queue: str) -> int:
    """How many jobs of a queue all live workers run at once."""
    return sum(
        host.concurrency for host in WorkerHost.objects.live().filter(queues__contains=[queue])
    )


class Heart(threading.Thread):
    """Beats for one worker process until stopped; a database that is away only delays it."""

    def __init__(self, *, queues: list[str], concurrency: int) -> None:
        super().__init__(name="heart", daemon=True)
        self._queues, self._concurrency = queues, concurrency
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.is_set():
            self._beat()
            self._stopped.wait(BEAT_SECONDS)

    def _beat(self) -> None:
        try:
            announce(queues=self._queues, concurrency=self._concurrency)
            for beat in _beats:
                beat(self._queues)
        except DatabaseError as error:
            log.warning("beat_missed", error=type(error).__name__)
        finally:
            connection.close()

    def stop(self) -> None:
        """No beat from here on; the process is taken off the list if the database answers."""
        self._stopped.set()
        try:
            withdraw()
        except DatabaseError as error:
            log.warning("not_withdrawn", error=type(error).__name__)
        finally:
            connection.close()
