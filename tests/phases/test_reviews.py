"""A second pair of eyes: handed in, looked at by somebody else, passed, sent back, escalated."""

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.utils import timezone

from guardian import relay
from guardian import services as guardian
from guardian.errors import IllegalTransition, Invalid, LeaseLost, SelfReview
from guardian.models import CostRecord, Event, ResourceLock
from phases import services
from phases.errors import ReviewLost, ReviewTaken
from phases.models import Phase, ReadyTask, Review, Task, Ticket
from tests import factories

RESULT = {"summary": "done", "outputs": {"n": 1}}
FEEDBACK = "the edge case of an empty list is missing"


@pytest.fixture
def reviewer(team):
    return factories.make_actor(team, "rita", role="operator", authority=3)


@pytest.fixture
def ticket(team, lead) -> Ticket:
    services.seed_team(team=team)
    Phase.objects.filter(key="PHASE_BACKLOG").update(review_required=True, max_review_iterations=3)
    return services.open_ticket(
        actor=lead, title="x", workflow="software_development", phase="PHASE_BACKLOG"
    )


@pytest.fixture
def task(ticket, lead) -> Task:
    return services.create_task(actor=lead, ticket=ticket, task_type="noop", title="first")


def claim(actor, task: Task) -> Task:
    return services.claim_tasks(actor=actor, capabilities=[], task_id=task.pk)[0].task


def hand_in(actor, task: Task, result=RESULT) -> int:
    fence = claim(actor, task).fence
    done = services.complete_task(actor=actor, task_id=task.pk, fence=fence, result=result)
    assert (done.status, done.unblocked) == ("under_review", [])
    return fence


def look_at(actor, task: Task, *, passed: bool, feedback: str = FEEDBACK) -> list[UUID]:
    review = services.start_review(actor=actor, task_id=task.pk)
    return services.give_verdict(
        actor=actor,
        task_id=task.pk,
        iteration=review.iteration,
        passed=passed,
        feedback="" if passed else feedback,
    )[1]


def status(task: Task) -> str:
    return Task.objects.get(pk=task.pk).status


def kinds(task: Task) -> list[str]:
    told = Event.objects.filter(subject_id=str(task.pk)).order_by("created_at", "id")
    return [kind.removeprefix("phases.task.") for kind in told.values_list("kind", flat=True)]


class TestHandingIn:
    def test_opens_a_review_and_lets_the_task_go(self, task, agent):
        hand_in(agent, task)

        found = Task.objects.get(pk=task.pk)
        review = Review.objects.get(task=task)
        assert (found.status, found.holder, found.last_holder) == (
            "under_review",
            None,
            agent.user,
        )
        assert (found.result, found.lease_expires_at) == (RESULT, None)
        assert (review.iteration, review.status, review.author) == (1, "requested", agent.user)
        assert kinds(task)[-1] == "review_requested"

    def test_frees_locks_and_settles_what_was_reserved(self, ticket, lead, agent, admin):
        guardian.build_first_pack()
        guardian.create_budget(actor=admin, scope_type="team", limit=Decimal(5), period="day")
        lock = {"resource_type": "dock", "resource_id": "1", "mode": "exclusive"}
        task = services.create_task(
            actor=lead, ticket=ticket, task_type="noop", title="first", required_locks=[lock]
        )

        hand_in(agent, task)

        assert not ResourceLock.objects.filter(task_id=task.pk, released_at=None).exists()
        assert not guardian.holds_anything(task_id=task.pk)
        assert CostRecord.objects.filter(task_id=task.pk, kind="release").count() == 1

    def test_told_again_answers_the_same_whatever_became_of_it(self, task, agent, reviewer):
        fence = hand_in(agent, task)
        again = {"actor": agent, "task_id": task.pk, "fence": fence, "result": RESULT}

        while_open = services.complete_task(**again)
        look_at(reviewer, task, passed=True)
        when_over = services.complete_task(**again)

        assert (while_open.status, while_open.unblocked) == ("under_review", [])
        assert (when_over.status, when_over.unblocked) == ("under_review", [])
        assert Review.objects.count() == 1
        with pytest.raises(LeaseLost):
            services.complete_task(**{**again, "result": {"summary": "another"}})

    def test_with_a_claim_for_the_next_one(self, ticket, lead, task, agent):
        services.create_task(actor=lead, ticket=ticket, task_type="noop", title="second")
        fence = claim(agent, task).fence

        over = services.complete_and_claim(
            actor=agent, task_id=task.pk, fence=fence, result=RESULT, capabilities=[]
        )

        assert over.status == "under_review"
        assert [claimed.task.title for claimed in over.claimed] == ["second"]

    def test_an_older_fence_and_a_cancelled_task_are_refused_as_ever(self, task, agent, lead):
        fence = claim(agent, task).fence
        services.cancel_task(actor=lead, task_id=task.pk, reason="not now", grace_seconds=60)

        with pytest.raises(Exception, match="being cancelled"):
            services.complete_task(actor=agent, task_id=task.pk, fence=fence, result=RESULT)
        with pytest.raises(LeaseLost):
            services.complete_task(actor=agent, task_id=task.pk, fence=fence - 1, result=RESULT)

        assert not Review.objects.exists()

    def test_a_dependent_waits_until_it_passed(self, ticket, lead, task, agent, reviewer):
        second = services.create_task(
            actor=lead, ticket=ticket, task_type="noop", title="second", depends_on=[task.pk]
        )
        hand_in(agent, task)
        before = ReadyTask.objects.filter(task=second).exists()

        unblocked = look_at(reviewer, task, passed=True)

        assert (before, unblocked) == (False, [second.pk])
        assert ReadyTask.objects.filter(task=second).exists()
        assert kinds(second)[-1] == "readied"
        told = Event.objects.get(subject_id=str(task.pk), kind="phases.task.completed")
        assert told.data["unblocked"] == [str(second.pk)]
        assert told.actor_id == reviewer.id


