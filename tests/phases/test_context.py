"""What goes on with a ticket: nothing of what it was about before, and never too much."""

import json
import time
from typing import Any

import pytest

from guardian import relay
from phases import context, services
from phases.context import KEY_CHARACTERS, LIMIT_BYTES
from phases.models import PhaseGateArtifact, Task, Ticket
from phases.panel import panel
from tests.phases.test_evidence import OBSERVATION
from tests.phases.test_visits import back_to, fail

SELF = {"kind": "self"}
BIG = LIMIT_BYTES - 1000


@pytest.fixture
def flow(team):
    services.seed_team(team=team)


@pytest.fixture
def ticket(flow, lead) -> Ticket:
    return services.open_ticket(
        actor=lead, title="x", workflow="software_development", phase="PHASE_BACKLOG"
    )


@pytest.fixture
def checkup(flow, lead, monkeypatch) -> Ticket:
    # Any other source is another one; whether it can be opened is not what is asked here.
    monkeypatch.setitem(context._kinds, "repository", lambda *_: None)
    return services.open_ticket(
        actor=lead, title="Look", workflow="repo_checkup", context={"source": SELF}
    )


def now(ticket: Ticket) -> Ticket:
    return Ticket.objects.select_related("phase", "previous_phase", "workflow", "column").get(
        pk=ticket.pk
    )


def replace_source(lead, ticket: Ticket, name: str) -> None:
    changes = {"context": {"source": {"kind": name}}}
    services.update_ticket(actor=lead, ticket_id=ticket.pk, version=None, changes=changes)


def end(agent, ticket: Ticket, capability: str, **result: Any) -> Task:
    task = services.claim_tasks(actor=agent, capabilities=[capability], ticket_id=ticket.pk)[0].task
    services.complete_task(actor=agent, task_id=task.pk, fence=task.fence, result=result)
    return task


def on_to(lead, ticket: Ticket, phase: str) -> None:
    services.transition(
        actor=lead, ticket_id=ticket.pk, to_phase=phase, override=True, reason="shown by hand"
    )


class TestAfterARestart:
    @pytest.fixture
    def restarted(self, checkup, lead, agent) -> Ticket:
        end(agent, checkup, "inventory", summary="OLD: 7 files", outputs={"files": "OLD"})
        on_to(lead, checkup, "PHASE_CHECKS")
        replace_source(lead, checkup, "other")
        return checkup

    def test_only_what_was_found_in_the_new_source_goes_on(self, restarted, lead, agent):
        end(agent, restarted, "inventory", summary="NEW: 3 files", outputs={"files": "NEW"})
        on_to(lead, restarted, "PHASE_CHECKS")

        ticket = now(restarted)
        [found] = ticket.context["phases"]["PHASE_INTAKE"]["tasks"]
        assert found["outputs"] == {"files": "NEW"}
        assert ticket.context_summary == "- Intake: NEW: 3 files"

    def test_a_claim_is_told_nothing_of_the_old_source(self, restarted, api, agent):
        relay.run_once()

        body = {"capabilities": ["inventory"]}
        [task] = api(agent).post("/api/v1/tasks/claim", body, format="json").json()["tasks"]

        assert "OLD" not in json.dumps(task)
        assert task["memory"]["similar"] == []

    def test_a_claim_of_another_ticket_may_be_told_of_it(self, restarted, api, lead, agent):
        relay.run_once()
        other = services.open_ticket(
            actor=lead, title="Look", workflow="repo_checkup", context={"source": SELF}
        )

        body = {"capabilities": ["inventory"], "ticket_id": str(other.pk)}
        [task] = api(agent).post("/api/v1/tasks/claim", body, format="json").json()["tasks"]

        assert "OLD" in json.dumps(task["memory"]["similar"])

    def test_the_gate_of_a_phase_it_was_in_before_counts_no_old_work(self, checkup, lead, agent):
        end(agent, checkup, "inventory")
        on_to(lead, checkup, "PHASE_CHECKS")
        end(agent, checkup, "checks")
        replace_source(lead, checkup, "other")

        result, _ = services.validate_gate(actor=lead, ticket_id=checkup.pk, phase="PHASE_CHECKS")

        reasons = [r["reason"] for r in result.validation_result["requirements"]]
        assert "No task of this phase exists yet." in reasons

    def test_the_panel_counts_new_tasks_and_shows_old_ones_apart(self, restarted, lead):
        shown = panel(now(restarted), lead)

        assert (shown["tasks_done"], shown["tasks_counted"]) == (0, 1)
        assert [t["row"].visit for t in shown["tasks"]] == [3]
        assert [t["row"].visit for t in shown["tasks_of_before"]] == [1, 2]

    def test_the_report_of_an_old_source_is_not_shown_as_the_result(self, checkup, lead, agent):
        task = services.claim_tasks(actor=agent, capabilities=["inventory"])[0].task
        services.record_evidence(
            actor=agent,
            ticket_id=checkup.pk,
            task_id=task.pk,
            artifact_type="report",
            content="OLD",
            observation=OBSERVATION,
        )
        services.release_task(actor=agent, task_id=task.pk, fence=task.fence, reason="stopped")
        replace_source(lead, checkup, "other")
        for phase, capability in (
            ("CHECKS", "inventory"),
            ("REPORT", "checks"),
            ("DONE", "report"),
        ):
            end(agent, checkup, capability)
            on_to(lead, checkup, f"PHASE_{phase}")

        ticket = now(checkup)
        assert (ticket.status, panel(ticket, lead)["report"]) == ("completed", "")
        assert PhaseGateArtifact.objects.get().artifact_content == "OLD"


