"""What the workshop's capabilities find in real sources, and what they refuse."""

from uuid import UUID

import pytest

from guardian.errors import DomainError, IsolationUnavailable
from orchestrator import services, workshop
from orchestrator.capabilities import StepContext, find
from orchestrator.errors import EvidenceNotOurs, RunOfToolFailed, SourceInvalid
from phases import services as phases
from phases.models import PhaseGateArtifact, Task
from tests.tools.archives import PASSING, tar_gz, zipped
from tools import services as tools
from tools.models import ToolExecution


@pytest.fixture
def ticket(team, lead):
    phases.seed_team(team=team)
    services.seed_agents(team=team)
    return phases.open_ticket(
        actor=lead,
        title="Look <b>here</b>",
        workflow="repo_checkup",
        context={"source": {"kind": "self"}},
    )


@pytest.fixture
def step(team, ticket):
    task = Task.objects.get(ticket=ticket)
    agent = services.seed_agents(team=team)[0]

    def make(name: str = "count") -> StepContext:
        run = task.pk
        return StepContext(
            actor=services.agent_actor(agent),
            run_id=run,
            step_id=name,
            attempt=1,
            ticket_id=ticket.pk,
            task_id=task.pk,
            idempotency_key=f"{run}:{name}",
            should_stop=lambda: False,
            seconds_left=lambda: 60.0,
        )

    return make


def upload(actor, data: bytes, name: str = "source.tar.gz") -> dict[str, str]:
    row, _ = tools.store_file(actor=actor, name=name, content=data)
    return {"kind": "archive", "file_id": str(row.pk)}


def call(name: str, step: StepContext, **args):
    found = find(name)
    found.check_args(args)
    answer = found.function(None, step, args)
    value = getattr(answer, "value", answer)
    found.check_result(value)
    return value


class TestSource:
    @pytest.mark.parametrize(
        ("source", "path"),
        [
            ({}, "context.source.kind"),
            ({"kind": "tape"}, "context.source.kind"),
            ({"kind": "archive"}, "context.source.file_id"),
            ({"kind": "archive", "file_id": 7}, "context.source.file_id"),
            ({"kind": "git", "provider": "x", "ref": "main"}, "context.source.kind"),
        ],
    )
    def test_a_fault_is_named_with_its_field(self, step, source, path):
        with pytest.raises(SourceInvalid) as refused:
            call("repo.open", step("open"), source=source)

        assert refused.value.data["errors"][0]["path"] == path

    def test_a_deleted_file_is_missing(self, step, lead):
        source = upload(lead, tar_gz(PASSING))
        tools.delete_file(actor=lead, file_id=UUID(source["file_id"]))

        with pytest.raises(DomainError) as refused:
            call("repo.open", step("open"), source=source)

        assert refused.value.code == "file_missing"

    def test_a_file_of_another_team_is_missing(self, step, outsider):
        source = upload(outsider, tar_gz(PASSING))

        with pytest.raises(DomainError) as refused:
            call("repo.open", step("open"), source=source)

        assert refused.value.code == "file_missing"


class TestInventory:
    def test_counts_and_becomes_verified_evidence(self, step, lead, ticket):
        found = call("repo.count_lines", step(), source=upload(lead, tar_gz(PASSING)))

        written = call(
            "evidence.write", step("write"),
            artifact_type="inventory", execution_id=found["execution_id"],
        )  # fmt: skip

        artifact = PhaseGateArtifact.objects.get(pk=written["artifact_id"])
        assert (artifact.source, artifact.ticket_id) == ("sandbox", ticket.pk)
        assert artifact.artifact_content["files"] == len(PASSING)
        assert artifact.artifact_content["has_tests"] is True
        assert artifact.observation["execution_id"] == found["execution_id"]
        assert artifact.observation["isolation"] == "none"

    def test_the_same_step_again_finds_its_own_run(self, step, lead):
        source = upload(lead, tar_gz(PASSING))
        first = call("repo.count_lines", step(), source=source)

        again = call("repo.count_lines", step(), source=source)

        assert again == first
        assert ToolExecution.objects.count() == 1

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (b"this is no archive at all", "archive_invalid"),
            (tar_gz(PASSING)[:200], "archive_invalid"),
            (zipped({"../outside.py": "x = 1\n"}), "archive_unsafe"),
        ],
    )
    def test_a_bad_archive_is_refused_by_name_and_for_good(self, step, lead, data, code):
        with pytest.raises(RunOfToolFailed) as refused:
            call("repo.count_lines", step(), source=upload(lead, data))

        assert (refused.value.code, refused.value.permanent) == (code, True)


class TestUntrustedCode:
    def test_is_refused_where_no_host_can_hold_it(self, step, lead, monkeypatch):
        from tools.sandbox import levels

        monkeypatch.setattr(levels, "findings", lambda **_: levels.Findings(levels=["none"]))

        with pytest.raises(IsolationUnavailable) as refused:
            call("repo.test", step("test"), source=upload(lead, tar_gz(PASSING)))

        assert refused.value.data == {"needed": "container", "offered": "none"}
        assert not ToolExecution.objects.exists()


class TestForgery:
    def test_a_context_that_names_the_step_makes_nobody_elses_run_the_steps_own(
        self, step, lead, agent, team
    ):
        asked = step("count")
        forged = workshop.runner.execute(
            tool="source_inventory", actor=asked.actor, input={}, origin="self",
            context={
                "idempotency_key": asked.idempotency_key, "run_id": str(asked.run_id),
                "task_id": str(asked.task_id), "step_id": "count",
            },
        )  # fmt: skip

        found = call("repo.count_lines", asked, source=upload(lead, tar_gz(PASSING)))

        assert found["execution_id"] != str(forged.pk)
        with pytest.raises(EvidenceNotOurs):
            call(
                "evidence.write", step("write"),
                artifact_type="inventory", execution_id=str(forged.pk),
            )  # fmt: skip


class TestEvidence:
    def test_of_another_task_is_refused(self, step, lead):
        other = workshop.runner.execute(
            tool="source_inventory", actor=lead, input={}, origin="self"
        )

        with pytest.raises(EvidenceNotOurs):
            call(
                "evidence.write", step("write"),
                artifact_type="inventory", execution_id=str(other.pk),
            )  # fmt: skip

    def test_one_kind_cannot_pass_for_another(self, step, lead):
        found = call("repo.count_lines", step(), source=upload(lead, tar_gz(PASSING)))

        with pytest.raises(EvidenceNotOurs):
            call(
                "evidence.write", step("write"),
                artifact_type="test_results", execution_id=found["execution_id"],
            )  # fmt: skip

        assert not PhaseGateArtifact.objects.exists()
