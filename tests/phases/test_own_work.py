"""Nobody judges their own work: not in a later round, nor each other, nor as others post it."""

import pytest

from guardian.errors import SelfReview
from phases import services
from phases.gates import evaluate
from phases.models import Phase, PhaseGateArtifact, ReadyTask, Task, Ticket
from tests import factories


@pytest.fixture
def phase(team) -> Phase:
    """DESIGN of the default workflow with reviews, whose gate asks for nothing else."""
    services.seed_team(team=team)
    Phase.objects.filter(workflow__key="default", key="PHASE_DESIGN").update(
        review_required=True, done_definitions=[], expected_outputs=[], entry_task=None
    )
    return Phase.objects.get(team=team, workflow__key="default", key="PHASE_DESIGN")


@pytest.fixture
def ticket(phase, lead) -> Ticket:
    return services.open_ticket(actor=lead, title="Retry storm", phase=phase.key)


@pytest.fixture
def other(team):
    return factories.make_actor(team, "coder-2", role="agent", kind="agent")


def hand_in(actor, lead, ticket: Ticket, task: Task | None = None) -> Task:
    task = task or services.create_task(actor=lead, ticket=ticket, task_type="d", title="Draw")
    ReadyTask.objects.update(reserved_until=None, reserved_for=None)
    [claim] = services.claim_tasks(actor=actor, capabilities=[], task_id=task.pk)
    services.complete_task(actor=actor, task_id=task.pk, fence=claim.task.fence, result={})
    return task


def look_at(actor, task: Task, *, passed: bool = True) -> None:
    review = services.start_review(actor=actor, task_id=task.pk)
    services.give_verdict(
        actor=actor, task_id=task.pk, iteration=review.iteration, passed=passed, feedback="more"
    )


def only(ticket: Ticket):
    [criterion] = evaluate(Ticket.objects.get(pk=ticket.pk)).criteria
    return criterion


class TestRounds:
    def test_the_author_of_an_earlier_round_does_not_review_a_later_one(
        self, ticket, lead, agent, other, api
    ):
        task = hand_in(agent, lead, ticket)
        look_at(lead, task, passed=False)
        hand_in(other, lead, ticket, task)

        answer = api(agent).post(f"/api/v1/tasks/{task.pk}/reviews", {}, format="json")

        assert (answer.status_code, answer.json()["code"]) == (403, "self_review")

    def test_nor_confirms_what_came_of_it(self, ticket, lead, admin, team, other):
        first = factories.make_actor(team, "otto", role="operator", authority=3)
        task = hand_in(first, lead, ticket)
        look_at(lead, task, passed=False)
        hand_in(other, lead, ticket, task)
        piece, _ = services.add_artifact(
            actor=other, ticket_id=ticket.pk, artifact_type="plan", content="the plan"
        )

        with pytest.raises(SelfReview):
            services.verify_artifact(
                actor=first, ticket_id=ticket.pk, artifact_id=piece.pk, confirm=True
            )


class TestReviewRequirement:
    @pytest.fixture(autouse=True)
    def asked(self, phase, lead):
        services.add_requirement(
            actor=lead, phase_id=phase.pk, key="two", kind="review", parameters={"count": 1}
        )

    def test_an_agent_counts_from_the_level_that_confirms_evidence(
        self, ticket, lead, agent, other, team
    ):
        monitor = factories.make_actor(team, "monitor", role="agent", kind="agent", authority=3)
        look_at(other, hand_in(agent, lead, ticket))
        by_level_1 = only(ticket)
        look_at(monitor, hand_in(agent, lead, ticket))

        assert (by_level_1.met, by_level_1.observer) == (False, "")
        assert (only(ticket).met, only(ticket).observer) == (True, "monitor")

    def test_two_who_review_each_other_are_both_authors(self, ticket, lead, team, admin):
        pair = [
            factories.make_actor(team, name, role="operator", authority=3)
            for name in ("ann", "ben")
        ]
        tasks = [hand_in(who, lead, ticket) for who in pair]
        for who, task in zip(reversed(pair), tasks, strict=True):
            look_at(who, task)
        each_other = only(ticket)
        look_at(admin, hand_in(pair[0], lead, ticket))

        assert not each_other.met
        assert only(ticket).met


class TestConfirming:
    def test_who_did_the_work_does_not_confirm_what_another_posts_of_it(
        self, lead, admin, agent, team, api
    ):
        services.seed_team(team=team)
        ticket = services.open_ticket(
            actor=lead, title="x", workflow="software_development", phase="PHASE_IMPLEMENTATION"
        )
        task = services.claim_tasks(actor=lead, capabilities=["code"])[0].task
        services.update_ticket(
            actor=lead, ticket_id=ticket.pk, version=None, changes={"assignee": agent.id}
        )
        piece, _ = services.add_artifact(
            actor=agent, ticket_id=ticket.pk, artifact_type="test_coverage",
            content={"percentage": 99},
        )  # fmt: skip
        address = f"/api/v1/tickets/{ticket.pk}/artifacts/{piece.pk}/verify"

        holding = api(lead).post(address, {"verdict": "confirm"}, format="json")
        services.complete_task(actor=lead, task_id=task.pk, fence=task.fence, result={})
        held = api(lead).post(address, {"verdict": "confirm"}, format="json")
        another = api(admin).post(address, {"verdict": "confirm"}, format="json")

        assert [a.status_code for a in (holding, held, another)] == [403, 403, 200]
        assert held.json()["code"] == "self_review"
        assert PhaseGateArtifact.objects.get(pk=piece.pk).verified_by == admin.user