class TestRetryOutOfBlocked:
    def visits(self, ticket: Ticket, status: str) -> list[int]:
        tasks = Task.objects.filter(ticket=ticket, task_type="run_checks", status=status)
        return list(tasks.order_by("id").values_list("visit", flat=True))

    def block(self, checkup, lead, agent) -> Task:
        end(agent, checkup, "inventory")
        on_to(lead, checkup, "PHASE_CHECKS")
        return fail(agent, checkup, "checks")

    def retry(self, lead, ticket: Ticket) -> None:
        services.retry_ticket(actor=lead, ticket_id=ticket.pk, reason="the engine is back")

    def test_leaves_what_failed_for_the_old_source(self, checkup, lead, agent):
        self.block(checkup, lead, agent)
        replace_source(lead, checkup, "other")
        self.block(checkup, lead, agent)

        self.retry(lead, checkup)

        assert (self.visits(checkup, "failed"), self.visits(checkup, "pending")) == ([2], [4])

    def test_leaves_what_failed_in_a_visit_that_was_done_again(self, checkup, lead, agent):
        self.block(checkup, lead, agent)
        back_to(lead, checkup, "PHASE_INTAKE")
        self.block(checkup, lead, agent)

        self.retry(lead, checkup)

        assert (self.visits(checkup, "failed"), self.visits(checkup, "pending")) == ([2], [4])

    def test_puts_the_same_task_up_as_often_as_it_fails(self, checkup, lead, agent):
        task = self.block(checkup, lead, agent)
        for _ in range(2):
            self.retry(lead, checkup)
            assert Task.objects.get(pk=task.pk).status == "pending"
            fail(agent, checkup, "checks")
            assert now(checkup).is_blocked

        self.retry(lead, checkup)

        assert self.visits(checkup, "pending") == [2]

    def test_further_back_puts_up_what_failed_there_last(self, checkup, lead, agent):
        extra = services.create_task(
            actor=lead, ticket=checkup, task_type="x", title="x", required_capabilities=["rust"]
        )
        end(agent, checkup, "inventory")
        on_to(lead, checkup, "PHASE_CHECKS")
        fail(agent, checkup, "rust")
        services.transition(
            actor=lead, ticket_id=checkup.pk, to_phase="PHASE_BLOCKED", reason="needs a key"
        )

        back_to(lead, checkup, "PHASE_INTAKE")

        task = Task.objects.get(pk=extra.pk)
        assert (task.status, task.visit, now(checkup).visit) == ("pending", 3, 3)

    def test_a_task_asked_for_by_its_id_comes_back_whatever_its_visit(self, checkup, lead, agent):
        older = self.block(checkup, lead, agent)
        back_to(lead, checkup, "PHASE_INTAKE")
        self.block(checkup, lead, agent)

        services.retry_task(actor=lead, task_id=older.pk, reason="both of them")

        assert self.visits(checkup, "pending") == [4, 4]


