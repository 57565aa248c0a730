"""What a ticket is about may be replaced: then it begins anew and nothing old counts."""

from typing import Any

import pytest

from guardian import relay
from guardian.authority import Actor
from guardian.errors import Invalid, StaleVersion
from guardian.models import Event
from phases import context, services
from phases.board import cards
from phases.gates import evaluate
from phases.models import BoardColumn, PhaseGateArtifact, PhaseHistory, Task, Ticket, Workflow
from phases.panel import panel
from phases.workflow_yaml import read
from tests import factories
from tests.phases.test_evidence import INVENTORY, OBSERVATION
from tests.phases.test_visits import fail, work
from tests.phases.test_workflow_yaml import CHECKUP
from tests.tools.archives import PASSING, tar_gz
from tools import services as tools

SELF = {"kind": "self"}


def archive(actor, files: dict[str, str] | None = None) -> dict[str, str]:
    row, _ = tools.store_file(actor=actor, name="s.tar.gz", content=tar_gz(files or PASSING))
    return {"kind": "archive", "file_id": str(row.pk)}


@pytest.fixture
def source(lead) -> dict[str, str]:
    return archive(lead, {"bad.py": "x"})


@pytest.fixture
def checkup(team, lead, source) -> Ticket:
    services.seed_team(team=team)
    return services.open_ticket(
        actor=lead, title="Look", workflow="repo_checkup", context={"source": source}
    )


@pytest.fixture
def blocked(checkup, agent) -> Ticket:
    fail(agent, checkup, "inventory")
    ticket = now(checkup)
    assert ticket.phase.key == "PHASE_BLOCKED"
    return ticket


@pytest.fixture
def patch(api):
    """Edit a ticket as this actor; the version is the one that it has."""

    def send(actor: Actor, ticket: Ticket, version: int | None = None, **body: Any):
        wanted = Ticket.objects.get(pk=ticket.pk).version if version is None else version
        return api(actor).patch(
            f"/api/v1/tickets/{ticket.pk}",
            body,
            format="json",
            headers={"If-Match": f'"v{wanted}"'},
        )

    return send


def now(ticket: Ticket) -> Ticket:
    found = Ticket.objects.select_related("phase", "previous_phase", "workflow", "column")
    return found.get(pk=ticket.pk)


class TestABlockedCheckup:
    def test_a_new_archive_leads_back_to_intake_with_a_new_task(self, blocked, lead, patch):
        new = archive(lead)

        answer = patch(lead, blocked, context={"source": new})

        body = answer.json()
        assert answer.status_code == 200
        assert (body["phase"], body["is_blocked"], body["blocked_reason"]) == (
            "PHASE_INTAKE", False, "",
        )  # fmt: skip
        assert (body["context"], body["visit"]) == ({"source": new}, 2)
        assert answer.headers["ETag"] == f'"v{body["version"]}"'
        tasks = Task.objects.filter(ticket=blocked).order_by("id")
        assert [(t.status, t.visit) for t in tasks] == [("failed", 1), ("pending", 2)]

    def test_it_goes_on_to_its_end_with_evidence_of_the_new_one(self, blocked, lead, agent, patch):
        patch(lead, blocked, context={"source": SELF})

        assert work(agent, blocked, "inventory") == "PHASE_CHECKS"
        assert work(agent, blocked, "checks") == "PHASE_REPORT"

    def test_history_and_events_say_what_was_replaced_by_what(self, blocked, lead, source, patch):
        patch(lead, blocked, context={"source": SELF})

        row = PhaseHistory.objects.filter(ticket=blocked).order_by("id").last()
        assert (row.kind, row.from_phase.key, row.to_phase.key, row.transitioned_by_id) == (
            "restart", "PHASE_BLOCKED", "PHASE_INTAKE", lead.id,
        )  # fmt: skip
        assert "source was replaced" in row.transition_reason
        edit = Event.objects.get(kind="phases.ticket.updated")
        assert (edit.before, edit.after) == (
            {"context": {"source": source}}, {"context": {"source": SELF}},
        )  # fmt: skip
        assert Event.objects.get(kind="phases.ticket.restarted").data["visit"] == 2
        assert Event.objects.filter(kind="phases.ticket.phase_changed").last().data["move"] == (
            "restart"
        )

    def test_the_old_source_can_be_put_back(self, blocked, lead, source, patch):
        patch(lead, blocked, context={"source": SELF})

        answer = patch(lead, blocked, context={"source": source})

        assert (answer.status_code, answer.json()["visit"]) == (200, 3)
        assert answer.json()["context"]["source"] == source

    def test_the_same_source_again_changes_nothing(self, blocked, lead, source, patch):
        answer = patch(lead, blocked, context={"source": source})

        assert (answer.status_code, answer.json()["phase"]) == (200, "PHASE_BLOCKED")
        assert not Event.objects.filter(kind="phases.ticket.restarted").exists()

    def test_in_a_full_column_it_waits_for_a_place(self, blocked, lead, patch):
        BoardColumn.objects.filter(workflow=blocked.workflow, key="intake").update(wip_limit=1)
        services.open_ticket(
            actor=lead, title="x", workflow="repo_checkup", context={"source": SELF}
        )

        answer = patch(lead, blocked, context={"source": SELF})

        assert (answer.json()["phase"], answer.json()["admitted_at"]) == ("PHASE_INTAKE", None)
        column = BoardColumn.objects.get(workflow=blocked.workflow, key="intake")
        assert (column.admitted_count, column.queued_count) == (1, 1)