class TestReviewing:
    def test_an_author_never_reviews_its_own_work(self, task, agent):
        hand_in(agent, task)

        with pytest.raises(SelfReview):
            services.start_review(actor=agent, task_id=task.pk)

    def test_one_reviewer_at_a_time(self, task, agent, reviewer, lead):
        hand_in(agent, task)
        first = services.start_review(actor=reviewer, task_id=task.pk)

        with pytest.raises(ReviewTaken) as refusal:
            services.start_review(actor=lead, task_id=task.pk)
        again = services.start_review(actor=reviewer, task_id=task.pk)

        assert refusal.value.data["holder"]["id"] == str(reviewer.id)
        assert status(task) == "validating"
        assert again.lease_expires_at > first.lease_expires_at

    def test_a_silent_reviewer_loses_it(self, task, agent, reviewer, lead):
        hand_in(agent, task)
        review = services.start_review(actor=reviewer, task_id=task.pk)
        Review.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        with pytest.raises(ReviewLost):
            services.give_verdict(
                actor=reviewer, task_id=task.pk, iteration=review.iteration, passed=True
            )

        swept = services.sweep_reviews()

        assert (swept, services.sweep_reviews(), status(task)) == (1, 0, "under_review")
        assert kinds(task)[-1] == "review_expired"
        assert services.start_review(actor=lead, task_id=task.pk).reviewer == lead.user

    def test_a_verdict_needs_a_review_that_was_begun(self, task, agent, reviewer):
        hand_in(agent, task)

        with pytest.raises(ReviewLost):
            services.give_verdict(actor=reviewer, task_id=task.pk, iteration=1, passed=True)
        with pytest.raises(Invalid, match="feedback"):
            services.give_verdict(actor=reviewer, task_id=task.pk, iteration=1, passed=False)

    def test_what_nobody_handed_in_cannot_be_reviewed(self, task, reviewer):
        with pytest.raises(IllegalTransition):
            services.start_review(actor=reviewer, task_id=task.pk)

    def test_the_same_verdict_again_changes_nothing(self, task, agent, reviewer):
        hand_in(agent, task)
        look_at(reviewer, task, passed=False)
        before = kinds(task)

        again, _ = services.give_verdict(
            actor=reviewer, task_id=task.pk, iteration=1, passed=False, feedback=FEEDBACK
        )

        assert (again.status, kinds(task)) == ("needs_work", before)
        with pytest.raises(ReviewLost):
            services.give_verdict(actor=reviewer, task_id=task.pk, iteration=1, passed=True)


