"""How long a task may run: told, changed, ended; and what may be called off."""

from datetime import timedelta

import pytest
from django.utils import timezone

from phases import services
from phases.models import ReadyTask, Task, Ticket
from tests import factories


@pytest.fixture
def ticket(team, lead) -> Ticket:
    services.seed_team(team=team)
    return services.open_ticket(
        actor=lead, title="x", workflow="software_development", phase="PHASE_BACKLOG"
    )


@pytest.fixture
def hold(lead, agent, ticket):
    """A task that the agent has held for so many seconds."""

    def held(seconds: int, **fields) -> Task:
        task = services.create_task(
            actor=lead, ticket=ticket, task_type="noop", title="x", **fields
        )
        services.claim_tasks(actor=agent, capabilities=[], task_id=task.pk, lease_seconds=600)
        since = timezone.now() - timedelta(seconds=seconds)
        Task.objects.filter(pk=task.pk).update(claimed_at=since)
        return Task.objects.get(pk=task.pk)

    return held


def titles(answer) -> list[str]:
    return [row["id"] for row in answer.json()["results"]]


def test_is_told(api, viewer, outsider, hold):
    late = hold(100, timeout_seconds=60)
    free = hold(10)

    told = api(viewer).get(f"/api/v1/tasks/{late.pk}/timeout-status").json()
    endless = api(viewer).get(f"/api/v1/tasks/{free.pk}/timeout-status").json()

    assert (told["timed_out"], told["timeout_seconds"]) == (True, 60)
    assert told["remaining_seconds"] == pytest.approx(-40, abs=5)
    assert told["elapsed_seconds"] == pytest.approx(100, abs=5)
    assert (endless["timed_out"], endless["times_out_at"]) == (False, None)
    foreign = api(outsider).get(f"/api/v1/tasks/{late.pk}/timeout-status")
    assert foreign.status_code == 404


def test_is_changed_while_it_runs(api, lead, viewer, outsider, hold):
    task = hold(100)
    path, body = f"/api/v1/tasks/{task.pk}/set-timeout", {"timeout_seconds": 60}

    changed = api(lead).post(path, body, format="json")
    late = api(lead).get("/api/v1/tasks/timed-out")
    endless = api(lead).post(path, {"timeout_seconds": None}, format="json")

    assert (changed.status_code, changed.json()["timeout_seconds"]) == (200, 60)
    assert titles(late) == [str(task.pk)]
    assert endless.json()["timeout_seconds"] is None
    assert titles(api(lead).get("/api/v1/tasks/timed-out")) == []
    for wrong in ({}, {"timeout_seconds": 0}, {"timeout_seconds": 10**30}):
        refused = api(lead).post(path, wrong, format="json")
        assert refused.json()["errors"][0]["path"] == "timeout_seconds"
    assert api(viewer).post(path, body, format="json").status_code == 403
    assert api(outsider).post(path, body, format="json").status_code == 404


def test_stays_where_the_task_is_over(api, lead, hold):
    task = hold(1)
    services.cancel_task(actor=lead, task_id=task.pk, reason="not needed", grace_seconds=0)

    answer = api(lead).post(
        f"/api/v1/tasks/{task.pk}/set-timeout", {"timeout_seconds": 5}, format="json"
    )

    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_transition")


def test_what_ran_too_long_is_ended_at_once(api, lead, agent, hold):
    again = hold(100, timeout_seconds=60)
    last = hold(200, timeout_seconds=60, max_retries=0)
    fine = hold(10, timeout_seconds=60)

    listed = api(lead).get("/api/v1/tasks/timed-out")
    refused = api(agent).post("/api/v1/tasks/cleanup-timed-out", {}, format="json")
    cleaned = api(lead).post("/api/v1/tasks/cleanup-timed-out", {}, format="json")

    states = {t.pk: (t.status, t.error_code) for t in Task.objects.all()}
    assert titles(listed) == [str(last.pk), str(again.pk)]
    assert (refused.status_code, refused.json()["code"]) == (403, "authority_too_low")
    assert cleaned.json() == {"failed": 1, "retried": 1}
    assert states[again.pk] == ("pending", "timeout")
    assert states[last.pk] == ("failed", "timeout")
    assert states[fine.pk] == ("assigned", "")


def test_another_teams_work_is_left_alone(api, outsider, hold):
    task = hold(100, timeout_seconds=60)

    cleaned = api(outsider).post("/api/v1/tasks/cleanup-timed-out", {}, format="json")

    assert cleaned.json() == {"failed": 0, "retried": 0}
    assert Task.objects.get(pk=task.pk).status == "assigned"
    assert titles(api(outsider).get("/api/v1/tasks/timed-out")) == []


def test_what_may_be_called_off_is_listed_for_whoever_may(api, team, lead, agent, hold):
    task = hold(1)
    done = hold(1)
    services.complete_task(actor=agent, task_id=done.pk, fence=done.fence, result={})
    clerk = factories.make_actor(team, "cleo", role="author", authority=2)

    assert titles(api(lead).get("/api/v1/tasks/cancellable")) == [str(task.pk)]
    assert titles(api(clerk).get("/api/v1/tasks/cancellable")) == []


class TestCalledOffMeanwhile:
    """A cancel that waits for its holder, where the time of the task runs out first."""

    def test_ends_as_it_was_asked_to(self, lead, hold):
        task = hold(100, timeout_seconds=60)
        services.cancel_task(actor=lead, task_id=task.pk, reason="stop this now", grace_seconds=300)

        services.sweep_leases()

        task.refresh_from_db()
        assert (task.status, task.cancel_reason) == ("cancelled", "stop this now")
        assert task.cancel_deadline is None
        assert not ReadyTask.objects.filter(pk=task.pk).exists()

    def test_also_where_an_operator_cleans_up(self, api, lead, hold):
        task = hold(100, timeout_seconds=60, max_retries=0)
        services.cancel_task(actor=lead, task_id=task.pk, reason="stop this now", grace_seconds=300)

        cleaned = api(lead).post("/api/v1/tasks/cleanup-timed-out", {}, format="json")

        assert cleaned.json() == {"failed": 0, "retried": 0}
        assert Task.objects.get(pk=task.pk).status == "cancelled"

    def test_a_retry_knows_nothing_of_it(self, lead, agent, hold):
        task = hold(1)
        services.cancel_task(actor=lead, task_id=task.pk, reason="stop this now", grace_seconds=10)
        services.release_task(
            actor=agent, task_id=task.pk, fence=task.fence, reason="I was told to stop"
        )
        # As a release before this one left it: ended by its time, the order still there.
        Task.objects.filter(pk=task.pk).update(
            cancel_deadline=timezone.now() - timedelta(seconds=60)
        )

        again = services.retry_task(actor=lead, task_id=task.pk, reason="do it after all")
        [claim] = services.claim_tasks(actor=agent, capabilities=[], task_id=task.pk)
        beat = services.extend_lease(actor=agent, task_id=task.pk, fence=claim.taken.fence)
        services.sweep_leases()

        assert (again.cancel_deadline, again.cancel_reason) == (None, "")
        assert beat.cancel_reason is None
        assert Task.objects.get(pk=task.pk).status == "running"