class TestLaterPhases:
    def test_nothing_found_before_counts_any_more(self, checkup, lead, agent, patch):
        work(agent, checkup, "inventory")
        fail(agent, checkup, "checks")

        patch(lead, checkup, context={"source": SELF})

        ticket = now(checkup)
        assert ticket.phase.key == "PHASE_INTAKE"
        assert (ticket.context, ticket.context_summary) == ({"source": SELF}, "")
        [criterion] = evaluate(ticket).criteria
        assert (criterion.stale, criterion.met) == (True, False)
        assert [a["level"] for a in panel(ticket, lead)["artifacts"]] == ["stale"]
        assert cards([ticket.pk])[0]["tasks"] == {"done": 0, "total": 1, "failed": 0, "blocked": 0}

    def test_waiting_tasks_of_the_old_source_are_called_off(self, checkup, lead, agent, patch):
        work(agent, checkup, "inventory")
        extra = services.create_task(
            actor=lead, ticket=now(checkup), task_type="x", title="by hand",
            required_capabilities=["rust"],
        )  # fmt: skip

        answer = patch(lead, checkup, context={"source": SELF})

        assert answer.json()["phase"] == "PHASE_INTAKE"
        task = Task.objects.get(pk=extra.pk)
        assert (task.status, task.error_code) == ("cancelled", "ticket_restarted")
        assert "source was replaced" in task.error_message
        relay.run_once()
        assert now(checkup).phase.key == "PHASE_INTAKE"
        assert Task.objects.still_open().filter(ticket=checkup).count() == 1

    def test_a_straggler_observes_for_the_visit_of_its_task(self, checkup, lead, agent, patch):
        """A host that was cut off does not hear that its task was taken back and called off."""
        task = services.claim_tasks(actor=agent, capabilities=["inventory"])[0].task
        services.release_task(actor=lead, task_id=task.pk, fence=None, reason="its host is silent")
        patch(lead, checkup, context={"source": SELF})

        services.record_evidence(
            actor=agent,
            ticket_id=checkup.pk,
            task_id=task.pk,
            artifact_type="inventory",
            content=INVENTORY,
            observation=OBSERVATION,
        )

        assert PhaseGateArtifact.objects.get().visit == 1
        assert not evaluate(now(checkup)).passed


