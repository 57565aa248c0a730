"""A running task is called off: who ordered it is told at once, and is who ended it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from guardian.feed_topics import Notice
from guardian.models import Event
from phases import frames, services
from phases.models import Task, Ticket
from tests import factories


@pytest.fixture
def ticket(team, lead) -> Ticket:
    services.seed_team(team=team)
    return services.open_ticket(
        actor=lead, title="x", workflow="software_development", phase="PHASE_BACKLOG"
    )


@pytest.fixture
def held(lead, agent, ticket) -> Task:
    task = services.create_task(actor=lead, ticket=ticket, task_type="noop", title="x")
    [claimed] = services.claim_tasks(
        actor=agent, capabilities=[], task_id=task.pk, lease_seconds=600
    )
    return claimed.task


def cancel(actor, task: Task, reason: str = "stop this now", grace_seconds: int = 10) -> Task:
    return services.cancel_task(
        actor=actor, task_id=task.pk, reason=reason, grace_seconds=grace_seconds
    )


def told(kind: str) -> list[Event]:
    return list(Event.objects.filter(kind=f"phases.task.{kind}").order_by("created_at"))


def grace_is_over() -> None:
    Task.objects.exclude(cancel_deadline=None).update(
        cancel_deadline=timezone.now() - timedelta(seconds=1)
    )


def test_the_order_is_told_with_who_why_and_until_when(api, lead, agent, held):
    path = f"/api/v1/tasks/{held.pk}/cancel"

    answer = api(lead).post(path, {"reason": "stop this now"}, format="json")

    [event] = told("cancel_requested")
    assert (event.actor_id, event.reason) == (lead.id, "stop this now")
    assert event.data == {
        "ticket_id": str(held.ticket_id),
        "held_by": str(agent.id),
        "deadline": Task.objects.get(pk=held.pk).cancel_deadline.isoformat(),
    }
    assert answer.json()["cancel_requested_by"] == str(lead.id)


def test_the_board_shows_it_at_once(lead, ticket, held):
    cancel(lead, held)

    [event] = told("cancel_requested")
    news = Notice(
        1, event.team_id, event.kind, event.alias, "phases.task", str(held.pk), event.data, ""
    )
    [patch] = frames.news([news]).values()
    assert [(card["id"], "holder" in card["set"]) for card in patch.cards] == [
        (str(ticket.pk), True)
    ]


def give_back(agent, task: Task) -> None:
    services.release_task(actor=agent, task_id=task.pk, fence=task.fence, reason="as you say")


def report_failure(agent, task: Task) -> None:
    services.fail_task(actor=agent, task_id=task.pk, fence=task.fence, code="x", message="x")


def stay_silent(agent, task: Task) -> None:
    Task.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    services.sweep_leases()


def go_on(agent, task: Task) -> None:
    grace_is_over()
    services.sweep_leases()


def run_too_long(agent, task: Task) -> None:
    Task.objects.update(timeout_seconds=1, claimed_at=timezone.now() - timedelta(seconds=5))
    services.sweep_leases()


@pytest.mark.parametrize("end", [give_back, report_failure, stay_silent, go_on, run_too_long])
def test_whatever_its_holder_does_who_ordered_it_has_ended_it(lead, agent, held, end):
    cancel(lead, held)

    end(agent, held)

    held.refresh_from_db()
    [event] = told("cancelled")
    assert (held.status, held.cancel_reason) == ("cancelled", "stop this now")
    assert held.cancel_requested_by == lead.user
    assert (event.actor_id, event.reason) == (lead.id, "stop this now")
    assert event.data["requested_by"] == str(lead.id)


def test_also_who_has_left_the_team_since(team, lead, agent, held):
    cancel(lead, held)
    lead.user.memberships.all().delete()

    give_back(agent, held)

    [event] = told("cancelled")
    assert (event.actor_id, event.authority) == (lead.id, 0)


class TestAgain:
    def test_never_gives_more_time_nor_another_reason(self, team, lead, held):
        other = factories.make_actor(team, "otto", role="operator", authority=4)
        first = cancel(lead, held).cancel_deadline

        again = cancel(other, held, reason="another reason", grace_seconds=300)

        assert again.cancel_deadline == first
        assert (again.cancel_reason, again.cancel_requested_by) == ("stop this now", lead.user)
        assert len(told("cancel_requested")) == 1

    def test_may_give_less_time(self, team, lead, held):
        other = factories.make_actor(team, "otto", role="operator", authority=4)
        first = cancel(lead, held, grace_seconds=300).cancel_deadline

        again = cancel(other, held, reason="it is urgent now", grace_seconds=5)

        assert first - again.cancel_deadline > timedelta(seconds=290)
        assert (again.cancel_reason, again.cancel_requested_by) == ("stop this now", lead.user)
        assert [event.actor_id for event in told("cancel_requested")] == [lead.id, other.id]

    def test_at_once_ends_it_for_its_first_reason(self, team, lead, held):
        other = factories.make_actor(team, "otto", role="operator", authority=4)
        cancel(lead, held, grace_seconds=300)

        ended = cancel(other, held, reason="it is urgent now", grace_seconds=0)

        [event] = told("cancelled")
        assert (ended.status, ended.cancel_reason) == ("cancelled", "stop this now")
        assert (event.actor_id, event.reason) == (other.id, "it is urgent now")
        assert event.data["requested_by"] == str(lead.id)


def test_one_that_was_to_end_anyway_does_not_come_back_with_its_ticket(lead, ticket, held):
    beside = services.create_task(actor=lead, ticket=ticket, task_type="noop", title="y")
    cancel(lead, held)
    services.cancel_ticket(actor=lead, ticket_id=ticket.pk, reason="not wanted any more")

    services.reopen_ticket(actor=lead, ticket_id=ticket.pk, reason="wanted after all")

    assert Task.objects.get(pk=held.pk).status == "cancelled"
    assert Task.objects.get(pk=beside.pk).status == "pending"


def test_a_waiting_one_names_who_called_it_off_and_its_retry_nobody(lead, ticket):
    task = services.create_task(actor=lead, ticket=ticket, task_type="noop", title="x")

    ended = cancel(lead, task)
    again = services.retry_task(actor=lead, task_id=task.pk, reason="do it after all")

    assert ended.cancel_requested_by == lead.user
    assert (again.cancel_reason, again.cancel_requested_by) == ("", None)
    assert told("cancel_requested") == []


def test_the_clock_is_that_of_the_database(lead, agent, held, monkeypatch):
    """A host whose clock is an hour fast neither grants an hour nor lets a retry wait for one."""
    ahead = timezone.now() + timedelta(hours=1)
    monkeypatch.setattr(timezone, "now", lambda: ahead)
    soon = ahead - timedelta(minutes=50)

    ordered = cancel(lead, held)
    Task.objects.update(cancel_deadline=None)
    failed = services.fail_task(
        actor=agent, task_id=held.pk, fence=held.fence, code="x", message="x"
    )

    assert ordered.cancel_deadline < soon
    assert failed.not_before < soon
