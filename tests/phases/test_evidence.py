"""Evidence: what is taken, what is refused at the door, and which piece outweighs which."""

import pytest
from django.db import connection

from guardian import relay
from guardian.errors import Invalid
from guardian.models import Delivery, Membership
from phases import services
from phases.errors import TicketClosed
from phases.models import PhaseGateArtifact, Task, Ticket
from phases.panel import panel
from phases.results import check_result

INVENTORY = {"files": 1, "bytes": 1, "languages": [], "has_tests": True, "licence": None}
OTHER = {**INVENTORY, "files": 2}
OBSERVATION = {
    "execution_id": "x",
    "exit_code": 0,
    "isolation": "none",
    "observed_at": "2026-01-01T00:00:00Z",
}
REQUIREMENTS = "# Scope\n" + "what is asked for " * 30 + "\n# Acceptance criteria\nit works\n"


@pytest.fixture
def flow(team):
    services.seed_team(team=team)


@pytest.fixture
def ticket(flow, lead) -> Ticket:
    return services.open_ticket(actor=lead, title="Retry storm", workflow="software_development")


@pytest.fixture
def held(ticket, agent) -> Task:
    return services.claim_tasks(actor=agent, capabilities=["analysis"])[0].task


@pytest.fixture
def checkup(flow, lead) -> Ticket:
    return services.open_ticket(
        actor=lead, title="Look", workflow="repo_checkup", context={"source": {"kind": "self"}}
    )


def observe(actor, task: Task, content=INVENTORY) -> PhaseGateArtifact:
    return services.record_evidence(
        actor=actor,
        ticket_id=task.ticket_id,
        task_id=task.pk,
        artifact_type="inventory",
        content=content,
        observation=OBSERVATION,
    )


def report(actor, ticket: Ticket, content) -> PhaseGateArtifact:
    return services.add_artifact(
        actor=actor, ticket_id=ticket.pk, artifact_type="inventory", content=content
    )[0]


class TestComplete:
    @pytest.mark.parametrize(
        ("result", "path"),
        [
            ({"artifacts": [{"type": "log", "content": "x" * 300_000}]}, "artifacts.0.content"),
            ({"artifacts": [{"type": "ok", "content": 1}, {"type": {"a": 1}}]}, "artifacts.1.type"),
            ({"artifacts": [{"type": "log", "path": 5}]}, "artifacts.0.path"),
            ({"artifacts": ["log"]}, "artifacts.0"),
            ({"artifacts": {"type": "log"}}, "artifacts"),
            ({"decisions": 5}, "decisions"),
            ({"summary": {"a": 1}}, "summary"),
        ],
    )
    def test_refuses_what_could_not_be_stored_and_names_the_field(
        self, held, agent, api, result, path
    ):
        answer = api(agent).post(
            f"/api/v1/tasks/{held.pk}/complete", {"fence": 1, "result": result}, format="json"
        )

        assert answer.status_code == 400
        assert [error["path"] for error in answer.json()["errors"]] == [f"result.{path}"]
        assert Task.objects.get(pk=held.pk).status == "assigned"

    @pytest.mark.parametrize("value", ["a\0b", ["\ud800"], {"a": {"b\0": 1}}, [float("nan")]])
    def test_refuses_what_the_database_cannot_keep(self, value):
        with pytest.raises(Invalid, match=r"^result: must not contain"):
            check_result({"outputs": {"found": value}})


