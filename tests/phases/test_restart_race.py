"""A claim and a restart at the same moment: whoever is second sees what the first has done."""

import pytest
from django.db import transaction

from phases import services
from phases.models import Task, Ticket
from tests import factories
from tests.beside import PATIENCE_SECONDS, Beside

SELF = {"source": {"kind": "self"}}

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def lead():
    team = factories.make_team()
    services.seed_team(team=team)
    return factories.make_actor(team, "lena", role="operator", authority=4)


@pytest.fixture
def agent(lead):
    return factories.make_actor(lead.team, "coder-1", role="agent", kind="agent")


@pytest.fixture
def ticket(lead, monkeypatch) -> Ticket:
    from phases import context

    # What a source may be is none of this test's business; another value is another source.
    monkeypatch.setitem(context._kinds, "repository", lambda *_: None)
    return services.open_ticket(actor=lead, title="x", workflow="repo_checkup", context=SELF)


def replace(lead, ticket: Ticket) -> Ticket:
    return services.update_ticket(
        actor=lead,
        ticket_id=ticket.pk,
        version=None,
        changes={"context": {"source": {"kind": "other"}}},
    )


def claim(agent) -> list[Task]:
    found = services.claim_tasks(actor=agent, capabilities=["inventory"])
    return [claimed.task for claimed in found]


def test_a_claim_under_way_is_waited_for_and_then_refuses_the_restart(lead, agent, ticket):
    with transaction.atomic():
        [task] = claim(agent)
        beside = Beside(lambda: replace(lead, ticket))
        beside.wait_until_blocked()
    beside.join(PATIENCE_SECONDS)

    assert beside.refusal is not None
    assert beside.refusal.code == "work_running"
    assert Ticket.objects.get(pk=ticket.pk).context == SELF
    assert Task.objects.get(ticket=ticket).pk == task.pk


def test_a_restart_under_way_leaves_a_claim_nothing_of_the_old_source(lead, agent, ticket):
    with transaction.atomic():
        replace(lead, ticket)
        beside = Beside(lambda: claim(agent))
        beside.join(PATIENCE_SECONDS)
    [task] = claim(agent)

    assert beside.result == []
    assert (task.visit, task.ticket.context["source"]) == (2, {"kind": "other"})
    assert Task.objects.filter(ticket=ticket, status="cancelled").count() == 1


def test_of_two_restarts_of_one_version_one_is_refused(lead, ticket):
    def send() -> Ticket:
        return services.update_ticket(
            actor=lead, ticket_id=ticket.pk, version=1, changes={"context": {"source": {"k": 1}}}
        )

    both = [Beside(send) for _ in range(2)]
    for one in both:
        one.join(PATIENCE_SECONDS)

    assert [one.refusal.code for one in both if one.refusal] == ["stale_version"]
    assert Task.objects.still_open().filter(ticket=ticket).count() == 1
