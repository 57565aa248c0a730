"""What waits for a task that failed or was called off says so, until the cause is gone."""

import pytest

from guardian import relay
from phases import services
from phases.models import Task, Ticket

REASON = "not this way"


@pytest.fixture
def ticket(team, lead) -> Ticket:
    services.seed_team(team=team)
    return services.open_ticket(
        actor=lead, title="x", workflow="software_development", phase="PHASE_BACKLOG"
    )


@pytest.fixture
def make(lead, ticket):
    def new(title: str, *depends_on: Task) -> Task:
        return services.create_task(
            actor=lead,
            ticket=ticket,
            task_type="noop",
            title=title,
            depends_on=[task.pk for task in depends_on],
        )

    return new


@pytest.fixture
def cancel(lead):
    def call_off(task: Task) -> None:
        services.cancel_task(actor=lead, task_id=task.pk, reason=REASON, grace_seconds=0)
        relay.run_once()

    return call_off


@pytest.fixture
def retry(lead):
    def again(task: Task) -> Task:
        return services.retry_task(actor=lead, task_id=task.pk, reason="it was right after all")

    return again


def state(task: Task) -> tuple[str, str | None]:
    found = Task.objects.get(pk=task.pk)
    return found.status, found.blocked_reason


def test_a_reopened_ticket_keeps_what_waits_for_a_cancelled_task_blocked_by_name(
    lead, ticket, make, cancel
):
    first = make("first")
    second = make("second", first)
    cancel(first)
    services.cancel_ticket(actor=lead, ticket_id=ticket.pk, reason=REASON)

    services.reopen_ticket(actor=lead, ticket_id=ticket.pk, reason="and on it goes")

    assert state(first) == ("cancelled", None)
    assert state(second) == ("blocked", "dependency_failed: first is cancelled")


def test_a_reopened_ticket_puts_a_whole_chain_up_again(lead, ticket, make):
    first = make("first")
    second = make("second", first)
    services.cancel_ticket(actor=lead, ticket_id=ticket.pk, reason=REASON)
    relay.run_once()

    services.reopen_ticket(actor=lead, ticket_id=ticket.pk, reason="and on it goes")

    assert [state(first), state(second)] == [("pending", None), ("pending", None)]


def test_a_task_that_waits_for_two_is_blocked_until_both_are_retried(make, cancel, retry):
    first, second = make("first"), make("second")
    third = make("third", first, second)
    cancel(first)
    cancel(second)

    retry(first)
    after_one = state(third)
    retry(second)

    assert after_one == ("blocked", "dependency_failed: second is cancelled")
    assert state(third) == ("pending", None)


def test_a_new_task_that_waits_for_a_cancelled_one_is_blocked_from_the_start(make, cancel, retry):
    first = make("first")
    cancel(first)

    second = make("second", first)
    before = (second.status, second.blocked_reason)
    retry(first)

    assert before == ("blocked", "dependency_failed: first is cancelled")
    assert state(second) == ("pending", None)


def test_a_retried_task_says_that_it_waits_for_a_cancelled_one(make, cancel, retry):
    first = make("first")
    second = make("second", first)
    cancel(second)
    cancel(first)

    retried = retry(second)

    assert retried.status == "blocked"
    assert state(second) == ("blocked", "dependency_failed: first is cancelled")