class TestHarvest:
    @pytest.fixture
    def odd(self, held, agent) -> Task:
        """Completed with items that the door let through when it was less strict."""
        good = {"type": "requirements_document", "path": "r.md", "content": REQUIREMENTS}
        odd = [{"type": "log", "content": "x" * 300_000}, "nothing", good]
        services.complete_task(actor=agent, task_id=held.pk, fence=1, result={})
        Task.objects.filter(pk=held.pk).update(result={"artifacts": odd})
        return held

    def test_takes_what_it_can_and_notes_the_rest(self, odd, lead, ticket):
        result, outcome = services.validate_gate(actor=lead, ticket_id=ticket.pk)

        assert outcome.passed
        assert [a.artifact_type for a in ticket.artifacts.all()] == ["requirements_document"]
        assert result.validation_result["notes"] == [
            "Artifact 1 of “Analyse the requirements” was left out: content must be at most"
            " 256 KiB.",
            "Artifact 2 of “Analyse the requirements” was left out: must be an object with type,"
            " path and content.",
        ]

    def test_says_among_the_reasons_what_was_left_out(self, held, agent, lead, ticket):
        services.complete_task(actor=agent, task_id=held.pk, fence=1, result={})
        Task.objects.filter(pk=held.pk).update(result={"artifacts": [{"type": "log/1"}]})

        result, _ = services.validate_gate(actor=lead, ticket_id=ticket.pk)

        assert result.blocking_reasons == [
            "There is no requirements document yet.",
            "Artifact 1 of “Analyse the requirements” was left out: type must be 1 to 64 letters,"
            " digits, - or _.",
        ]

    def test_neither_the_relay_nor_an_override_stumbles_over_it(self, odd, lead, ticket):
        relay.run_once()
        assert not Delivery.objects.exclude(error="").exists()

        moved = services.transition(
            actor=lead,
            ticket_id=ticket.pk,
            to_phase="PHASE_DESIGN",
            override=True,
            reason="the customer waits for it",
        )

        assert moved.ticket.phase.key == "PHASE_DESIGN"

    def test_takes_the_work_of_somebody_who_has_left_the_team(self, held, agent, lead, ticket):
        document = {"type": "requirements_document", "path": "r.md", "content": REQUIREMENTS}
        services.complete_task(
            actor=agent, task_id=held.pk, fence=1, result={"artifacts": [document]}
        )
        Membership.objects.filter(user=agent.user).delete()

        _, outcome = services.validate_gate(actor=lead, ticket_id=ticket.pk)

        assert outcome.passed
        assert ticket.artifacts.get().collected_by == agent.user


class TestWeight:
    @pytest.fixture
    def task(self, checkup, agent) -> Task:
        return services.claim_tasks(actor=agent, capabilities=["inventory"])[0].task

    def test_what_somebody_says_later_does_not_outweigh_what_was_observed(
        self, checkup, task, lead, agent
    ):
        seen = observe(lead, task)
        report(agent, checkup, {"files": 7})

        _, outcome = services.validate_gate(actor=lead, ticket_id=checkup.pk)

        assert outcome.passed
        assert outcome.criteria[0].artifact_id == str(seen.pk)

    def test_bytes_observed_again_are_the_newest(self, checkup, task, lead):
        first = observe(lead, task)
        observe(lead, task, OTHER)
        again = observe(lead, task)

        _, outcome = services.validate_gate(actor=lead, ticket_id=checkup.pk)

        assert again.pk == first.pk
        assert outcome.criteria[0].artifact_id == str(first.pk)

    def test_observing_what_an_agent_said_makes_it_observed(self, checkup, task, lead, agent):
        said = report(agent, checkup, INVENTORY)

        seen = observe(lead, task)

        assert (seen.pk, seen.source, seen.collected_by) == (said.pk, "sandbox", lead.user)

    def test_saying_again_what_was_observed_makes_it_no_fresher(self, checkup, task, lead, agent):
        seen = observe(lead, task)
        report(agent, checkup, INVENTORY)

        again = PhaseGateArtifact.objects.get(pk=seen.pk)

        assert (again.source, again.recorded_at) == ("sandbox", seen.recorded_at)

    def test_going_back_to_an_earlier_version_makes_it_the_newest(self, ticket, held, agent, lead):
        def hand_in(content: str) -> PhaseGateArtifact:
            return services.add_artifact(
                actor=agent,
                ticket_id=ticket.pk,
                artifact_type="requirements_document",
                content=content,
            )[0]

        first, _, again = hand_in("one"), hand_in("two"), hand_in("one")

        _, outcome = services.validate_gate(actor=lead, ticket_id=ticket.pk)
        assert first.pk == again.pk
        assert outcome.criteria[0].artifact_id == str(first.pk)

    def test_newer_code_makes_what_was_observed_stale(self, flow, lead, agent):
        ticket = services.open_ticket(
            actor=lead, title="x", workflow="software_development", phase="PHASE_TESTING"
        )
        task = services.claim_tasks(actor=agent, capabilities=["test"])[0].task
        facts = {"total": 1, "passed": 1, "failed": 0, "errors": 0, "exit_code": 0}

        def observe_tests() -> None:
            services.record_evidence(
                actor=lead,
                ticket_id=ticket.pk,
                task_id=task.pk,
                artifact_type="test_results",
                content=facts,
                observation=OBSERVATION,
            )

        def is_stale() -> bool:
            _, outcome = services.validate_gate(actor=lead, ticket_id=ticket.pk)
            return next(c.stale for c in outcome.criteria if c.artifact_type == "test_results")

        observe_tests()
        assert not is_stale()
        services.add_artifact(
            actor=agent, ticket_id=ticket.pk, artifact_type="code_changes", content={"a": 1}
        )
        assert is_stale()
        observe_tests()
        assert not is_stale()


