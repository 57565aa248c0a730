"""Budgets: who may limit what is spent, what a limit does, and its periods."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from guardian import services
from guardian.errors import (
    AlreadyExists,
    AuthorityTooLow,
    BudgetExceeded,
    Invalid,
    NotFound,
    ScopeMissing,
    StaleVersion,
)
from guardian.models import Budget, Event, uuid7
from guardian.periods import period_at
from phases import services as phases
from tests import factories


def reserve(team, amount, **scopes):
    services.build_first_pack()
    return services.reserve_budget(
        team=team, scopes=scopes, estimate=Decimal(amount), task_id=uuid7(), ticket_id=uuid7()
    )


def make(actor, **fields):
    return services.create_budget(
        actor=actor, **{"scope_type": "team", "limit": Decimal(10), **fields}
    )


@pytest.mark.django_db
class TestVerbs:
    def test_a_new_limit_holds_from_now_on_and_is_told(self, team, admin):
        budget = make(admin, reason="a small start")

        with pytest.raises(BudgetExceeded):
            reserve(team, 11)
        told = Event.objects.get(kind="guardian.budget.created")
        assert (told.subject_id, told.reason) == (str(budget.pk), "a small start")
        assert told.after["limit"] == "10"

    def test_a_change_tells_before_and_after_and_counts_its_version(self, team, admin):
        budget = make(admin)

        changed = services.change_budget(
            actor=admin, budget_id=budget.pk, version=1, limit=Decimal(20), reason="more work"
        )

        assert (changed.limit, changed.version) == (Decimal(20), 2)
        assert reserve(team, 11) is not None
        told = Event.objects.get(kind="guardian.budget.changed")
        assert (told.before, told.after) == ({"limit": "10.0000000000"}, {"limit": "20"})

    def test_a_change_that_changes_nothing_is_not_told(self, admin):
        budget = make(admin)

        services.change_budget(actor=admin, budget_id=budget.pk, limit=Decimal(10))

        assert not Event.objects.filter(kind="guardian.budget.changed").exists()

    def test_an_old_version_changes_nothing(self, admin):
        budget = make(admin)

        with pytest.raises(StaleVersion):
            services.change_budget(actor=admin, budget_id=budget.pk, version=7, limit=Decimal(1))

    def test_without_its_limit_work_goes_on_and_open_holds_still_end(self, team, admin):
        budget = make(admin)
        hold = reserve(team, 9)

        services.delete_budget(actor=admin, budget_id=budget.pk, reason="no longer needed")

        assert reserve(team, 11) is None
        assert services.settle_cost(task_id=hold.task_id) == 9
        told = Event.objects.get(kind="guardian.budget.deleted")
        assert told.before["reserved"] == "9.0000000000"

    def test_needs_the_scope_and_level_four(self, team, admin, lead):
        novice = factories.make_actor(team, "nina", role="admin", authority=3)

        with pytest.raises(ScopeMissing):
            make(lead)
        with pytest.raises(AuthorityTooLow):
            make(novice)

    def test_another_teams_budget_is_not_found(self, admin, outsider):
        budget = make(admin)

        with pytest.raises(NotFound):
            services.delete_budget(actor=outsider, budget_id=budget.pk)

    def test_one_scope_has_one_budget_per_period(self, admin):
        make(admin)

        with pytest.raises(AlreadyExists):
            make(admin)
        assert make(admin, period="day").pk

    @pytest.mark.parametrize(
        ("fields", "path"),
        [
            ({"scope_type": "galaxy"}, "scope_type"),
            ({"scope_type": "agent", "scope_id": "coder"}, "scope_id"),
            ({"scope_type": "ticket", "scope_id": str(uuid7())}, "scope_id"),
            ({"scope_type": "phase", "scope_id": str(uuid7())}, "scope_id"),
            ({"scope_id": "x"}, "scope_id"),
            ({"limit": Decimal(-1)}, "limit"),
            ({"period": "year"}, "period"),
            ({"period": "custom"}, "period_start"),
            ({"period_start": timezone.now()}, "period"),
            ({"alert_threshold": Decimal(2)}, "alert_threshold"),
            ({"alert_threshold": Decimal("0.99")}, "alert_threshold"),
        ],
    )
    def test_refuses_what_no_budget_can_be_by_its_field(self, admin, fields, path):
        with pytest.raises(Invalid) as refusal:
            make(admin, **fields)

        assert refusal.value.data["errors"][0]["path"] == path

    def test_an_agent_of_the_team_and_a_ticket_of_it_can_be_limited(self, team, admin, agent):
        phases.seed_team(team=team)
        ticket = phases.open_ticket(actor=admin, title="A ship")
        make(admin, scope_type="agent", scope_id=str(agent.id), limit=Decimal(1))
        make(admin, scope_type="ticket", scope_id=str(ticket.pk), limit=Decimal(2))

        with pytest.raises(BudgetExceeded) as refusal:
            reserve(team, 2, agent=str(agent.id), ticket=str(ticket.pk))

        assert refusal.value.data["scope"] == "agent"


@pytest.mark.django_db
class TestPeriods:
    def test_a_new_day_begins_at_nothing_and_keeps_what_is_held(self, team, admin):
        budget = make(admin, period="day")
        yesterday = timezone.now() - timedelta(days=1)
        reserve(team, 2)
        Budget.objects.update(
            spent=Decimal(8), exceeded_at=yesterday, period_start=yesterday, period_end=yesterday
        )

        hold = reserve(team, 3)

        assert hold is not None
        budget = Budget.objects.get()
        assert (budget.spent, budget.reserved) == (Decimal(0), Decimal(5))
        assert budget.exceeded_at is None
        assert budget.period_end > timezone.now()

    def test_the_clock_begins_periods_without_any_work(self, admin):
        make(admin, period="month")
        yesterday = timezone.now() - timedelta(days=1)
        Budget.objects.update(spent=Decimal(8), period_end=yesterday)

        assert services.begin_periods() == 1
        assert services.begin_periods() == 0
        assert Budget.objects.get().spent == 0

    def test_a_custom_period_limits_nothing_after_its_end(self, team, admin):
        now = timezone.now()
        make(admin, period="custom", period_start=now - timedelta(days=2),
             period_end=now - timedelta(days=1))  # fmt: skip

        assert reserve(team, 11) is None

    @pytest.mark.parametrize(
        ("period", "start", "end"),
        [
            ("day", (2026, 12, 31), (2027, 1, 1)),
            ("week", (2026, 12, 28), (2027, 1, 4)),
            ("month", (2026, 12, 1), (2027, 1, 1)),
        ],
    )
    def test_periods_follow_the_calendar_in_utc(self, period, start, end):
        moment = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)

        found = period_at(period, moment)

        wanted = [datetime(year, month, day, tzinfo=UTC) for year, month, day in (start, end)]
        assert found == tuple(wanted)


@pytest.mark.django_db
def test_near_and_at_its_limit_a_budget_says_so_once(team, admin):
    make(admin)
    Budget.objects.update(spent=Decimal("9.6"))

    reserve(team, "0.1")
    reserve(team, "0.1")
    reserve(team, "0.2")

    kinds = Event.objects.filter(kind__startswith="guardian.budget.").order_by("created_at", "id")
    assert [event.kind.rpartition(".")[2] for event in kinds] == [
        "created", "warned", "critical", "exceeded",
    ]  # fmt: skip


@pytest.mark.django_db
class TestApi:
    def test_makes_shows_changes_checks_and_deletes(self, api, admin, team):
        client, root = api(admin), "/api/v1/costs/budgets"

        made = client.post(root, {"scope_type": "team", "limit": "10"}, format="json")
        body = made.json()
        where = f"{root}/{body['id']}"

        assert (made.status_code, made["ETag"], body["limit"]) == (201, '"v1"', "10.0000000000")
        assert client.get(where).json() == body
        assert [row["id"] for row in client.get(root).json()["results"]] == [body["id"]]
        reserve(team, 4)
        asked = client.get(f"{root}/check?scope_type=team&estimate=7").json()
        assert (asked["available"], asked["blocking"]) == (False, [body["id"]])
        assert (asked["reserved"], asked["remaining"]) == ("4.0000000000", "6.0000000000")
        changed = client.patch(
            where, {"limit": 20, "reason": "more work"}, format="json", headers={"If-Match": '"v1"'}
        )
        assert (changed["ETag"], changed.json()["limit"]) == ('"v2"', "20.0000000000")
        assert client.get(f"{root}/check?scope_type=team&estimate=7").json()["available"]
        stale = client.delete(where, headers={"If-Match": '"v1"'})
        assert (stale.status_code, stale.json()["code"]) == (412, "stale_version")
        assert client.delete(where).status_code == 204
        assert client.get(where).status_code == 404
        nothing = client.get(f"{root}/check?scope_type=team&estimate=7").json()
        assert (nothing["available"], nothing["remaining"]) == (True, None)

    def test_names_what_is_wrong_by_its_field(self, api, admin):
        for body, path in (
            ({"scope_type": "galaxy", "limit": 1}, "scope_type"),
            ({"scope_type": "team", "limit": -1}, "limit"),
            ({"scope_type": "team"}, "limit"),
            ({"scope_type": "team", "limit": 1, "period": "year"}, "period"),
            ({"scope_type": "team", "limit": 1, "spent": 0}, "spent"),
        ):
            answer = api(admin).post("/api/v1/costs/budgets", body, format="json")
            assert answer.status_code == 400, body
            assert [error["path"] for error in answer.json()["errors"]] == [path]

    def test_twice_the_same_is_refused_and_shows_the_way(self, api, admin):
        body = {"scope_type": "team", "limit": 1}
        api(admin).post("/api/v1/costs/budgets", body, format="json")

        again = api(admin).post("/api/v1/costs/budgets", body, format="json")

        assert (again.status_code, again.json()["code"]) == (409, "already_exists")
        assert "Change that one" in again.json()["remedy"]["text"]
