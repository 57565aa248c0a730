"""How work on a task is tried, lost, ended; what a claim and a refusal say (K-11, K-13, K-14)."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from guardian import services as guardian
from guardian.errors import LeaseLost
from guardian.models import ResourceLock
from phases import services
from phases.errors import CancelRequested
from phases.models import Phase, ReadyTask, Task, Ticket


@pytest.fixture
def ticket(team, lead) -> Ticket:
    services.seed_team(team=team)
    return services.open_ticket(
        actor=lead, title="x", workflow="software_development", phase="PHASE_BACKLOG"
    )


@pytest.fixture
def make(lead, ticket):
    def new(**fields) -> Task:
        given = {"task_type": "noop", "title": "x", **fields}
        return services.create_task(actor=lead, ticket=ticket, **given)

    return new


def claim(actor) -> Task | None:
    claimed = services.claim_tasks(actor=actor, capabilities=[], lease_seconds=600)
    return claimed[0].task if claimed else None


def now(pk) -> Task:
    return Task.objects.get(pk=pk)


def past() -> object:
    return timezone.now() - timedelta(seconds=1)


def due_again() -> None:
    ReadyTask.objects.update(not_before=past())


class TestFailing:
    def fail(self, agent, held, message="x", **more) -> Task:
        return services.fail_task(
            actor=agent, task_id=held.pk, fence=held.fence, code="x", message=message, **more
        )

    def test_none_is_claimed_before_its_time(self, agent, make):
        make()
        task = self.fail(agent, claim(agent))

        early = claim(agent)
        due_again()

        assert (task.status, task.retry_count, early) == ("pending", 1, None)
        assert claim(agent).pk == task.pk

    def test_waits_as_long_as_it_is_told(self, agent, make):
        make()

        task = self.fail(agent, claim(agent), retry_after_seconds=500)

        seconds = (task.not_before - timezone.now()).total_seconds()
        assert 495 < seconds <= 500

    @pytest.mark.parametrize("tries", [1, 3, 9])
    def test_waits_longer_each_time_and_at_most_a_minute(self, agent, make, tries):
        task = make(max_retries=10)
        Task.objects.filter(pk=task.pk).update(retry_count=tries - 1)

        task = self.fail(agent, claim(agent))

        seconds = (task.not_before - timezone.now()).total_seconds()
        assert min(60, 2**tries * 0.75) - 2 <= seconds <= min(60, 2**tries * 1.25)

    @pytest.mark.parametrize(
        ("message", "permanent", "status"),
        [
            ("Permission denied: /etc", None, "failed"),
            ("the file was NOT FOUND", None, "failed"),
            ("the file was not found", False, "pending"),
            ("connection reset", True, "failed"),
            ("connection reset", None, "pending"),
        ],
    )
    def test_words_say_whether_it_is_for_good_unless_it_is_said(
        self, agent, make, message, permanent, status
    ):
        make()

        assert self.fail(agent, claim(agent), message, permanent=permanent).status == status

    @pytest.mark.parametrize(
        ("words", "message", "status"),
        [
            (["Out of Paper", 5, " "], "printer: out of paper", "failed"),
            (["out of paper"], "permission denied", "pending"),
            ([], "permission denied", "pending"),
            ("nonsense", "permission denied", "failed"),
        ],
    )
    def test_a_phase_may_have_words_of_its_own(self, agent, make, words, message, status):
        Phase.objects.filter(key="PHASE_BACKLOG").update(configuration={"permanent_errors": words})
        make()

        assert self.fail(agent, claim(agent), message).status == status

    def test_the_last_try_is_the_last(self, agent, make):
        task = make(max_retries=1)
        self.fail(agent, claim(agent))
        due_again()

        assert self.fail(agent, claim(agent)).status == "failed"
        assert now(task.pk).retry_count == 1


class TestDying:
    def test_three_times_before_a_heartbeat_is_the_end(self, agent, make):
        task = make()
        seen = []
        for _ in range(3):
            claim(agent)
            Task.objects.filter(pk=task.pk).update(lease_expires_at=past())
            services.sweep_leases()
            found = now(task.pk)
            seen.append((found.status, found.lease_losses, found.retry_count))
            due_again()

        assert seen == [("pending", 1, 1), ("pending", 2, 2), ("failed", 3, 2)]
        assert now(task.pk).error_code == "lease_lost"
        assert claim(agent) is None

    def test_after_a_heartbeat_it_costs_no_retry(self, agent, make):
        make()
        held = claim(agent)
        services.extend_lease(actor=agent, task_id=held.pk, fence=held.fence)
        Task.objects.filter(pk=held.pk).update(lease_expires_at=past())

        services.sweep_leases()

        assert (now(held.pk).lease_losses, now(held.pk).retry_count) == (1, 0)


class TestCancelling:
    LOCK = {"resource_type": "dock", "resource_id": "1", "mode": "exclusive"}

    def test_a_holder_hears_of_it_and_loses_it_after_its_grace(self, agent, lead, make):
        make(required_locks=[self.LOCK])
        held = claim(agent)
        services.cancel_task(actor=lead, task_id=held.pk, reason="not needed", grace_seconds=10)

        beat = services.extend_lease(actor=agent, task_id=held.pk, fence=held.fence)
        with pytest.raises(CancelRequested):
            services.complete_task(actor=agent, task_id=held.pk, fence=held.fence, result={})
        services.sweep_leases()
        within = now(held.pk).status
        Task.objects.filter(pk=held.pk).update(cancel_deadline=past())
        services.sweep_leases()

        assert (beat.cancel_reason, within) == ("not needed", "running")
        assert now(held.pk).status == "cancelled"
        assert not ResourceLock.objects.filter(task_id=held.pk, released_at=None).exists()

    def test_whoever_lost_it_is_told_why(self, api, agent, lead, make):
        make()
        held = claim(agent)
        services.cancel_task(actor=lead, task_id=held.pk, reason="not needed", grace_seconds=0)

        answer = api(agent).post(
            f"/api/v1/tasks/{held.pk}/heartbeat", {"fence": held.fence}, format="json"
        )

        assert (answer.status_code, answer.json()["code"]) == (409, "lease_lost")
        assert answer.json()["cancel"] == {"reason": "not needed"}

    def test_whoever_it_was_taken_from_is_told_why(self, agent, lead, make):
        make()
        held = claim(agent)
        services.release_task(actor=lead, task_id=held.pk, fence=None, reason="another host")

        with pytest.raises(LeaseLost) as refusal:
            services.extend_lease(actor=agent, task_id=held.pk, fence=held.fence)

        assert refusal.value.data["cancel"] == {"reason": "another host"}

    def test_who_gave_it_back_is_told_nothing_of_the_kind(self, agent, make):
        make()
        held = claim(agent)
        services.release_task(actor=agent, task_id=held.pk, fence=held.fence, reason="busy")

        with pytest.raises(LeaseLost) as refusal:
            services.extend_lease(actor=agent, task_id=held.pk, fence=held.fence)

        assert "cancel" not in refusal.value.data


class TestAnswers:
    def test_a_claim_says_all_that_its_holder_needs(self, api, agent, admin, make):
        guardian.build_first_pack()
        guardian.create_budget(actor=admin, scope_type="team", limit=Decimal(5), period="day")
        first = make(title="first")
        second = make(
            title="second",
            description="Do it",
            depends_on=[first.pk],
            required_locks=[TestCancelling.LOCK],
        )
        held = claim(agent)
        services.complete_task(
            actor=agent, task_id=first.pk, fence=held.fence, result={"summary": "s" * 900}
        )

        answer = api(agent).post("/api/v1/tasks/claim", {}, format="json").json()

        [task] = answer["tasks"]
        assert answer["retry_after_seconds"] == 5
        assert set(task) == {
            "id", "status", "ticket", "task_type", "title", "description", "priority", "score",
            "lease", "heartbeat_every_seconds", "prompt", "context", "context_summary",
            "dependencies", "locks", "budget_left", "feedback", "handoff", "memory",
        }  # fmt: skip
        assert (task["id"], task["status"]) == (str(second.pk), "assigned")
        assert set(task["ticket"]) == {"id", "number", "title", "phase"}
        assert task["dependencies"] == [{"id": str(first.pk), "summary": "s" * 500}]
        assert set(task["locks"][0]) == {"resource_type", "resource_id", "token"}
        assert Decimal(task["budget_left"]) == Decimal(5) - Decimal("0.054")
        assert (task["heartbeat_every_seconds"], task["lease"]["token"]) == (20, 1)
        assert task["feedback"] is None

    def test_without_a_budget_nothing_is_left_to_say(self, api, agent, make):
        make()

        [task] = api(agent).post("/api/v1/tasks/claim", {}, format="json").json()["tasks"]

        assert (task["budget_left"], task["dependencies"]) == (None, [])

    def test_a_lost_lease_names_who_has_it(self, api, agent, lead, make):
        make()
        old = claim(agent)
        services.release_task(actor=agent, task_id=old.pk, fence=old.fence, reason="busy")
        new = claim(lead)

        for verb, more in (
            ("heartbeat", {}),
            ("complete", {"result": {}}),
            ("fail", {"error": {"code": "x", "message": "y"}}),
            ("release", {"reason": "z"}),
        ):
            answer = api(agent).post(
                f"/api/v1/tasks/{old.pk}/{verb}", {"fence": old.fence, **more}, format="json"
            )
            told = answer.json()
            assert (answer.status_code, told["code"]) == (409, "lease_lost"), verb
            assert told["holder"] == {"id": str(lead.id), "name": lead.name}
            assert told["current_fence"] == new.fence
            assert told["lease_expires_at"] is not None
            assert told["remedy"]["text"] == "stop; claim again"

    def test_the_eleventh_lease_is_one_too_many(self, api, agent, make):
        for _ in range(11):
            make()
        client = api(agent)
        client.post("/api/v1/tasks/claim", {"limit": 10}, format="json")

        answer = client.post("/api/v1/tasks/claim", {}, format="json")

        assert answer.status_code == 429
        assert answer.headers["Retry-After"]