class TestOwnRun:
    """A gate may ask for evidence of our own run even where a text speaks for itself."""

    @pytest.fixture
    def asked(self, ticket) -> Ticket:
        requirement = ticket.phase.requirements.get(kind="artifact")
        requirement.parameters = {**requirement.parameters, "observed": True}
        requirement.save()
        return ticket

    def text_criterion(self, lead, ticket: Ticket):
        _, outcome = services.validate_gate(actor=lead, ticket_id=ticket.pk)
        return next(c for c in outcome.criteria if c.kind == "artifact")

    def test_a_text_that_somebody_sent_is_not_enough_nor_its_confirmation(
        self, asked, held, agent, lead
    ):
        document = {"type": "requirements_document", "path": "r.md", "content": REQUIREMENTS}
        services.complete_task(
            actor=agent, task_id=held.pk, fence=1, result={"artifacts": [document]}
        )
        said = self.text_criterion(lead, asked)
        services.verify_artifact(
            actor=lead, ticket_id=asked.pk, artifact_id=asked.artifacts.get().pk, confirm=True
        )
        confirmed = self.text_criterion(lead, asked)

        for criterion in (said, confirmed):
            assert (criterion.met, criterion.level) == (False, "reported")
            assert criterion.reason == (
                "Requirements document: only reported, it must come from our own run."
            )

    def test_what_our_run_recorded_counts_whatever_is_sent_later(self, asked, held, agent, lead):
        services.record_evidence(
            actor=lead,
            ticket_id=asked.pk,
            task_id=held.pk,
            artifact_type="requirements_document",
            content=REQUIREMENTS,
            observation=OBSERVATION,
        )
        services.add_artifact(
            actor=agent,
            ticket_id=asked.pk,
            artifact_type="requirements_document",
            content=REQUIREMENTS + "forged",
        )

        criterion = self.text_criterion(lead, asked)

        assert (criterion.met, criterion.level) == (True, "verified")


class TestClosed:
    @pytest.fixture
    def closed(self, checkup, lead) -> Ticket:
        services.cancel_ticket(actor=lead, ticket_id=checkup.pk, reason="not needed")
        return checkup

    def test_a_closed_ticket_takes_nothing_more(self, closed, agent, api):
        answer = api(agent).post(
            f"/api/v1/tickets/{closed.pk}/artifacts",
            {"artifact_type": "report", "path": "report.md", "content": "999 of 999 passed"},
            format="json",
        )

        assert (answer.status_code, answer.json()["code"]) == (409, "ticket_closed")
        assert not closed.artifacts.exists()

    def test_not_even_the_bytes_it_has(self, checkup, lead, agent):
        report(lead, checkup, INVENTORY)
        services.cancel_ticket(actor=lead, ticket_id=checkup.pk, reason="not needed")

        with pytest.raises(TicketClosed):
            report(agent, checkup, INVENTORY)

    def test_the_panel_shows_the_observed_report_before_a_later_one(self, checkup, lead):
        task = Task.objects.get(ticket=checkup)
        services.record_evidence(
            actor=lead,
            ticket_id=checkup.pk,
            task_id=task.pk,
            artifact_type="report",
            content="what was found",
            observation=OBSERVATION,
        )
        services.add_artifact(
            actor=lead, ticket_id=checkup.pk, artifact_type="report", content="forged"
        )
        for key in ("PHASE_CHECKS", "PHASE_REPORT", "PHASE_DONE"):
            for open_task in Task.objects.still_open().filter(ticket=checkup):
                services.cancel_task(actor=lead, task_id=open_task.pk, reason="skipped")
            services.transition(
                actor=lead,
                ticket_id=checkup.pk,
                to_phase=key,
                override=True,
                reason="the customer waits for it",
            )
        connection.cursor().execute("SET CONSTRAINTS ALL IMMEDIATE")

        done = Ticket.objects.select_related("workflow", "phase", "column").get(pk=checkup.pk)

        assert panel(done, lead)["report"] == "what was found"
