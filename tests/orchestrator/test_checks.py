"""The checks of a gate: asked for once, run in the sandbox, believed while they are about now."""

from datetime import timedelta

import pytest
from django.db import connection

from guardian import relay
from guardian import services as guardian
from guardian.models import Event
from orchestrator import services
from phases import services as phases
from phases.models import (
    GateRequirement,
    Phase,
    PhaseGateArtifact,
    PhaseGateResult,
    Ticket,
    Workflow,
)
from phases.panel import panel
from tests import requirements
from tests.tools.archives import tar_gz
from tools import runner
from tools import services as tools
from tools.jobs import probe_host
from tools.models import SandboxHost, ToolExecution
from tools.sandbox import levels

REQUESTED = "phases.gate.check_requested"
SOURCE = {
    "pkg-1.0/README.md": "# Pkg\n\nLicence: MIT\n",
    "pkg-1.0/pkg.py": "def one():\n    return 1\n",
    "pkg-1.0/test_pkg.py": "import pkg\n\ndef test_one():\n    assert pkg.one() == 1\n",
}
BROKEN = {**SOURCE, "pkg-1.0/pkg.py": "def one():\n    return 2\n"}
PYTEST = ["python", "-m", "pytest", "-q"]


def upload(actor, files=SOURCE) -> dict[str, str]:
    row, _ = tools.store_file(actor=actor, name="source.tar.gz", content=tar_gz(files))
    return {"kind": "archive", "file_id": str(row.pk)}


@pytest.fixture
def phase(team) -> Phase:
    phases.seed_team(team=team)
    tools.seed_team(team=team)
    return Phase.objects.get(team=team, workflow__key="default", key="PHASE_DESIGN")


@pytest.fixture
def ticket(phase, lead) -> Ticket:
    return phases.open_ticket(
        actor=lead, title="Release", phase=phase.key, context={"source": upload(lead)}
    )


@pytest.fixture
def asks(phase):
    def go(kind: str, **parameters) -> GateRequirement:
        return GateRequirement.objects.create(
            team=phase.team, phase=phase, key=kind, kind=kind, parameters=parameters
        )

    return go


@pytest.fixture
def bare(monkeypatch, db):
    """A host that proved nothing."""
    monkeypatch.setattr(levels, "findings", lambda **_: levels.Findings(levels=["none"]))
    SandboxHost.objects.all().delete()


@pytest.fixture
def engine(monkeypatch, settings, db):
    """Whatever this machine proves at all, for untrusted code by the operator's word."""
    found = levels.findings()
    if found.levels == ["none"]:
        requirements.require("bwrap")
        pytest.skip(f"bwrap: this machine proves nothing: {found.evidence}")
    settings.UNTRUSTED_LEVEL = "container" if "container" in found.levels else "bwrap"
    probe_host()


def ask(actor, ticket: Ticket):
    return phases.validate_gate(actor=actor, ticket_id=ticket.pk)[1]


def only(outcome):
    [criterion] = outcome.criteria
    return criterion


def work() -> None:
    """What relay and sandbox worker do, until nothing is left."""
    while relay.run_once() or _run_pending():
        pass


def _run_pending() -> int:
    waiting = list(ToolExecution.objects.filter(status="pending").values_list("pk", flat=True))
    for pk in waiting:
        runner.run(pk)
    return len(waiting)


