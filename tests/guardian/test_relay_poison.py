"""A receiver that breaks more than itself is put off and parked; the relay and the others go on."""

import uuid

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from guardian import outbox, relay
from guardian.models import Delivery, ErrorLog, Event, Membership

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
SECRET = "lem_abcdefghijkl." + "s" * 43


def leave_a_dangling_key(event):
    """Foreign keys are looked at when the transaction commits, behind the receiver's savepoint."""
    Membership.objects.update(team_id=uuid.uuid4())


def speak_of_nul(event):
    raise ValueError("no \x00 here")


def end_the_session(event):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


@pytest.fixture
def hear():
    names = []

    def register(kind, receiver, name):
        def heard(event):
            receiver(event)

        heard.__module__, heard.__name__ = "tests.receivers", name
        outbox.on(kind)(heard)
        names.append(f"tests.{name}")

    relay.run_once()
    yield register
    for name in names:
        outbox._subscriptions.pop(name)


def tell(kind):
    with transaction.atomic():
        outbox.emit(kind)


def run() -> None:
    """One turn of the relay, which begins again where it lost the database."""
    try:
        relay.run_once()
    except OperationalError:
        connection.close()


@pytest.mark.parametrize("receiver", [leave_a_dangling_key, speak_of_nul, end_the_session])
def test_it_is_parked_after_eight_attempts_and_others_are_heard(hear, team, lead, receiver):
    got: list[Event] = []
    hear("phases.test.happened", receiver, "poison")
    hear("phases.test.other", got.append, "other")

    tell("phases.test.happened")
    run()
    tell("phases.test.other")
    for _ in range(relay.MAX_ATTEMPTS):
        Delivery.objects.filter(state="pending").update(next_at=timezone.now())
        run()

    poison = Delivery.objects.get(handler="tests.poison")
    assert (poison.state, poison.attempts) == ("parked", relay.MAX_ATTEMPTS)
    assert len(got) == 1
    assert ErrorLog.objects.filter(component="tests.poison").count() == 1
    assert Membership.objects.filter(user=lead.user, team=team).exists()


def test_the_command_survives_what_breaks_its_commit(hear, team, lead, monkeypatch):
    hear("phases.test.happened", leave_a_dangling_key, "poison")
    tell("phases.test.happened")

    class Enough(Exception):
        """The relay has gone round and waits for news."""

    def wait(*_):
        raise Enough

    monkeypatch.setattr(relay.Hints, "wait", wait)
    with pytest.raises(Enough):
        call_command("relay")

    assert Delivery.objects.get(handler="tests.poison").attempts == 1


def test_what_a_receiver_said_is_kept_without_secrets(hear):
    def tell_all(event):
        raise ValueError(f"cannot use {SECRET} with postgres://u:hunter22@h/x")

    hear("phases.test.happened", tell_all, "poison")

    tell("phases.test.happened")
    run()

    error = Delivery.objects.get(handler="tests.poison").error
    assert error == "ValueError: cannot use [redacted] with postgres://u:[redacted]@h/x"


def test_an_event_whose_team_is_gone_is_parked_and_others_are_heard(hear):
    """Nothing in the database holds a team that an event names (decision 0033)."""

    def fail(event):
        raise ValueError("no such harbour")

    heard: list[Event] = []
    hear("guardian.test.lost", fail, "fails_for_the_lost")
    hear("guardian.test.next", heard.append, "hears_the_next")
    with transaction.atomic():
        outbox.emit("guardian.test.lost", team_id=uuid.uuid4())
        relay.stamp()
    Delivery.objects.filter(handler="tests.fails_for_the_lost").update(attempts=7)
    tell("guardian.test.next")

    relay.run_once()

    assert Delivery.objects.get(handler="tests.fails_for_the_lost").state == "parked"
    assert ErrorLog.objects.get(component="tests.fails_for_the_lost").team is None
    assert len(heard) == 1
