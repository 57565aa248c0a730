"""A closed ticket is taken up again; a task is tried once more, with its ticket where need be."""

from functools import cache
from typing import Any

import pytest

from guardian import relay
from guardian.models import Event
from phases import services
from phases.models import BoardColumn, PhaseHistory, Task, Ticket
from tests import factories
from tests.phases.test_restarts import archive, blocked, checkup, now, source  # noqa: F401  fixtures
from tests.phases.test_visits import fail as fail_task
from tests.phases.test_visits import work

FLOW = "software_development"
REASON = {"reason": "it is needed after all"}


@pytest.fixture
def ticket(team, lead) -> Ticket:
    services.seed_team(team=team)
    return services.open_ticket(actor=lead, title="Retry storm", workflow=FLOW)


@pytest.fixture
def cancelled(ticket, lead) -> Ticket:
    services.cancel_ticket(actor=lead, ticket_id=ticket.pk, reason="not needed")
    relay.run_once()
    return now(ticket)


@pytest.fixture
def client(api):
    """One client for each actor: what is sent again comes from the same token."""
    return cache(api)


@pytest.fixture
def reopen(client):
    def send(actor, ticket: Ticket, body: Any = REASON, **headers: str):
        return client(actor).post(
            f"/api/v1/tickets/{ticket.pk}/reopen", body, format="json", headers=headers
        )

    return send


@pytest.fixture
def retry(client):
    def send(actor, task: Task, **headers: str):
        return client(actor).post(
            f"/api/v1/tasks/{task.pk}/retry", REASON, format="json", headers=headers
        )

    return send


class TestReopening:
    def test_goes_on_where_it_was_with_the_tasks_called_off_with_it(
        self, cancelled, lead, agent, reopen
    ):
        answer = reopen(lead, cancelled)

        body = answer.json()
        assert (answer.status_code, body["status"], body["phase"], body["visit"]) == (
            200, "pending", "PHASE_REQUIREMENTS", 1,
        )  # fmt: skip
        assert answer.headers["ETag"] == f'"v{body["version"]}"'
        task = Task.objects.get(ticket=cancelled)
        assert (task.status, task.error_code, task.error_message) == ("pending", "", "")
        assert services.claim_tasks(actor=agent, capabilities=["analysis"])[0].task.pk == task.pk

    def test_history_and_event_keep_the_reason(self, cancelled, lead, reopen):
        reopen(lead, cancelled)

        row = PhaseHistory.objects.filter(ticket=cancelled).order_by("id").last()
        assert (row.kind, row.transition_reason, row.transitioned_by_id) == (
            "reopen", REASON["reason"], lead.id,
        )  # fmt: skip
        event = Event.objects.get(kind="phases.ticket.reopened")
        assert (event.reason, event.actor_id) == (REASON["reason"], lead.id)

    def test_a_task_called_off_by_hand_before_stays_so(self, ticket, lead, reopen):
        [entry] = ticket.tasks.all()
        other = services.create_task(actor=lead, ticket=ticket, task_type="x", title="other")
        services.cancel_task(actor=lead, task_id=other.pk, reason="a double")
        services.cancel_ticket(actor=lead, ticket_id=ticket.pk, reason="not needed")

        reopen(lead, ticket)

        assert Task.objects.get(pk=entry.pk).status == "pending"
        assert Task.objects.get(pk=other.pk).status == "cancelled"

    def test_what_had_failed_here_is_put_up_again(self, ticket, lead, agent, reopen):
        task = services.claim_tasks(actor=agent, capabilities=["analysis"])[0].task
        services.fail_task(
            actor=agent, task_id=task.pk, fence=task.fence, code="x", message="m", permanent=True
        )
        services.cancel_ticket(actor=lead, ticket_id=ticket.pk, reason="not needed")

        reopen(lead, ticket)

        assert [t.status for t in Task.objects.filter(ticket=ticket)] == ["pending"]

    def test_completed_work_is_not_done_again(self, ticket, lead, agent, reopen):
        task = services.claim_tasks(actor=agent, capabilities=["analysis"])[0].task
        services.complete_task(actor=agent, task_id=task.pk, fence=task.fence, result={})
        services.cancel_ticket(actor=lead, ticket_id=ticket.pk, reason="not needed")

        reopen(lead, ticket)

        assert [t.status for t in Task.objects.filter(ticket=ticket)] == ["completed"]

    def test_in_a_full_column_it_waits_for_a_place(self, cancelled, lead, agent, reopen):
        BoardColumn.objects.filter(pk=cancelled.column_id).update(wip_limit=1)
        services.open_ticket(actor=lead, title="another", workflow=FLOW)

        answer = reopen(lead, cancelled)

        assert answer.json()["admitted_at"] is None
        column = BoardColumn.objects.get(pk=cancelled.column_id)
        assert (column.admitted_count, column.queued_count) == (1, 1)
        assert services.claim_tasks(
            actor=agent, capabilities=["analysis"], ticket_id=cancelled.pk
        ) == []  # fmt: skip

    def test_a_blocked_one_is_blocked_again_and_its_retry_works(
        self,
        blocked,  # noqa: F811  a fixture
        lead,
        reopen,
    ):
        services.cancel_ticket(actor=lead, ticket_id=blocked.pk, reason="not needed")

        answer = reopen(lead, blocked)
        services.retry_ticket(actor=lead, ticket_id=blocked.pk, reason="once more")

        assert (answer.json()["phase"], answer.json()["is_blocked"]) == ("PHASE_BLOCKED", True)
        assert [t.status for t in Task.objects.filter(ticket=blocked)] == ["pending"]

    def test_twice_under_one_key_has_one_effect(self, cancelled, lead, reopen):
        headers = {"Idempotency-Key": "once"}

        answers = [reopen(lead, cancelled, **headers) for _ in range(2)]

        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[1].headers["Idempotency-Replayed"] == "true"
        assert Event.objects.filter(kind="phases.ticket.reopened").count() == 1