class TestSize:
    def patch(self, api, actor, ticket: Ticket, given: dict[str, Any]):
        return api(actor).patch(
            f"/api/v1/tickets/{ticket.pk}",
            {"context": given},
            format="json",
            headers={"If-Match": "*"},
        )

    def test_a_new_ticket_with_too_much_is_refused(self, flow, api, lead):
        body = {"title": "x", "workflow": "software_development"}

        big = {**body, "context": {"a": "x" * LIMIT_BYTES}}
        answer = api(lead).post("/api/v1/tickets", big, format="json")

        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "context")
        assert not Ticket.objects.exists()

    def test_what_adds_up_to_too_much_is_refused_and_nothing_is_changed(self, ticket, api, lead):
        assert self.patch(api, lead, ticket, {"a": "x" * BIG}).status_code == 200

        answer = self.patch(api, lead, ticket, {"b": "ä" * 600})

        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "context")
        assert now(ticket).context.keys() == {"a"}
        assert self.patch(api, lead, ticket, {"b": "x" * 600}).status_code == 200

    def test_one_that_was_too_large_before_may_be_made_smaller(self, ticket, api, lead):
        Ticket.objects.filter(pk=ticket.pk).update(
            context={"a": "x" * LIMIT_BYTES, "b": "x" * LIMIT_BYTES}
        )

        assert self.patch(api, lead, ticket, {"a": None}).status_code == 200
        assert self.patch(api, lead, ticket, {"c": 1}).status_code == 400

    @pytest.mark.parametrize(
        ("given", "path"),
        [
            ({"k" * (KEY_CHARACTERS + 1): 1}, "context"),
            ({"a": [{"b": {"k" * (KEY_CHARACTERS + 1): 1}}]}, "context.a[0].b"),
        ],
    )
    def test_a_key_that_nobody_could_read_is_refused_by_the_path_it_is_at(
        self, ticket, api, lead, given, path
    ):
        answer = self.patch(api, lead, ticket, given)

        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, path)

    def test_a_key_of_many_characters_costs_no_time(self, ticket, api, lead):
        began = time.process_time()

        answer = self.patch(api, lead, ticket, {"k" * 70_000: 1})

        assert answer.status_code == 400
        assert time.process_time() - began < 1

    def test_the_oldest_outputs_give_way_and_it_is_said(self, ticket, lead, agent):
        tasks = [self.task(lead, ticket) for _ in range(3)]
        for number in range(3):
            end(agent, ticket, "noop", summary=f"found {number}", outputs={"x": "y" * 100_000})

        services.transition(actor=lead, ticket_id=ticket.pk, to_phase="PHASE_REQUIREMENTS")

        kept = now(ticket).context
        found = kept["phases"]["PHASE_BACKLOG"]["tasks"]
        assert len(json.dumps(kept)) <= LIMIT_BYTES
        assert [t["id"] for t in found] == [str(t.pk) for t in tasks]
        assert [bool(t["outputs"]) for t in found] == [False, True, True]
        assert found[0]["outputs_left_out"] is True

    def test_what_lemnos_wrote_gives_way_to_what_somebody_gives(self, ticket, api, lead, agent):
        self.task(lead, ticket)
        end(agent, ticket, "noop", summary="found", outputs={"x": "y" * 200_000})
        services.transition(actor=lead, ticket_id=ticket.pk, to_phase="PHASE_REQUIREMENTS")

        assert self.patch(api, lead, ticket, {"a": "x" * (BIG - 1000)}).status_code == 200

        kept = now(ticket).context
        assert len(json.dumps(kept)) <= LIMIT_BYTES
        assert kept["phases"]["PHASE_BACKLOG"]["tasks"][0]["summary"] == "found"

    def task(self, lead, ticket: Ticket) -> Task:
        return services.create_task(
            actor=lead, ticket=ticket, task_type="x", title="x", required_capabilities=["noop"]
        )
