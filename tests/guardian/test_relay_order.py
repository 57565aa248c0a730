"""Whose turn it is at the relay, what comes of failing, and that an effect happens once."""

from datetime import timedelta

import pytest
from django.utils import timezone

from guardian import outbox, relay
from guardian.errors import Invalid
from guardian.models import Delivery, ErrorLog, Team


def postpone(event, *, seconds):
    """As if it had waited so long already."""
    at = timezone.now() - timedelta(seconds=seconds)
    Delivery.objects.filter(event=event).update(queued_at=at)


@pytest.fixture
def heard(hear):
    found = []
    hear("phases.test.happened", lambda event: found.append(event.data["n"]))
    return found


def emit(priority, n):
    return outbox.emit("phases.test.happened", priority=priority, n=n)


@pytest.mark.django_db
class TestOrder:
    def test_a_critical_one_overtakes_a_thousand_low(self, heard):
        for n in range(1000):
            emit("low", n)
        while relay.stamp():
            pass
        emit("critical", "now")

        relay.stamp()
        relay.deliver_one(worker="test")

        assert heard == ["now"]
        assert Delivery.objects.filter(state="pending").count() == 1000

    @pytest.mark.parametrize(("waited", "first"), [(120, "low"), (91, "low"), (60, "critical")])
    def test_a_low_one_beside_a_critical_stream_waits_no_longer_than_two_minutes(
        self, heard, waited, first
    ):
        low = emit("low", "low")
        for _ in range(50):
            emit("critical", "critical")
        relay.stamp()
        postpone(low, seconds=waited)

        relay.deliver_one(worker="test")

        assert heard == [first]

    def test_one_of_equal_urgency_goes_by_its_number(self, heard):
        for n in range(20):
            emit("normal", n)

        relay.run_once()

        assert heard == list(range(20))


@pytest.mark.django_db
class TestFailure:
    def test_waits_longer_each_time_and_never_beyond_five_minutes(self, hear):
        def fail(event):
            raise ValueError("no")

        name = hear("phases.test.happened", fail)
        outbox.emit("phases.test.happened")
        relay.stamp()

        for attempt in range(1, relay.MAX_ATTEMPTS):
            Delivery.objects.filter(handler=name).update(next_at=timezone.now())
            before = timezone.now()
            relay.deliver_one(worker="test")
            delivery = Delivery.objects.get(handler=name)
            wait = (delivery.next_at - before).total_seconds()
            most = min(300, 2**attempt)
            assert most / 2 <= wait <= most + 1
            assert (delivery.state, delivery.attempts) == ("pending", attempt)
            assert not ErrorLog.objects.exists()

    def test_others_of_the_same_event_go_on_while_one_waits(self, hear, heard):
        def fail(event):
            raise ValueError("no")

        hear("phases.test.happened", fail)
        for n in range(3):
            emit("normal", n)

        relay.run_once()

        assert heard == [0, 1, 2]

    def test_a_relay_that_ends_before_its_commit_leaves_the_effect_to_the_next_once(self, hear):
        deaths = iter([SystemExit, KeyboardInterrupt])

        def work(event):
            Team.objects.create(slug="effect", name="x")
            for death in deaths:
                raise death

        hear("phases.test.happened", work)
        outbox.emit("phases.test.happened")
        relay.stamp()
        for death in (SystemExit, KeyboardInterrupt):
            with pytest.raises(death):
                relay.deliver_one(worker="first")
            assert not Team.objects.filter(slug="effect").exists()

        relay.run_once()
        relay.run_once()

        assert Team.objects.filter(slug="effect").count() == 1
        delivery = Delivery.objects.get()
        assert (delivery.state, delivery.attempts) == ("done", 1)


@pytest.mark.django_db
def test_an_event_says_at_most_64_kib(team):
    room = outbox.DATA_LIMIT_BYTES - len('{"text":""}')

    outbox.emit("phases.test.happened", text="x" * room)
    with pytest.raises(Invalid):
        outbox.emit("phases.test.happened", text="ü" * (room // 2 + 1))
