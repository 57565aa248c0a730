"""Money under many hands: what is charged, freed and reserved at the same moment adds up."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.utils import timezone

from guardian import services
from guardian.models import Budget, CostRecord, Event, uuid7
from tests.beside import Beside


@pytest.fixture
def team_budget(team):
    services.build_first_pack()
    return Budget.objects.create(team=team, scope_type="team", limit=Decimal(100))


def reserve(team, amount, *, task_id=None, **scopes):
    return services.reserve_budget(
        team=team,
        scopes=scopes,
        estimate=Decimal(amount),
        task_id=task_id or uuid7(),
        ticket_id=uuid7(),
    )


def charge(team, task_id, dollars):
    # Thirty dollars a million prompt tokens, in the shipped pack.
    return services.charge(
        team=team,
        task_id=task_id,
        ticket_id=None,
        provider="openai",
        model="gpt-4",
        prompt_tokens=int(dollars * 1_000_000 / 30),
        completion_tokens=0,
    )


def figures():
    return list(Budget.objects.order_by("id").values_list("spent", "reserved"))


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
class TestManyHands:
    def test_two_charges_at_once_free_no_more_than_was_held(self, team, team_budget):
        other, task = uuid7(), uuid7()
        reserve(team, 50, task_id=other)
        reserve(team, 10, task_id=task)

        with transaction.atomic():
            charge(team, task, 9)
            beside = Beside(lambda: charge(team, task, 9))
            beside.wait_until_blocked()
        beside.join()

        assert figures() == [(Decimal(18), Decimal(50))]

    def test_a_charge_beside_the_end_of_its_hold_takes_from_no_other(self, team, team_budget):
        other, task = uuid7(), uuid7()
        reserve(team, 50, task_id=other)
        reserve(team, 10, task_id=task)

        with transaction.atomic():
            services.settle_cost(task_id=task)
            beside = Beside(lambda: charge(team, task, 9))
            beside.wait_until_blocked()
        beside.join()

        assert figures() == [(Decimal(9), Decimal(50))]

    def test_a_hold_that_two_end_at_once_ends_once(self, team, team_budget):
        task = uuid7()
        reserve(team, 10, task_id=task)

        with transaction.atomic():
            freed = services.settle_cost(task_id=task)
            beside = Beside(lambda: services.settle_cost(task_id=task))
            beside.wait_until_blocked()
        beside.join()

        assert (freed, beside.result) == (Decimal(10), Decimal(0))
        assert CostRecord.objects.filter(kind="release").count() == 1
        assert figures() == [(Decimal(0), Decimal(0))]

    def test_a_charge_and_a_reservation_never_stand_in_a_circle(self, team, team_budget):
        day = Budget.objects.create(team=team, scope_type="team", limit=Decimal(100), period="day")
        first, last = sorted([team_budget.pk, day.pk])
        task = uuid7()
        reserve(team, 10, task_id=task)
        # In the table the first one now stands behind the other.
        Budget.objects.filter(pk=last).update(limit=Decimal(99))
        Budget.objects.filter(pk=first).update(limit=Decimal(99))
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE guardian_budget")

        with transaction.atomic():
            Budget.objects.select_for_update().get(pk=first)
            beside = Beside(lambda: charge(team, task, 3))
            beside.wait_until_blocked()
            reserve(team, 10)
        beside.join()

        assert figures() == [(Decimal(3), Decimal(17)), (Decimal(3), Decimal(17))]


@pytest.mark.django_db
class TestPeriods:
    def test_a_charge_after_midnight_counts_for_the_new_day(self, team, team_budget):
        Budget.objects.update(period="day")
        task = uuid7()
        reserve(team, 10, task_id=task)
        yesterday = timezone.now() - timedelta(days=1)
        Budget.objects.update(spent=Decimal(8), period_start=yesterday, period_end=yesterday)

        charge(team, task, 3)
        services.begin_periods()

        assert figures() == [(Decimal(3), Decimal(7))]

    def test_a_limit_lowered_below_what_is_used_is_told_as_exceeded(self, team, admin):
        budget = services.create_budget(actor=admin, scope_type="team", limit=Decimal(100))
        services.build_first_pack()
        reserve(team, 10)

        services.change_budget(actor=admin, budget_id=budget.pk, limit=Decimal(5))

        assert Budget.objects.get().exceeded_at is not None
        assert Event.objects.filter(kind="guardian.budget.exceeded").count() == 1

    def test_a_raised_limit_is_told_again_when_it_is_reached(self, team, admin):
        budget = services.create_budget(actor=admin, scope_type="team", limit=Decimal(10))
        services.build_first_pack()
        reserve(team, 10)

        services.change_budget(actor=admin, budget_id=budget.pk, limit=Decimal(20))
        reserve(team, 10)

        assert Event.objects.filter(kind="guardian.budget.exceeded").count() == 2