class TestFiles:
    """They are only looked at, so any host will do."""

    pytestmark = pytest.mark.usefixtures("bare")

    @pytest.mark.parametrize(
        ("kind", "parameters", "reason"),
        [
            ("file_exists", {"path": "README.md"}, ""),
            ("file_exists", {"path": "docs/no.md"}, "There is no docs/no.md in the source."),
            ("file_contains", {"path": "README.md", "text": "Licence: MIT"}, ""),
            (
                "file_contains",
                {"path": "README.md", "text": "GPL"},
                "README.md does not contain “GPL”.",
            ),
        ],
    )
    def test_are_looked_up_by_a_run_of_ours(self, ticket, lead, asks, kind, parameters, reason):
        asks(kind, **parameters)
        before = ask(lead, ticket)

        work()
        after = ask(lead, ticket)

        assert (before.evaluation, only(before).waits_for) == ("waiting_checks", "check")
        assert (after.evaluation, only(after).met, only(after).reason) == (
            "ready", not reason, reason,
        )  # fmt: skip
        piece = PhaseGateArtifact.objects.get(artifact_type=kind)
        assert (piece.source, piece.observation["isolation"]) == ("sandbox", "none")
        assert piece.observation["execution_id"] == str(ToolExecution.objects.get().pk)
        assert piece.observation["sha256"] == piece.sha256

    def test_the_gate_is_asked_again_by_itself(self, ticket, lead, agent, asks):
        asks("file_exists", path="README.md")
        task = phases.claim_tasks(actor=agent, capabilities=["design"])[0].task
        phases.complete_task(actor=agent, task_id=task.pk, fence=task.fence, result={})

        work()

        stored = PhaseGateResult.objects.order_by("id").values_list("evaluation", "gate_status")
        assert list(stored) == [("waiting_checks", "failed"), ("ready", "passed")]

    def test_an_archive_that_is_refused_is_told(self, phase, lead, asks):
        row, _ = tools.store_file(actor=lead, name="x.tar.gz", content=b"no archive")
        ticket = phases.open_ticket(
            actor=lead,
            title="x",
            phase=phase.key,
            context={"source": {"kind": "archive", "file_id": str(row.pk)}},
        )
        asks("file_exists", path="README.md")
        ask(lead, ticket)
        work()

        outcome = ask(lead, ticket)

        assert (outcome.evaluation, only(outcome).met) == ("ready", False)
        assert only(outcome).reason

    def test_without_a_source_it_says_what_is_missing(self, phase, lead, asks):
        ticket = phases.open_ticket(actor=lead, title="x", phase=phase.key)
        asks("file_exists", path="README.md")
        ask(lead, ticket)
        work()

        criterion = only(ask(lead, ticket))

        assert criterion.check["code"] == "source_invalid"
        assert "context.source is missing" in criterion.reason

    def test_lemnos_itself_is_looked_at_only_where_the_workflow_asks_for_a_source(
        self, phase, lead, agent, asks, api
    ):
        """Else whoever has a part in a ticket points its checks at a tree that always passes."""
        ticket = phases.open_ticket(actor=lead, title="x", phase=phase.key)
        phases.claim_tasks(actor=agent, capabilities=["design"])
        ticket.refresh_from_db()
        set_to_self = api(agent).patch(
            f"/api/v1/tickets/{ticket.pk}",
            {"context": {"source": {"kind": "self"}}},
            format="json",
            headers={"If-Match": f'"v{ticket.version}"'},
        )
        asks("file_exists", path="README.md")
        ask(lead, ticket)
        work()
        undeclared = only(ask(lead, ticket))
        Workflow.objects.filter(pk=phase.workflow_id).update(context_kinds={"source": "repository"})
        ask(lead, ticket)
        work()

        assert set_to_self.status_code == 200
        assert undeclared.check["code"] == "source_invalid"
        assert "must be an archive where the workflow does not ask" in undeclared.reason
        assert ask(lead, Ticket.objects.get(pk=ticket.pk)).passed

    def test_code_of_what_the_ticket_was_about_before_is_not_looked_at(
        self, phase, lead, asks, ticket
    ):
        Workflow.objects.filter(pk=phase.workflow_id).update(
            context_kinds={"source": "repository"}, initial_phase=phase.key
        )
        asks("file_exists", path="README.md")
        phases.add_artifact(
            actor=lead,
            ticket_id=ticket.pk,
            artifact_type="code_changes",
            content={"file_id": upload(lead, {"old.py": "1"})["file_id"]},
        )
        before = phases.wanted_checks(ticket_id=ticket.pk)[0].source
        new = upload(lead, {**SOURCE, "pkg-1.0/new.py": "2"})
        phases.update_ticket(
            actor=lead, ticket_id=ticket.pk, version=None, changes={"context": {"source": new}}
        )

        assert before != new
        assert phases.wanted_checks(ticket_id=ticket.pk)[0].source == new


