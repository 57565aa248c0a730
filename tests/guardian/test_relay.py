"""The relay: gap-free numbers, a chain of hashes, receivers with savepoints."""

import itertools
import threading

import pytest
from django.db import DatabaseError, close_old_connections, connection, transaction
from django.utils import timezone

from guardian import outbox, relay
from guardian.models import Delivery, ErrorLog, Event, Team


@pytest.mark.django_db
class TestEmit:
    def test_refuses_outside_a_transaction(self, settings):
        connection_was = connection.in_atomic_block
        connection.in_atomic_block = False
        try:
            with pytest.raises(outbox.OutsideTransaction):
                outbox.emit("phases.test.happened")
        finally:
            connection.in_atomic_block = connection_was

    def test_masks_secrets(self):
        event = outbox.emit("phases.test.happened", password="hunter2", fence=7)

        event = Event.objects.get(pk=event.pk)
        assert event.data == {"password": "[redacted]", "fence": 7}


@pytest.mark.django_db
class TestStamp:
    def test_numbers_without_gaps_and_chains_hashes(self):
        relay.run_once()
        start, _ = relay.head()
        for number in range(5):
            outbox.emit("phases.test.happened", number=number)

        relay.run_once()

        events = list(Event.objects.stamped().filter(seq__gt=start))
        assert [event.seq for event in events] == list(range(start + 1, start + 6))
        for before, event in itertools.pairwise(events):
            assert event.prev_hash == before.hash
            assert event.hash == relay.chain_hash(before.hash, event)

    @pytest.mark.parametrize(
        "statement", ["UPDATE guardian_event SET reason = 'x'", "DELETE FROM guardian_event"]
    )
    def test_history_cannot_be_changed_by_sql(self, statement):
        outbox.emit("phases.test.happened")
        relay.run_once()

        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            connection.cursor().execute(statement)


@pytest.mark.django_db
class TestDelivery:
    def test_a_receiver_hears_each_event_once(self, hear):
        heard: list[int] = []
        hear("phases.test.happened", lambda event: heard.append(event.data["n"]))
        outbox.emit("phases.test.happened", n=1)
        outbox.emit("phases.test.other", n=2)

        relay.run_once()
        relay.run_once()

        assert heard == [1]

    def test_critical_overtakes_low(self, hear):
        heard: list[str] = []
        hear("phases.test.happened", lambda event: heard.append(event.data["n"]))
        outbox.emit("phases.test.happened", priority="low", n="low")
        outbox.emit("phases.test.happened", priority="critical", n="critical")

        relay.run_once()

        assert heard == ["critical", "low"]

    def test_a_failing_receiver_undoes_only_itself_and_is_parked_after_eight(self, hear):
        def fail(event: Event) -> None:
            Team.objects.create(slug="half-written", name="x")
            raise ValueError("no")

        heard: list[int] = []
        failing = hear("phases.test.happened", fail)
        hear("phases.test.happened", lambda event: heard.append(1))
        outbox.emit("phases.test.happened")

        for _ in range(relay.MAX_ATTEMPTS):
            relay.run_once()
            Delivery.objects.filter(state="pending").update(next_at=timezone.now())

        assert heard == [1]
        assert not Team.objects.filter(slug="half-written").exists()
        parked = Delivery.objects.get(handler=failing)
        assert (parked.state, parked.attempts) == ("parked", 8)
        assert ErrorLog.objects.get().component == failing


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
class TestConcurrentWriters:
    def test_slow_writers_leave_no_gap(self):
        start, _ = relay.head()
        barrier = threading.Barrier(6)

        def write(number: int) -> None:
            barrier.wait()
            for step in range(10):
                with transaction.atomic():
                    outbox.emit("phases.test.happened", writer=number, step=step)
            close_old_connections()
            connection.close()

        writers = [threading.Thread(target=write, args=(n,)) for n in range(5)]
        for writer in writers:
            writer.start()
        barrier.wait()
        while any(writer.is_alive() for writer in writers):
            relay.run_once()
        relay.run_once()

        seqs = list(Event.objects.stamped().filter(seq__gt=start).values_list("seq", flat=True))
        assert seqs == list(range(start + 1, start + 51))