class TestSentBack:
    def test_who_did_it_has_it_first(self, task, agent, reviewer, team):
        other = factories.make_actor(team, "coder-2", role="agent", kind="agent")
        hand_in(agent, task)

        look_at(reviewer, task, passed=False)

        ready = ReadyTask.objects.get(task=task)
        seconds = (ready.reserved_until - timezone.now()).total_seconds()
        assert (ready.reserved_for, ready.rework) == (agent.id, True)
        assert 590 < seconds <= 600
        assert services.claim_tasks(actor=other, capabilities=[]) == []
        [claimed] = services.claim_tasks(actor=agent, capabilities=[])
        assert claimed.task.pk == task.pk
        assert services.feedback_of(task=claimed.task) == FEEDBACK

    def test_anybody_has_it_after_ten_minutes(self, task, agent, reviewer, team):
        other = factories.make_actor(team, "coder-2", role="agent", kind="agent")
        hand_in(agent, task)
        look_at(reviewer, task, passed=False)

        ReadyTask.objects.update(reserved_until=timezone.now() - timedelta(seconds=1))

        assert len(services.claim_tasks(actor=other, capabilities=[])) == 1

    def test_it_stays_kept_when_its_ticket_was_blocked_meanwhile(
        self, ticket, task, agent, reviewer, lead
    ):
        hand_in(agent, task)
        look_at(reviewer, task, passed=False)
        services.transition(
            actor=lead, ticket_id=ticket.pk, to_phase="PHASE_BLOCKED", reason="wait a little"
        )

        services.retry_ticket(actor=lead, ticket_id=ticket.pk, reason="go on with it")

        assert ReadyTask.objects.get(task=task).reserved_for == agent.id

    def test_the_third_refusal_needs_a_person(self, task, agent, reviewer):
        for _ in range(3):
            hand_in(agent, task)
            look_at(reviewer, task, passed=False)

        found = Task.objects.get(pk=task.pk)
        assert (found.status, found.review_iteration) == ("blocked", 3)
        assert found.blocked_reason.startswith("review_escalated: sent back 3 times")
        assert [r.status for r in Review.objects.order_by("iteration")] == [
            "needs_work",
            "needs_work",
            "escalated",
        ]
        assert kinds(task)[-1] == "review_escalated"
        assert not ReadyTask.objects.filter(task=task).exists()


class TestDeciding:
    @pytest.fixture
    def escalated(self, task, agent, reviewer) -> Task:
        Phase.objects.filter(key="PHASE_BACKLOG").update(max_review_iterations=1)
        hand_in(agent, task)
        look_at(reviewer, task, passed=False)
        return task

    def decide(self, actor, task, decision):
        return services.decide_review(
            actor=actor, task_id=task.pk, decision=decision, reason="seen by a person"
        )

    def test_completed_frees_what_waits(self, ticket, lead, escalated):
        second = services.create_task(
            actor=lead, ticket=ticket, task_type="noop", title="second", depends_on=[escalated.pk]
        )

        done = self.decide(lead, escalated, "completed")

        assert (done.status, done.blocked_reason) == ("completed", None)
        assert ReadyTask.objects.filter(task=second).exists()
        assert kinds(escalated)[-2:] == ["review_decided", "completed"]

    def test_one_more_round_goes_to_who_did_it_with_the_reason(self, lead, agent, escalated):
        self.decide(lead, escalated, "needs_work")

        held = claim(agent, escalated)
        assert services.feedback_of(task=held) == (
            f"{FEEDBACK}\n\nlena decided needs work: seen by a person"
        )

    def test_one_more_round_is_one(self, lead, agent, reviewer, escalated):
        self.decide(lead, escalated, "needs_work")
        hand_in(agent, escalated)

        look_at(reviewer, escalated, passed=False)

        assert status(escalated) == "blocked"

    def test_failed_is_told_to_what_waits(self, ticket, lead, escalated):
        second = services.create_task(
            actor=lead, ticket=ticket, task_type="noop", title="second", depends_on=[escalated.pk]
        )

        self.decide(lead, escalated, "failed")
        relay.run_once()

        assert status(escalated) == "failed"
        assert Task.objects.get(pk=second.pk).blocked_reason.startswith("dependency_failed")

    def test_only_by_a_person_of_level_3_who_is_not_the_author(self, team, escalated, agent, lead):
        clerk = factories.make_actor(team, "cleo", role="author", authority=2)

        with pytest.raises(Exception, match="person"):
            self.decide(agent, escalated, "completed")
        with pytest.raises(Exception, match="authority"):
            self.decide(clerk, escalated, "completed")
        Review.objects.update(reviewer=None)
        Review.objects.update(author=lead.user)
        with pytest.raises(SelfReview):
            self.decide(lead, escalated, "completed")

    def test_nothing_else_is_decided(self, lead, task, agent):
        hand_in(agent, task)

        with pytest.raises(IllegalTransition):
            self.decide(lead, task, "completed")