class TestOnce:
    pytestmark = pytest.mark.usefixtures("bare")

    def test_one_request_and_one_run_per_visit_and_inputs(self, ticket, lead, asks):
        asks("file_exists", path="README.md")
        for _ in range(3):
            ask(lead, ticket)
        assert Event.objects.filter(kind=REQUESTED).count() == 1

        work()
        for _ in range(2):
            services.run_checks(ticket_id=ticket.pk)
        ask(lead, ticket)
        work()

        assert ToolExecution.objects.count() == 1
        assert Event.objects.filter(kind=REQUESTED).count() == 1

    def test_a_second_request_while_it_runs_begins_nothing(self, ticket, lead, asks):
        asks("file_exists", path="README.md")
        ask(lead, ticket)

        begun = [services.run_checks(ticket_id=ticket.pk) for _ in range(2)]

        assert begun == [1, 0]

    @pytest.mark.parametrize("change", ["code", "parameters", "visit"])
    def test_what_is_no_longer_about_now_is_stale_and_run_again(
        self, ticket, lead, agent, asks, change
    ):
        requirement = asks("file_exists", path="README.md")
        ask(lead, ticket)
        work()
        assert ask(lead, ticket).passed

        if change == "code":
            newer = upload(lead, {"pkg/other.md": "x"})
            phases.add_artifact(
                actor=lead,
                ticket_id=ticket.pk,
                artifact_type="code_changes",
                content={"file_id": newer["file_id"]},
            )
        elif change == "parameters":
            requirement.parameters = {"path": "pkg.py"}
            requirement.save()
        else:
            Ticket.objects.filter(pk=ticket.pk).update(visit=2)
        stale = ask(lead, ticket)
        work()
        again = ask(lead, ticket)

        assert (stale.evaluation, only(stale).stale) == ("waiting_checks", True)
        assert (again.evaluation, again.passed) == ("ready", change != "code")
        assert ToolExecution.objects.count() == 2

    def test_a_run_that_somebody_else_asked_for_proves_nothing(self, ticket, lead, asks):
        asks("file_exists", path="README.md")
        ask(lead, ticket)
        [check] = phases.wanted_checks(ticket_id=ticket.pk)
        forged = tools.request_execution(
            tool="source_look",
            actor=lead,
            input={"archive_id": ticket.context["source"]["file_id"], "path": "README.md"},
            context={
                "ticket_id": str(ticket.pk),
                "check": {"key": check.key, "kind": check.kind, "inputs": check.inputs},
            },
        )

        runner.run(forged.pk)
        relay.run_once()

        assert not services.conclude_check(execution_id=forged.pk)
        assert only(ask(lead, ticket)).waits_for == "check"


class TestLost:
    pytestmark = pytest.mark.usefixtures("bare")

    @pytest.fixture
    def running(self, ticket, lead, asks) -> ToolExecution:
        asks("file_exists", path="README.md")
        ask(lead, ticket)
        relay.run_once()
        row = ToolExecution.objects.get()
        tools.take_execution(execution_id=row.pk, level="none", host="gone")
        return row

    def test_a_killed_worker_is_followed_by_another_try(self, running, ticket, lead):
        ToolExecution.objects.update(lease_until=running.created_at - timedelta(seconds=1))
        tools.sweep_executions()
        assert only(ask(lead, ticket)).waits_for == "check"

        work()

        assert ask(lead, ticket).passed
        assert ToolExecution.objects.get().attempt == 2

    def test_one_that_was_lost_for_good_counts_not_as_failed_but_is_begun_anew(
        self, running, ticket, lead
    ):
        ToolExecution.objects.update(
            attempt=3, max_attempts=3, lease_until=running.created_at - timedelta(seconds=1)
        )
        tools.sweep_executions()
        relay.run_once()
        lost = ask(lead, ticket)

        assert (lost.evaluation, only(lost).waits_for) == ("waiting_checks", "check")
        assert (only(lost).check["state"], only(lost).check["code"]) == ("refused", "infra_error")
        assert _job_waits(ticket)
        services.run_checks(ticket_id=ticket.pk, tries=1)
        work()
        assert ask(lead, ticket).passed

    def test_the_kill_switch_puts_it_off(self, ticket, lead, admin, asks):
        asks("file_exists", path="README.md")
        guardian.set_kill_switch(actor=admin, on=True, reason="something is wrong")
        ask(lead, ticket)
        relay.run_once()

        assert only(ask(lead, ticket)).check["code"] == "kill_switch_on"
        assert _job_waits(ticket)