class TestRefusedReopening:
    def test_an_open_ticket_is_open(self, ticket, lead, reopen):
        answer = reopen(lead, ticket)

        assert (answer.status_code, answer.json()["code"]) == (409, "illegal_transition")
        assert answer.json()["allowed"] == ["failed", "cancelled"]

    def test_a_completed_ticket_stays_closed(self, ticket, lead, reopen):
        Ticket.objects.filter(pk=ticket.pk).update(status="in_progress")
        Ticket.objects.filter(pk=ticket.pk).update(status="completed")

        answer = reopen(lead, ticket)

        assert (answer.status_code, answer.json()["code"]) == (409, "ticket_closed")
        assert answer.json()["remedy"]["text"].endswith("open a new ticket.")

    def test_an_older_version_is_refused(self, cancelled, lead, reopen):
        answer = reopen(lead, cancelled, **{"If-Match": '"v1"'})

        assert answer.status_code == 412
        assert now(cancelled).status == "cancelled"

    @pytest.mark.parametrize("body", [{}, {"reason": "no"}, {"reason": 5}, {**REASON, "x": 1}])
    def test_it_needs_a_reason_and_nothing_else(self, cancelled, lead, reopen, body):
        assert reopen(lead, cancelled, body).status_code == 400

    def test_level_3_is_needed_also_of_its_creator(self, team, lead, reopen):
        services.seed_team(team=team)
        author = factories.make_actor(team, "anna", role="author")
        mine = services.open_ticket(actor=author, title="mine", workflow=FLOW)
        services.cancel_ticket(actor=author, ticket_id=mine.pk, reason="not needed")

        answer = reopen(author, mine)

        assert (answer.status_code, answer.json()["code"]) == (403, "authority_too_low")

    def test_an_agent_of_level_3_needs_a_part_in_it(self, team, cancelled, reopen):
        agent = factories.make_actor(team, "coder-3", role="agent", kind="agent", authority=3)

        answer = reopen(agent, cancelled)

        assert (answer.status_code, answer.json()["code"]) == (403, "not_yours")

    def test_a_viewer_and_another_team_cannot(self, cancelled, viewer, outsider, reopen):
        assert reopen(viewer, cancelled).status_code == 403
        assert reopen(outsider, cancelled).status_code == 404
        assert now(cancelled).status == "cancelled"


