"""What a task waits for (K-15): each code from the state of affairs that makes it."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from guardian import services as guardian
from phases import services
from phases.errors import TaskNotClaimable
from phases.models import BoardColumn, Phase, Task, Ticket, Workflow
from phases.reports import why_report
from tests import factories

FLOW = "software_development"


@pytest.fixture
def ticket(team, lead) -> Ticket:
    services.seed_team(team=team)
    return services.open_ticket(actor=lead, title="x", workflow=FLOW, phase="PHASE_BACKLOG")


@pytest.fixture
def make(lead, ticket):
    def new(title: str = "x", **fields) -> Task:
        given = {"ticket": ticket, "task_type": "noop", "title": title, **fields}
        return services.create_task(actor=lead, **given)

    return new


def waits(task: Task) -> list[dict[str, Any]]:
    return why_report(Task.objects.get(pk=task.pk))["waiting"]


def only(task: Task) -> dict[str, Any]:
    [wait] = waits(task)
    assert set(wait) == {"code", "detail", "refs", "until"}
    assert wait["detail"]
    return wait


def claim(actor, task: Task, capabilities=()) -> Task:
    return services.claim_tasks(
        actor=actor, capabilities=list(capabilities), task_id=task.pk, lease_seconds=600
    )[0].task


def test_nothing_where_it_can_be_claimed(make):
    assert why_report(make()) == {"status": "pending", "claimable": True, "waiting": []}


def test_dependency(make):
    first = make("first")

    wait = only(make("second", depends_on=[first.pk]))

    assert wait["code"] == "dependency"
    assert wait["refs"] == [
        {"kind": "task", "id": str(first.pk), "title": "first", "status": "pending"}
    ]


def test_dependency_failed(lead, make):
    first = make("first")
    second = make("second", depends_on=[first.pk])
    services.cancel_task(actor=lead, task_id=first.pk, reason="not needed")
    services.handle_final_task(task_id=first.pk)

    wait = only(second)

    assert (wait["code"], wait["refs"][0]["status"]) == ("dependency_failed", "cancelled")


def test_backoff(agent, make):
    task = make()
    held = claim(agent, task)
    services.fail_task(
        actor=agent, task_id=task.pk, fence=held.fence, code="x", message="try again"
    )

    wait = only(task)

    assert (wait["code"], wait["until"] > timezone.now().isoformat()) == ("backoff", True)


def test_wip_full(lead, ticket):
    BoardColumn.objects.filter(workflow=ticket.workflow_id, key="analyzing").update(wip_limit=1)
    services.open_ticket(actor=lead, title="first", workflow=FLOW)
    second = services.open_ticket(actor=lead, title="second", workflow=FLOW)

    wait = only(second.tasks.get())

    assert (wait["code"], wait["refs"][0]["key"]) == ("wip_full", "analyzing")


def test_wip_next_full(lead, agent, ticket, make):
    column = BoardColumn.objects.filter(workflow=ticket.workflow_id, key="analyzing")
    column.update(wip_limit=1)
    ahead = services.open_ticket(actor=lead, title="ahead", workflow=FLOW)
    task = make()

    wait = only(task)
    listed = services.claimable_tasks(actor=agent)
    services.cancel_ticket(actor=lead, ticket_id=ahead.pk, reason="not needed")

    assert (wait["code"], wait["refs"][0]["key"]) == ("wip_next_full", "analyzing")
    assert task.pk not in [found.pk for found, _ in listed]
    assert waits(task) == []
    assert [found.pk for found, _ in services.claimable_tasks(actor=agent)] == [task.pk]


def test_no_capable_agent(make):
    task = make(required_capabilities=["cooking"])
    services.note_why_waiting(task_id=task.pk, code="no_capable_agent")

    wait = only(task)

    assert wait["code"] == "no_capable_agent"
    assert "cooking" in wait["detail"]


def test_budget(admin, agent, make):
    guardian.build_first_pack()
    guardian.create_budget(actor=admin, scope_type="team", limit=Decimal("0.001"), period="day")
    task = make()
    assert services.claim_tasks(actor=agent, capabilities=[]) == []

    assert only(task)["code"] == "budget"


def test_lock(lead, make):
    held = guardian.acquire_lock(actor=lead, resource_type="dock", resource_id="1")
    task = make(required_locks=[{"resource_type": "dock", "resource_id": "1"}])
    other = make(required_locks=[{"resource_type": "dock", "resource_id": "2"}])

    wait = only(task)

    assert wait["code"] == "lock"
    assert wait["refs"] == [{"kind": "lock", "id": str(held.lock_id), "resource": "dock 1"}]
    assert wait["until"] is not None
    assert waits(other) == []


def test_approval(lead, ticket):
    Workflow.objects.filter(pk=ticket.workflow_id).update(approval_required=True)
    asked = services.open_ticket(actor=lead, title="x", workflow=FLOW)

    wait = only(asked.tasks.get())

    assert (wait["code"], wait["refs"][0]["number"]) == ("approval", asked.number)
    assert wait["until"] is not None


class TestReview:
    @pytest.fixture
    def handed_in(self, agent, make) -> Task:
        Phase.objects.filter(key="PHASE_BACKLOG").update(review_required=True)
        task = make()
        held = claim(agent, task)
        services.complete_task(actor=agent, task_id=task.pk, fence=held.fence, result={})
        return task

    def test_while_nobody_looks_and_while_somebody_does(self, lead, handed_in):
        before = only(handed_in)
        services.start_review(actor=lead, task_id=handed_in.pk)
        meanwhile = only(handed_in)

        assert (before["code"], before["until"]) == ("review", None)
        assert (meanwhile["code"], meanwhile["until"] is not None) == ("review", True)
        assert "lena" in meanwhile["detail"]

    def test_where_a_person_decides(self, lead, handed_in):
        Phase.objects.filter(key="PHASE_BACKLOG").update(max_review_iterations=1)
        review = services.start_review(actor=lead, task_id=handed_in.pk)
        services.give_verdict(
            actor=lead, task_id=handed_in.pk, iteration=1, passed=False, feedback="not so"
        )

        wait = only(handed_in)

        assert (wait["code"], wait["refs"][0]["id"]) == ("review", str(review.pk))
        assert "needs a person" in wait["detail"]

    def test_reserved_for_who_did_it(self, lead, agent, handed_in):
        services.start_review(actor=lead, task_id=handed_in.pk)
        services.give_verdict(
            actor=lead, task_id=handed_in.pk, iteration=1, passed=False, feedback="not so"
        )

        wait = only(handed_in)

        assert (wait["code"], wait["refs"][0]["id"]) == ("reserved", str(agent.id))
        assert wait["until"] > (timezone.now() + timedelta(seconds=500)).isoformat()


def test_later_phase(ticket, make):
    wait = only(make(phase_key="PHASE_DESIGN"))

    assert (wait["code"], wait["refs"][0]["key"]) == ("later_phase", "PHASE_DESIGN")


def test_ticket_blocked(lead, ticket, make):
    task = make()
    services.transition(
        actor=lead, ticket_id=ticket.pk, to_phase="PHASE_BLOCKED", reason="the mill is shut"
    )

    wait = only(task)

    assert wait["code"] == "ticket_blocked"
    assert "the mill is shut" in wait["detail"]


def test_paused(admin, agent, team, make):
    task = make()
    guardian.set_kill_switch(actor=admin, on=True, reason="a drill")

    wait = only(task)

    assert (wait["code"], services.claimable_tasks(actor=agent)) == ("paused", [])
    assert "a drill" in wait["detail"]


def test_many_things_at_once(lead, ticket, make):
    first = make("first")
    task = make("x", phase_key="PHASE_DESIGN", depends_on=[first.pk])

    assert [wait["code"] for wait in waits(task)] == ["later_phase", "dependency"]


def test_a_refused_claim_carries_the_same(agent, make):
    first = make("first")
    second = make("second", depends_on=[first.pk])

    with pytest.raises(TaskNotClaimable) as refusal:
        claim(agent, second)

    assert refusal.value.data["waiting"] == waits(second)


class TestApi:
    def test_answers_for_one_task(self, api, viewer, outsider, make):
        first = make("first")
        second = make("second", depends_on=[first.pk])
        path = f"/api/v1/tasks/{second.pk}/why"

        told = api(viewer).get(path).json()

        assert (told["status"], told["claimable"]) == ("pending", False)
        assert told["waiting"] == waits(second)
        assert api(outsider).get(path).status_code == 404

    def test_lists_what_can_be_claimed_best_first(self, api, agent, make):
        make("low", priority=4)
        high = make("high", priority=1)
        make("waits", depends_on=[high.pk])
        make("later", phase_key="PHASE_DESIGN")
        make("cooking", required_capabilities=["cooking"])
        client = api(agent)

        def titles(query: str = "") -> list[str]:
            rows = client.get(f"/api/v1/tasks/ready{query}").json()["results"]
            return [row["title"] for row in rows]

        rows = client.get("/api/v1/tasks/ready").json()["results"]
        assert [row["title"] for row in rows] == ["high", "cooking", "low"]
        assert rows[0]["score"] == pytest.approx(0.515, abs=0.01)
        assert titles("?limit=1") == ["high"]
        assert titles("?capability=python") == ["high", "low"]
        assert titles("?capability=python&capability=cooking") == ["high", "cooking", "low"]
        assert titles("?phase=PHASE_DESIGN") == []
        assert len(services.claim_tasks(actor=agent, capabilities=[], limit=5)) == 2

    @pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=101", "colour=red"])
    def test_refuses_what_it_does_not_know(self, api, agent, ticket, query):
        answer = api(agent).get(f"/api/v1/tasks/ready?{query}")

        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (
            400,
            query.partition("=")[0],
        )

    def test_tells_a_score_part_by_part(self, api, viewer, outsider, make):
        task = make(priority=1)
        make(depends_on=[task.pk])
        path = f"/api/v1/tasks/{task.pk}/score"

        told = api(viewer).get(path).json()

        assert told["score"] == pytest.approx(0.515, abs=0.001)
        assert {part["name"]: part["points"] for part in told["parts"]} == pytest.approx(
            {"priority": 0.45, "age": 0, "deadline": 0, "blockers": 0.015, "retry": 0.05},
            abs=0.001,
        )
        assert api(outsider).get(path).status_code == 404


def test_a_column_of_another_team_says_nothing(other_team, make):
    services.seed_team(team=other_team)
    theirs = factories.make_actor(other_team, "otto", role="operator")
    services.open_ticket(actor=theirs, title="y", workflow=FLOW)

    assert waits(make()) == []
