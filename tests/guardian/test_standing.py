"""The few questions of the hot path answer as the verbs they stand in for."""

from decimal import Decimal
from uuid import uuid4

import pytest

from guardian import services
from guardian.models import Budget


@pytest.fixture(autouse=True)
def pack(db):
    services.build_first_pack()


@pytest.mark.parametrize("everywhere", [False, True])
def test_sees_the_kill_switch_of_the_team_and_of_all_teams(admin, other_team, everywhere):
    services.set_kill_switch(actor=admin, on=True, reason="stop", everywhere=everywhere)

    assert services.standing_of(team_id=admin.team_id).kill_switch
    assert services.standing_of(team_id=other_team.pk).kill_switch is everywhere

    services.set_kill_switch(actor=admin, on=False, reason="go on", everywhere=everywhere)
    assert not services.standing_of(team_id=admin.team_id).kill_switch


def test_sees_whether_a_team_has_budgets(admin, other_team):
    Budget.objects.create(team=admin.team, scope_type="team", limit=Decimal(1))

    assert services.standing_of(team_id=admin.team_id).has_budgets
    assert not services.standing_of(team_id=other_team.pk).has_budgets


def test_a_task_holds_its_locks_until_they_are_released(admin):
    task_id = uuid4()
    wanted = [{"resource_type": "repo", "resource_id": "mail"}]
    assert not services.holds_anything(task_id=task_id)

    services.acquire_locks(actor=admin, task_id=task_id, wanted=wanted)
    assert services.holds_anything(task_id=task_id)

    services.release_locks_of_task(task_id=task_id, reason="done")
    assert not services.holds_anything(task_id=task_id)


def test_a_task_holds_money_until_it_is_settled(admin):
    task_id = uuid4()
    Budget.objects.create(team=admin.team, scope_type="team", limit=Decimal(1))

    services.reserve_budget(
        team=admin.team, scopes={}, estimate=Decimal("0.5"), task_id=task_id, ticket_id=uuid4()
    )
    assert services.holds_anything(task_id=task_id)

    services.settle_cost(task_id=task_id)
    assert not services.holds_anything(task_id=task_id)