class TestWhileSomebodyWorks:
    @pytest.fixture
    def held(self, checkup, agent) -> Task:
        return services.claim_tasks(actor=agent, capabilities=["inventory"])[0].task

    def test_it_is_refused_with_the_task_and_what_would_help(self, checkup, held, lead, patch):
        answer = patch(lead, checkup, context={"source": SELF}, title="Renamed")

        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (409, "work_running")
        assert problem["tasks"][0]["id"] == str(held.pk)
        assert "/cancel" in problem["remedy"]["text"]
        ticket = now(checkup)
        assert (ticket.title, ticket.visit, ticket.version) == ("Look", 1, checkup.version)
        assert Task.objects.get(pk=held.pk).status == "assigned"

    def test_what_the_work_is_not_about_may_be_changed(self, checkup, held, lead, patch):
        answer = patch(lead, checkup, context={"note": "for Friday"})

        assert answer.status_code == 200
        assert answer.json()["context"]["note"] == "for Friday"
        assert patch(lead, checkup, context={"note": None}).json()["context"].keys() == {"source"}

    def test_once_the_work_is_called_off_it_is_taken(self, checkup, held, lead, agent, patch):
        services.cancel_task(actor=lead, task_id=held.pk, reason="wrong archive")
        services.release_task(actor=agent, task_id=held.pk, fence=held.fence, reason="stopped")
        relay.run_once()

        answer = patch(lead, checkup, context={"source": SELF})

        assert (answer.status_code, answer.json()["phase"]) == (200, "PHASE_INTAKE")


class TestWhoMay:
    def test_an_agent_without_a_part_may_not(self, blocked, team, patch):
        stranger = factories.make_actor(team, "coder-2", role="agent", kind="agent")

        answer = patch(stranger, blocked, context={"source": SELF})

        assert (answer.status_code, answer.json()["code"]) == (403, "not_yours")

    def test_another_team_finds_no_such_ticket(self, blocked, outsider, patch):
        assert patch(outsider, blocked, context={"source": SELF}).status_code == 404

    def test_a_viewer_may_not(self, blocked, viewer, patch):
        assert patch(viewer, blocked, context={"source": SELF}).status_code == 403

    def test_an_older_version_is_refused(self, blocked, lead, patch):
        assert patch(lead, blocked, version=1, context={"source": SELF}).status_code == 412

    def test_a_closed_ticket_is_told_to_be_reopened(self, blocked, lead, patch):
        services.cancel_ticket(actor=lead, ticket_id=blocked.pk, reason="not needed")

        answer = patch(lead, blocked, context={"source": SELF})

        assert (answer.status_code, answer.json()["code"]) == (409, "ticket_closed")
        assert "/reopen" in answer.json()["remedy"]["text"]

    @pytest.mark.parametrize("key", context.RESERVED)
    def test_what_lemnos_writes_is_not_taken(self, blocked, lead, patch, key):
        answer = patch(lead, blocked, context={key: {}})

        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, f"context.{key}")


def test_a_decision_of_the_visit_before_moves_nothing(checkup, lead, agent, patch):
    """Blocking is decided on what was read; a restart in between makes that another story."""
    services.transition(actor=lead, ticket_id=checkup.pk, to_phase="PHASE_BLOCKED", reason="x" * 10)
    patch(lead, checkup, context={"source": SELF})

    with pytest.raises(StaleVersion):
        services.transition(
            actor=lead,
            ticket_id=checkup.pk,
            to_phase="PHASE_BLOCKED",
            reason="the old one",
            visit=1,
        )

    assert now(checkup).phase.key == "PHASE_INTAKE"


def test_a_ticket_before_its_first_phase_stays_there(team, lead, patch):
    services.seed_team(team=team)
    ticket = services.open_ticket(
        actor=lead, title="x", workflow="repo_checkup", phase="PHASE_BACKLOG",
        context={"source": archive(lead)},
    )  # fmt: skip

    answer = patch(lead, ticket, context={"source": SELF})

    assert (answer.json()["phase"], answer.json()["visit"]) == ("PHASE_BACKLOG", 2)


def test_a_workflow_names_only_kinds_that_somebody_reads(team):
    spec = read(CHECKUP.replace("source: repository", "source: tape").replace("repo_", "my_"))
    other = factories.make_team("reef")

    with pytest.raises(Invalid, match=r"tape.*repository"):
        services.import_workflow(team=other, spec=spec)

    assert not Workflow.objects.filter(team=other, key="my_checkup").exists()
