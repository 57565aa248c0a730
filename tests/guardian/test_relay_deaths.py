"""Relays that are killed in the middle of their work leave no gap and no fork in the ledger."""

import itertools
import threading
from functools import partial

import pytest
from django.db import close_old_connections, connection, transaction

from guardian import outbox, relay
from guardian.models import Event
from tests.e2e.processes import Processes, wait_for

WRITERS, DEATHS = 20, 10


@pytest.fixture
def processes(tmp_path):
    made = Processes(tmp_path)
    yield made
    made.end()


@pytest.fixture
def slow_writers(transactional_db):
    """Twenty that keep their transactions open for a while, until asked for what they wrote."""
    stop = threading.Event()
    written: list[str] = []

    def write(number: int) -> None:
        for step in itertools.count():
            if stop.is_set():
                break
            with transaction.atomic(), connection.cursor() as cursor:
                event = outbox.emit("phases.test.happened", writer=number, step=step)
                cursor.execute("SELECT pg_sleep(%s)", [0.05 + (number * 7 + step) % 11 / 50])
            written.append(str(event.pk))
        close_old_connections()
        connection.close()

    threads = [threading.Thread(target=write, args=(n,), daemon=True) for n in range(WRITERS)]
    for thread in threads:
        thread.start()

    def end() -> list[str]:
        stop.set()
        for thread in threads:
            thread.join(30)
        return written

    yield end
    end()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_ten_deaths_among_twenty_slow_writers(slow_writers, processes):
    before, _ = relay.head()
    active = processes.start("relay")
    for _ in range(DEATHS):
        until_stamped(30, processes)
        processes.kill(active)
        active = processes.start("relay")
    until_stamped(30, processes)
    processes.start("relay")
    wait_for(one_stands_by, seconds=30, why=processes.logs)

    processes.kill(active)
    until_stamped(10, processes)
    written = slow_writers()
    wait_for(lambda: not Event.objects.unstamped().exists(), seconds=30, why=processes.logs)

    stamped = list(Event.objects.stamped().filter(seq__gt=before).order_by("seq"))
    assert [event.seq for event in stamped] == list(range(before + 1, before + 1 + len(stamped)))
    assert set(written) <= {str(event.pk) for event in stamped}
    for earlier, event in itertools.pairwise(stamped):
        assert event.prev_hash == earlier.hash
        assert event.hash == relay.chain_hash(event.prev_hash, event)


def until_stamped(seconds, processes) -> None:
    """More than now; a dead relay's last commit may still become visible, hence two looks."""
    for _ in range(2):
        seen, _ = relay.head()
        wait_for(partial(is_beyond, seen), seconds=seconds, why=processes.logs)


def is_beyond(seen: int) -> bool:
    return relay.head()[0] > seen


def one_stands_by() -> bool:
    """A session whose last word was the question for the lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state = 'idle' AND query LIKE 'SELECT pg_try_advisory_lock%%'"
        )
        return cursor.fetchone()[0] == 1
