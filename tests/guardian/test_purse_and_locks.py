"""What a claim asks guardian: budgets, locks, the kill switch."""

from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from guardian import services
from guardian.errors import AuthorityTooLow, BudgetExceeded, LockHeld
from guardian.models import Budget, CostRecord, ResourceLock, uuid7


class TestBudget:
    def reserve(self, team, amount, task_id=None):
        return services.reserve_budget(
            team=team,
            scopes={},
            estimate=Decimal(amount),
            task_id=task_id or uuid7(),
            ticket_id=uuid7(),
        )

    def test_refuses_beyond_the_limit_and_holds_nothing(self, team):
        services.build_first_pack()
        Budget.objects.create(team=team, scope_type="team", limit=Decimal(10))
        self.reserve(team, 9)

        with pytest.raises(BudgetExceeded) as refusal:
            self.reserve(team, 2)

        assert refusal.value.data["reserved"] == "9.0000000000"
        assert Budget.objects.get().reserved == 9

    def test_charges_the_shipped_price_and_frees_the_rest(self, team):
        services.build_first_pack()
        Budget.objects.create(team=team, scope_type="team", limit=Decimal(10))
        task = uuid7()
        self.reserve(team, 1, task)

        services.charge(
            team=team,
            task_id=task,
            ticket_id=None,
            provider="openai",
            model="gpt-4",
            prompt_tokens=1000,
            completion_tokens=500,
        )
        freed = services.settle_cost(task_id=task)

        budget = Budget.objects.get()
        assert budget.spent == Decimal("0.06")
        assert (budget.reserved, freed) == (Decimal(0), Decimal("0.94"))

    def test_an_unknown_model_costs_the_default_and_is_flagged(self, team):
        services.build_first_pack()

        record = services.charge(
            team=team,
            task_id=None,
            ticket_id=None,
            provider="x",
            model="y",
            prompt_tokens=1_000_000,
            completion_tokens=0,
        )

        assert (record.amount, record.price_estimated) == (Decimal(3), True)

    def test_the_ledger_cannot_be_changed(self, team):
        services.build_first_pack()
        Budget.objects.create(team=team, scope_type="team", limit=Decimal(10))
        self.reserve(team, 1)

        with pytest.raises(DatabaseError), transaction.atomic():
            connection.cursor().execute("UPDATE guardian_costrecord SET amount = 0")
        assert CostRecord.objects.get().amount == 1


class TestLocks:
    def lock(self, actor, mode="exclusive", task_id=None):
        want = {"resource_type": "repo", "resource_id": "main", "mode": mode}
        return services.acquire_locks(actor=actor, task_id=task_id or uuid7(), wanted=[want])[0]

    def test_exclusive_excludes_and_names_the_holder(self, lead, agent):
        self.lock(lead)

        with pytest.raises(LockHeld) as refusal:
            self.lock(agent, "shared")

        holders = refusal.value.data["holders"]
        assert [(holder["id"], holder["name"]) for holder in holders] == [(str(lead.id), "lena")]

    def test_shared_locks_share(self, lead, agent):
        self.lock(lead, "shared")

        assert self.lock(agent, "shared").state == "held"

    def test_release_frees_and_fences_rise(self, lead, agent):
        task = uuid7()
        first = self.lock(lead, task_id=task)

        services.release_locks_of_task(task_id=task, reason="done")

        assert self.lock(agent).fence > first.fence

    def test_raw_sql_cannot_hold_twice(self, lead):
        lock = self.lock(lead)

        copy = ResourceLock.objects.get(pk=lock.pk)
        copy.pk, copy.fence = uuid7(), lock.fence + 1

        with pytest.raises(DatabaseError), transaction.atomic():
            copy.save(force_insert=True)


class TestKillSwitch:
    def test_needs_level_four_and_is_read_by_everybody(self, team, lead, agent, admin):
        with pytest.raises(AuthorityTooLow):
            services.set_kill_switch(actor=agent, on=True, reason="stop")

        services.set_kill_switch(actor=lead, on=True, reason="stop")
        assert services.kill_switch_is_on(team=team)

        services.set_kill_switch(actor=admin, on=False, reason="go on")
        assert not services.kill_switch_is_on(team=team)