class TestCalledOff:
    def test_while_it_waits_for_a_reviewer(self, task, agent, lead, reviewer):
        hand_in(agent, task)

        services.cancel_task(actor=lead, task_id=task.pk, reason="not needed")

        assert status(task) == "cancelled"
        with pytest.raises(IllegalTransition):
            services.start_review(actor=reviewer, task_id=task.pk)

    def test_while_somebody_looks_at_it(self, ticket, task, agent, lead, reviewer):
        hand_in(agent, task)
        services.start_review(actor=reviewer, task_id=task.pk)

        services.cancel_ticket(actor=lead, ticket_id=ticket.pk, reason="not needed")

        assert (status(task), Review.objects.get().status) == ("cancelled", "requested")
        with pytest.raises(ReviewLost):
            services.give_verdict(actor=reviewer, task_id=task.pk, iteration=1, passed=True)

    def test_retried_it_is_reviewed_anew_and_counts_from_zero(self, task, agent, lead, reviewer):
        hand_in(agent, task)
        look_at(reviewer, task, passed=False)
        services.cancel_task(actor=lead, task_id=task.pk, reason="not needed")

        services.retry_task(actor=lead, task_id=task.pk, reason="needed after all")
        hand_in(agent, task)

        assert Task.objects.get(pk=task.pk).review_iteration == 0
        assert [r.iteration for r in Review.objects.order_by("iteration")] == [1, 2]

    def test_its_holder_can_neither_release_nor_fail_what_was_handed_in(self, task, agent):
        fence = hand_in(agent, task)

        with pytest.raises(LeaseLost):
            services.release_task(actor=agent, task_id=task.pk, fence=fence, reason="no")
        with pytest.raises(LeaseLost):
            services.fail_task(
                actor=agent, task_id=task.pk, fence=fence, code="x", message="invalid"
            )

        assert status(task) == "under_review"


class TestApi:
    def test_a_round_of_it(self, api, task, agent, reviewer):
        mine, theirs = api(agent), api(reviewer)
        path = f"/api/v1/tasks/{task.pk}"
        fence = mine.post(f"{path}/claim", {}, format="json").json()["tasks"][0]["lease"]["token"]

        done = mine.post(
            f"{path}/complete", {"fence": fence, "result": RESULT}, format="json"
        ).json()
        own = mine.post(f"{path}/reviews", {}, format="json")
        begun = theirs.post(f"{path}/reviews", {}, format="json")
        body = {
            "passed": False,
            "feedback": FEEDBACK,
            "evidence": [{"log": "x"}],
            "recommendations": ["add a test"],
        }
        told = theirs.post(f"{path}/reviews/1/verdict", body, format="json")
        again = mine.post("/api/v1/tasks/claim", {}, format="json").json()["tasks"][0]
        listed = theirs.get(f"{path}/reviews").json()["results"]

        assert done == {"status": "under_review", "unblocked": []}
        assert (own.status_code, own.json()["code"]) == (403, "self_review")
        assert (begun.status_code, begun.json()["status"]) == (201, "validating")
        assert (told.status_code, told.json()["status"]) == (200, "needs_work")
        assert again["feedback"] == FEEDBACK
        assert [(r["iteration"], r["status"], r["evidence"]) for r in listed] == [
            (1, "needs_work", [{"log": "x"}])
        ]

    def test_a_person_decides(self, api, task, agent, reviewer, lead):
        Phase.objects.filter(key="PHASE_BACKLOG").update(max_review_iterations=1)
        hand_in(agent, task)
        look_at(reviewer, task, passed=False)
        body = {"decision": "completed", "reason": "good enough for now"}

        refused = api(agent).post(f"/api/v1/tasks/{task.pk}/decide", body, format="json")
        done = api(lead).post(f"/api/v1/tasks/{task.pk}/decide", body, format="json")

        assert refused.status_code == 403
        assert (done.status_code, done.json()["status"]) == (200, "completed")

    def test_a_foreign_task_is_not_there(self, api, task, agent, outsider):
        hand_in(agent, task)
        theirs = api(outsider)
        path = f"/api/v1/tasks/{task.pk}"

        answers = [
            theirs.get(f"{path}/reviews"),
            theirs.post(f"{path}/reviews", {}, format="json"),
            theirs.post(f"{path}/reviews/1/verdict", {"passed": True}, format="json"),
            theirs.post(
                f"{path}/decide",
                {"decision": "failed", "reason": "none of mine"},
                format="json",
            ),
        ]

        assert [answer.status_code for answer in answers] == [404] * 4
