"""Claims of several tasks at once and the budgets of their tickets."""

from decimal import Decimal

import pytest
from django.db import transaction

from guardian import services as guardian
from guardian.models import Budget
from phases import services
from phases.models import Task
from tests import factories
from tests.beside import PATIENCE_SECONDS, Beside


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_claim_that_holds_from_one_purse_waits_for_no_other():
    team = factories.make_team()
    services.seed_team(team=team)
    guardian.build_first_pack()
    lead = factories.make_actor(team, "lena", role="admin", authority=5)
    agent = factories.make_actor(team, "coder-1", role="agent", kind="agent")
    purses = {}
    for priority in (1, 4):
        ticket = services.open_ticket(
            actor=lead, title="x", workflow="software_development", phase="PHASE_BACKLOG"
        )
        task = services.create_task(
            actor=lead,
            ticket=ticket,
            task_type="noop",
            title="x",
            required_capabilities=["noop"],
            required_locks=[{"resource_type": "ship", "resource_id": str(priority)}],
        )
        Task.objects.filter(pk=task.pk).update(priority=priority)
        purses[task.pk] = guardian.create_budget(
            actor=lead, scope_type="ticket", scope_id=str(ticket.pk), limit=Decimal(10)
        )
    first, second = purses

    def claim():
        return services.claim_tasks(actor=agent, capabilities=["noop"], limit=2)

    with transaction.atomic():
        # As another claim does that goes on to the first purse.
        Budget.objects.select_for_update().get(pk=purses[second].pk)
        beside = Beside(claim)
        beside.join(PATIENCE_SECONDS)
        assert not beside.is_alive()

    assert [claimed.task.pk for claimed in beside.result] == [first]
    assert [claimed.task.pk for claimed in claim()] == [second]