def _job_waits(ticket: Ticket) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo'"
            " AND task_name = 'orchestrator.try_checks_again' AND args->>'ticket_id' = %s",
            [str(ticket.pk)],
        )
        return cursor.fetchone()[0] == 1


@pytest.mark.usefixtures("bare")
class TestRefusedIsolation:
    @pytest.mark.parametrize("kind", ["archive", "self"])
    def test_a_command_is_not_run_and_the_ticket_says_why(self, phase, lead, agent, asks, kind):
        source = upload(lead) if kind == "archive" else {"kind": "self"}
        Workflow.objects.filter(pk=phase.workflow_id).update(context_kinds={"source": "repository"})
        ticket = phases.open_ticket(
            actor=lead, title="x", phase=phase.key, context={"source": source}
        )
        asks("command_success", argv=["true"])
        task = phases.claim_tasks(actor=agent, capabilities=["design"])[0].task
        phases.complete_task(actor=agent, task_id=task.pk, fence=task.fence, result={})
        work()

        outcome = ask(lead, ticket)

        criterion = only(outcome)
        assert outcome.evaluation == "waiting_checks"
        assert {k: criterion.check[k] for k in ("state", "code", "needed", "offered")} == {
            "state": "refused", "code": "isolation_unavailable",
            "needed": "container", "offered": "none",
        }  # fmt: skip
        assert "isolation level “container”, which no host offers now" in criterion.reason
        assert not ToolExecution.objects.exists()
        assert not PhaseGateArtifact.objects.filter(source="sandbox").exists()
        shown = Ticket.objects.select_related("workflow", "phase", "column").get(pk=ticket.pk)
        assert "isolation_unavailable" in panel(shown, lead)["why"].text
        assert _job_waits(ticket)


class TestMoves:
    """A phase whose column leads on by itself, or to Blocked."""

    pytestmark = pytest.mark.usefixtures("bare")

    @pytest.fixture
    def built(self, team, lead, agent):
        def go(kind: str, **parameters) -> Ticket:
            phases.seed_team(team=team)
            tools.seed_team(team=team)
            phase = Phase.objects.get(
                team=team, workflow__key="default", key="PHASE_IMPLEMENTATION"
            )
            phase.requirements.all().delete()
            phase.done_definitions, phase.expected_outputs = [], []
            phase.configuration = {"on_failure": "block"}
            phase.save()
            GateRequirement.objects.create(
                team=team, phase=phase, key="it", kind=kind, parameters=parameters
            )
            ticket = phases.open_ticket(
                actor=lead, title="x", phase=phase.key, context={"source": upload(lead)}
            )
            finish(agent)
            return ticket

        return go

    def test_it_waits_for_the_check_and_moves_on_with_it(self, built):
        ticket = built("file_exists", path="README.md")
        while relay.run_once():
            pass
        waits = where(ticket)
        work()

        assert (waits, where(ticket)) == ("PHASE_IMPLEMENTATION", "PHASE_TESTING")

    def test_a_check_that_fails_blocks_with_its_reason(self, built):
        ticket = built("file_exists", path="docs/no.md")
        work()

        assert where(ticket) == "PHASE_BLOCKED"
        assert Ticket.objects.get().blocked_reason == "There is no docs/no.md in the source."

    def test_one_that_cannot_be_tried_blocks_and_is_tried_again_after_the_return(
        self, built, lead, agent, monkeypatch
    ):
        ticket = built("command_success", argv=["true"])
        work()
        first = Ticket.objects.get().blocked_reason

        phases.transition(actor=lead, ticket_id=ticket.pk, to_phase="PHASE_IMPLEMENTATION")
        finish(agent)
        work()
        second = where(ticket)
        tools.record_host(
            name="strong", levels=["container", "none"], evidence={}, warnings=[], image=""
        )
        phases.transition(actor=lead, ticket_id=ticket.pk, to_phase="PHASE_IMPLEMENTATION")
        finish(agent)
        while relay.run_once():
            pass

        assert "isolation_unavailable" in first
        assert second == "PHASE_BLOCKED"
        assert where(ticket) == "PHASE_IMPLEMENTATION"
        assert ToolExecution.objects.get().status == "pending"


