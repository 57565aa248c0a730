"""The main job: a checkup goes by itself from Intake to Done, or to Blocked with its reason.

What a killed worker costs (nothing) is shown in test_many.py, one that is asked to end in
test_shutdown.py.
"""

from functools import partial

import pytest

from orchestrator import services
from phases import services as phases
from phases.models import PhaseGateArtifact, PhaseHistory, Ticket
from tests.e2e.processes import Processes, reached, story, wait_for
from tests.tools.archives import tar_gz, zipped
from tools import services as tools

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.django_db(transaction=True),
]


@pytest.fixture
def processes(tmp_path):
    made = Processes(tmp_path)
    yield made
    made.end()


@pytest.fixture
def crew(team):
    from guardian import services as guardian

    guardian.build_first_pack()
    phases.seed_team(team=team)
    services.seed_patterns()
    services.seed_agents(team=team)


def checkup(actor, source) -> Ticket:
    return phases.open_ticket(
        actor=actor, title="Is it sound?", workflow="repo_checkup", context={"source": source}
    )


def archive(actor, data: bytes) -> dict[str, str]:
    row, _ = tools.store_file(actor=actor, name="source", content=data)
    return {"kind": "archive", "file_id": str(row.pk)}


@pytest.mark.usefixtures("crew")
class TestOwnSource:
    def test_goes_to_done_by_itself_with_evidence_of_every_figure(self, lead, team, processes):
        ticket = checkup(lead, {"kind": "self"})
        processes.start("relay")
        processes.start("worker")

        done = wait_for(
            lambda: reached(ticket, "PHASE_DONE", "PHASE_BLOCKED"),
            seconds=150,
            why=lambda: story(team) + processes.logs(),
        )

        assert done.phase.key == "PHASE_DONE", story(team)
        assert done.status == "completed"
        found = {a.artifact_type: a for a in PhaseGateArtifact.objects.filter(ticket=ticket)}
        assert set(found) == {"inventory", "test_results", "lint_report", "report"}
        results = found["test_results"].artifact_content
        assert results["total"] >= 20
        assert (results["passed"], results["failed"]) == (results["total"], 0)
        report = found["report"].artifact_content
        assert {artifact.source for artifact in found.values()} == {"sandbox"}
        for kind in ("inventory", "test_results", "lint_report"):
            assert found[kind].observation["execution_id"] in report
            assert found[kind].sha256 in report
        assert "self-check subset" in report
        moves = PhaseHistory.objects.filter(ticket=ticket).order_by("id")
        assert [m.to_phase.key for m in moves.select_related("to_phase")] == [
            "PHASE_INTAKE", "PHASE_CHECKS", "PHASE_REPORT", "PHASE_DONE",
        ]  # fmt: skip


@pytest.mark.usefixtures("crew")
class TestWhatCannotBeChecked:
    def test_waits_in_blocked_with_a_reason_a_person_understands(self, lead, team, processes):
        missing = archive(lead, tar_gz({"p/a.py": "x = 1\n"}))
        tickets = {
            "deleted": checkup(lead, missing),
            "no tar, tar.gz or zip": checkup(lead, archive(lead, b"not an archive at all")),
            "leaves its folder": checkup(lead, archive(lead, zipped({"../a.py": "x = 1\n"}))),
            "ends too early": checkup(lead, archive(lead, tar_gz({"p/a.py": "x\n" * 500})[:90])),
        }
        tools.delete_file(actor=lead, file_id=missing["file_id"])
        processes.start("relay")
        processes.start("worker")

        for words, ticket in tickets.items():
            blocked = wait_for(
                partial(reached, ticket, "PHASE_BLOCKED"),
                seconds=90,
                why=lambda: story(team) + processes.logs(),
            )
            assert words in blocked.blocked_reason

    def test_goes_to_done_with_another_source_and_reports_on_that_alone(
        self, lead, team, processes
    ):
        ticket = checkup(lead, archive(lead, b"not an archive at all"))
        processes.start("relay")
        processes.start("worker")
        wait_for(
            partial(reached, ticket, "PHASE_BLOCKED"),
            seconds=90,
            why=lambda: story(team) + processes.logs(),
        )

        phases.update_ticket(
            actor=lead,
            ticket_id=ticket.pk,
            version=None,
            changes={"context": {"source": {"kind": "self"}}},
        )

        done = wait_for(
            lambda: reached(ticket, "PHASE_DONE", "PHASE_BLOCKED"),
            seconds=150,
            why=lambda: story(team) + processes.logs(),
        )
        assert done.phase.key == "PHASE_DONE", story(team)
        kinds = PhaseHistory.objects.filter(ticket=ticket).order_by("id")
        assert list(kinds.values_list("kind", flat=True)) == [
            "create", "block", "restart", "forward", "forward", "forward",
        ]  # fmt: skip