class TestRetryingATask:
    def test_of_a_blocked_ticket_it_is_the_tickets_retry(
        self,
        blocked,  # noqa: F811  a fixture
        lead,
        agent,
        retry,
    ):
        [failed] = Task.objects.filter(ticket=blocked)

        answer = retry(lead, failed)

        assert (answer.status_code, answer.json()["status"]) == (200, "pending")
        ticket = now(blocked)
        assert (ticket.phase.key, ticket.is_blocked, ticket.visit) == ("PHASE_INTAKE", False, 1)
        row = PhaseHistory.objects.filter(ticket=blocked).order_by("id").last()
        assert (row.kind, row.transition_reason) == ("unblock", REASON["reason"])
        assert work(agent, blocked, "inventory") == "PHASE_CHECKS"

    def test_one_that_was_called_off_comes_back_itself(
        self,
        checkup,  # noqa: F811  a fixture
        lead,
        retry,
    ):
        [task] = Task.objects.filter(ticket=checkup)
        services.cancel_task(actor=lead, task_id=task.pk, reason="a mistake")
        relay.run_once()
        assert now(checkup).phase.key == "PHASE_BLOCKED"

        retry(lead, task)

        assert now(checkup).phase.key == "PHASE_INTAKE"
        assert [(t.pk, t.status) for t in checkup.tasks.all()] == [(task.pk, "pending")]

    def test_a_full_column_takes_the_ticket_in_its_queue(
        self,
        blocked,  # noqa: F811  a fixture
        lead,
        retry,
    ):
        BoardColumn.objects.filter(workflow=blocked.workflow, key="intake").update(wip_limit=1)
        services.open_ticket(
            actor=lead, title="x", workflow="repo_checkup", context={"source": {"kind": "self"}}
        )

        retry(lead, blocked.tasks.get())

        ticket = now(blocked)
        assert (ticket.phase.key, ticket.admitted_at) == ("PHASE_INTAKE", None)

    def test_of_another_phase_the_right_call_is_named(
        self,
        checkup,  # noqa: F811  a fixture
        lead,
        agent,
        retry,
    ):
        old = services.create_task(
            actor=lead, ticket=checkup, task_type="x", title="old", required_capabilities=["rust"]
        )
        services.cancel_task(actor=lead, task_id=old.pk, reason="not now")
        work(agent, checkup, "inventory")
        fail_task(agent, checkup, "checks")

        answer = retry(lead, old)

        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (409, "ticket_blocked")
        assert f"/api/v1/tickets/{checkup.pk}/transition" in problem["remedy"]["text"]
        assert now(checkup).phase.key == "PHASE_BLOCKED"

    def test_of_a_closed_ticket_it_says_to_reopen_it(self, cancelled, lead, retry):
        answer = retry(lead, cancelled.tasks.get())

        assert (answer.status_code, answer.json()["code"]) == (409, "ticket_closed")
        assert cancelled.tasks.get().status == "cancelled"

    def test_twice_under_one_key_has_one_effect(
        self,
        blocked,  # noqa: F811  a fixture
        lead,
        retry,
    ):
        task = blocked.tasks.get()

        answers = [retry(lead, task, **{"Idempotency-Key": "once"}) for _ in range(2)]

        assert [answer.status_code for answer in answers] == [200, 200]
        assert Event.objects.filter(kind="phases.task.retried").count() == 1

    def test_another_team_and_lower_levels_cannot(
        self,
        blocked,  # noqa: F811  a fixture
        outsider,
        agent,
        team,
        retry,
    ):
        task = blocked.tasks.get()
        stranger = factories.make_actor(team, "coder-3", role="agent", kind="agent", authority=3)

        codes = [retry(actor, task).status_code for actor in (outsider, agent, stranger)]

        assert codes == [404, 403, 403]
        assert blocked.tasks.get().status == "failed"