def finish(agent) -> None:
    [claim] = phases.claim_tasks(actor=agent, capabilities=["code"])
    phases.complete_task(actor=agent, task_id=claim.task.pk, fence=claim.task.fence, result={})


def where(ticket: Ticket) -> str:
    return Ticket.objects.select_related("phase").get(pk=ticket.pk).phase.key


@pytest.mark.usefixtures("engine")
class TestCommands:
    """In the strongest sandbox that this machine proves."""

    @pytest.fixture
    def judged(self, phase, lead, asks):
        def go(files, kind: str, **parameters):
            asks(kind, **parameters)
            ticket = phases.open_ticket(
                actor=lead, title="x", phase=phase.key, context={"source": upload(lead, files)}
            )
            ask(lead, ticket)
            work()
            outcome = ask(lead, ticket)
            return only(outcome), ticket.artifacts.get().artifact_content

        return go

    def test_tests_that_pass(self, judged):
        criterion, content = judged(SOURCE, "tests_pass", argv=PYTEST)

        assert (criterion.met, criterion.level, criterion.reason) == (True, "verified", "")
        assert (content["tests"]["total"], content["tests"]["passed"]) == (1, 1)
        assert "1 passed" in content["log"]
        assert criterion.observation["isolation"] in {"container", "bwrap+", "bwrap"}
        assert criterion.observation["exit_code"] == 0

    def test_tests_that_fail_are_told_with_their_last_words(self, judged):
        criterion, content = judged(BROKEN, "tests_pass", argv=PYTEST)

        assert (criterion.met, content["exit_code"]) == (False, 1)
        assert criterion.reason.startswith(
            "“python -m pytest -q” failed: it ended with exit code 1."
        )
        assert "1 failed" in content["log"]

    def test_no_test_at_all_is_no_success(self, judged):
        criterion, _ = judged({"p/a.py": "x = 1\n"}, "tests_pass", argv=PYTEST)

        assert not criterion.met

    def test_a_command_runs_without_a_shell_in_the_top_folder(self, judged):
        argv = ["python", "-c", "import os, sys; print(os.listdir(), sys.argv)", "$HOME; ls *"]

        criterion, content = judged(SOURCE, "command_success", argv=argv)

        assert criterion.met
        assert "'README.md'" in content["log"]
        assert "'$HOME; ls *'" in content["log"]

    def test_a_program_that_is_not_there_is_named(self, judged):
        criterion, _ = judged(SOURCE, "command_success", argv=["no-such-program"])

        assert criterion.reason == (
            "“no-such-program” failed: There is no program no-such-program in the sandbox."
        )

    def test_one_that_takes_too_long_is_ended_and_failed(self, judged):
        argv = ["python", "-c", "import time; time.sleep(60)"]

        criterion, _ = judged(SOURCE, "command_success", argv=argv, timeout_seconds=2)

        assert criterion.reason.endswith("failed: It ran longer than its 2 seconds and was ended.")
