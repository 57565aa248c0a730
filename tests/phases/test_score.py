"""The order of work (K-12): one formula, in Python and in the claim's statement."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from phases import claims, services
from phases.models import Phase, ReadyTask, Task, Ticket, Workflow
from phases.scoring import DEFAULT, Facts, Weights, faults_of, score_of, score_sql, weights_of

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
OWN = Weights(0.2, 0.2, 0.2, 0.2, 0.2, sla_factor=2, floor=0.9, floor_after=60)

# priority, waited s, left s, blockers, share of tries left, weights → score
ROWS = [
    (1, 0, None, 0, 1.0, None, 0.5),
    (2, 0, None, 0, 1.0, None, 0.3875),
    (3, 0, None, 0, 1.0, None, 0.275),
    (4, 0, None, 0, 0.0, None, 0.1125),
    (4, 3600, None, 0, 1.0, None, 0.3625),
    (4, 1800, None, 5, 0.5, None, 0.3125),
    (3, 0, 450, 0, 1.0, None, 0.4375),  # half of the last quarter of an hour
    (3, 0, -60, 0, 1.0, None, 0.5312),  # overdue counts as 1
    (3, 0, 901, 0, 1.0, None, 0.275),
    (4, 7200, None, 0, 0.0, None, 0.49),  # the floor
    (1, 7200, 0, 20, 1.0, None, 1.25),
    (4, 60, 900, 10, 0.0, OWN, 0.9),  # its own floor
]


def facts(row) -> Facts:
    priority, waited, left, blockers, retry_left, *_ = row
    return Facts(
        priority=priority,
        ready_at=NOW - timedelta(seconds=waited),
        deadline=None if left is None else NOW + timedelta(seconds=left),
        blockers=blockers,
        retry_left=retry_left,
    )


@pytest.mark.parametrize("row", ROWS)
def test_a_fixed_clock_gives_these_scores(row):
    score = score_of(facts(row), now=NOW, weights=row[5] or DEFAULT)

    assert score.value == pytest.approx(row[6], abs=5.1e-5)


@pytest.fixture
def ticket(team, lead) -> Ticket:
    services.seed_team(team=team)
    return services.open_ticket(
        actor=lead, title="x", workflow="software_development", phase="PHASE_BACKLOG"
    )


def make(lead, ticket, **fields) -> Task:
    return services.create_task(actor=lead, ticket=ticket, task_type="noop", title="x", **fields)


def scored(now: datetime) -> dict[UUID, float]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT task_id, {score_sql('%(now)s::timestamptz')} FROM phases_readytask",  # noqa: S608  a constant of the module
            {"now": now},
        )
        return dict(cursor.fetchall())


def test_the_statement_gives_the_same_for_twelve_rows(lead, ticket):
    expected = {}
    for row in ROWS:
        task, said = make(lead, ticket), facts(row)
        ReadyTask.objects.filter(task=task).update(
            priority=said.priority,
            ready_at=said.ready_at,
            deadline=said.deadline,
            blockers=said.blockers,
            retry_left=said.retry_left,
            weights=[getattr(row[5], name) for name in Weights.__slots__] if row[5] else None,
        )
        expected[task.pk] = round(score_of(said, now=NOW, weights=row[5] or DEFAULT).value, 4)

    found = scored(NOW)

    assert len(found) == 12
    assert {pk: round(value, 4) for pk, value in found.items()} == expected


@given(
    priority=st.integers(1, 4),
    waited=st.floats(0, 1e6),
    left=st.none() | st.floats(-1e6, 1e6),
    blockers=st.integers(0, 1000),
    retry_left=st.floats(0, 1),
)
def test_a_score_stays_in_its_bounds(priority, waited, left, blockers, retry_left):
    score = score_of(facts((priority, waited, left, blockers, retry_left)), now=NOW)

    assert all(0 <= part <= 1 for part in score.parts.values())
    assert 0.1125 <= score.value <= 1.25
    if waited >= 7200:
        assert score.value >= 0.49


class TestWeightsOfAWorkflow:
    def test_go_with_each_new_row_and_decide_the_claim(self, lead, agent, ticket):
        Workflow.objects.filter(pk=ticket.workflow_id).update(
            score={"priority": 0, "age": 0, "deadline": 0, "blockers": 1, "retry": 0}
        )
        important = make(lead, ticket, priority=1)
        waited_for = make(lead, ticket, priority=4)
        make(lead, ticket, depends_on=[waited_for.pk])

        row = ReadyTask.objects.get(task=important)
        [claimed] = services.claim_tasks(actor=agent, capabilities=[])

        assert row.weights == [0, 0, 0, 1, 0, 1.25, 0.49, 7200]
        assert claimed.task.pk == waited_for.pk
        assert claimed.score == pytest.approx(0.1)

    def test_come_to_rows_that_wait_when_they_are_changed(self, lead, ticket):
        task = make(lead, ticket)
        Workflow.objects.filter(pk=ticket.workflow_id).update(score={"priority": 0.65, "age": 0})

        services.weigh_anew(workflow_id=ticket.workflow_id)

        assert ReadyTask.objects.get(task=task).weights[:2] == [0.65, 0]

    def test_what_is_no_number_never_stops_a_claim(self, lead, agent, ticket):
        Workflow.objects.filter(pk=ticket.workflow_id).update(score={"priority": "much"})
        make(lead, ticket)

        assert len(services.claim_tasks(actor=agent, capabilities=[])) == 1

    @pytest.mark.parametrize(
        ("score", "names"),
        [
            ({}, []),
            ({"priority": 0.25, "age": 0.4}, []),
            ({"priority": 0.5}, ["priority"]),
            ({"prio": 1}, ["prio"]),
            ({"age": "x", "floor": -1, "retry": True}, ["age", "retry", "floor"]),
        ],
    )
    def test_are_judged(self, score, names):
        assert [name for name, _ in faults_of(score)] == names

    def test_are_completed_by_those_of_lemnos(self):
        assert weights_of({"floor": 0.6, "age": None}) == Weights(floor=0.6)


class TestCandidates:
    @pytest.fixture
    def crowd(self, lead, ticket, monkeypatch):
        """More important and fresh work than a claim looks at."""
        phase = Phase.objects.get(pk=ticket.phase_id)
        tasks = Task.objects.bulk_create(
            Task(team=ticket.team, ticket=ticket, phase=phase, title=f"t{n}", priority=2)
            for n in range(230)
        )
        claims.refresh(task.pk for task in tasks)

    @pytest.mark.usefixtures("crowd")
    def test_the_oldest_is_seen_behind_two_hundred_more_important(self, lead, agent, ticket):
        old = make(lead, ticket, priority=4)
        ReadyTask.objects.filter(task=old).update(ready_at=timezone.now() - timedelta(hours=3))

        [claimed] = services.claim_tasks(actor=agent, capabilities=[])

        assert (claimed.task.pk, round(claimed.score, 2)) == (old.pk, 0.49)

    @pytest.mark.usefixtures("crowd")
    def test_the_nearest_deadline_is_seen_behind_them(self, lead, agent, ticket):
        hurried = make(lead, ticket, priority=3, deadline=timezone.now() + timedelta(seconds=30))

        [claimed] = services.claim_tasks(actor=agent, capabilities=[])

        assert claimed.task.pk == hurried.pk

    @pytest.mark.usefixtures("crowd")
    def test_each_is_given_once(self, lead, agent, ticket):
        for _ in range(3):
            make(lead, ticket, priority=4, deadline=timezone.now() - timedelta(seconds=1))

        claimed = services.claim_tasks(actor=agent, capabilities=[], limit=10)

        assert len({one.task.pk for one in claimed}) == 10

    def test_equals_go_in_the_order_of_their_creation(self, lead, agent, ticket):
        first, second = make(lead, ticket), make(lead, ticket)
        ReadyTask.objects.update(ready_at=timezone.now() - timedelta(hours=1, minutes=30))

        order = [services.claim_tasks(actor=agent, capabilities=[])[0].task.pk for _ in range(2)]

        assert order == [first.pk, second.pk]
