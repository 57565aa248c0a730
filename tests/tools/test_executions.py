"""One execution: asked for, run, ended; on a machine without any sandbox."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from guardian import services as guardian
from guardian.errors import Invalid, IsolationUnavailable
from guardian.models import ErrorLog, Event
from tests.tools.archives import PASSING, tar_gz
from tools import runner, services
from tools.errors import ToolDenied, ToolQuarantined, ToolRateLimited
from tools.models import Tool, ToolExecution, ToolExecutionLog, ToolPermission
from tools.models.execution import EDGES, ENDED
from tools.sandbox import levels
from tools.sandbox.collect import parse_output
from tools.sandbox.session import InfraError
from tools.services.executions import Outcome

pytestmark = pytest.mark.usefixtures("tools", "bare_host")


def request(actor, tool="count_lines", **asked):
    value = asked.pop("input", {"text": "one\ntwo three"})
    return services.request_execution(tool=tool, actor=actor, input=value, queue=False, **asked)


def test_counts_lines_in_a_child_process(lead):
    execution = runner.run(request(lead, context={"ticket_id": "t-1"}).pk)

    assert execution.status == "completed"
    assert execution.output_data == {"files": 1, "lines": 2, "words": 3, "bytes": 13}
    assert (execution.isolation_level, execution.exit_code) == ("none", 0)
    assert execution.version.passport_hash
    kinds = Event.objects.filter(kind__startswith="tools.execution").order_by("created_at")
    assert [event.kind.rpartition(".")[2] for event in kinds] == ["pending", "running", "completed"]


def test_takes_inventory_of_an_uploaded_archive(lead, uploaded):
    archive_id = uploaded(tar_gz(PASSING))

    execution = runner.run(
        request(lead, "source_inventory", input={"archive_id": archive_id}, origin="upload").pk
    )

    assert execution.output_data["files"] == 3
    assert execution.output_data["has_tests"] is True
    assert execution.output_data["licence"] == "MIT"
    assert execution.output_data["lines"] == {"Python": 6}


def test_a_refused_archive_is_a_failed_execution_with_its_code(lead, uploaded):
    archive_id = uploaded(tar_gz({"../evil": "x"}))

    execution = runner.run(request(lead, "source_inventory", input={"archive_id": archive_id}).pk)

    assert (execution.status, execution.result_class) == ("failed", "failed")
    assert execution.output_data["refused"]["code"] == "archive_unsafe"
    assert "leaves its folder" in execution.error_message


def test_a_deleted_file_is_a_failed_execution_that_says_so(lead, uploaded):
    archive_id = uploaded(tar_gz(PASSING))
    execution = request(lead, "source_inventory", input={"archive_id": archive_id})
    services.delete_file(actor=lead, file_id=archive_id)

    done = runner.run(execution.pk)

    assert done.status == "failed"
    assert done.output_data["refused"]["code"] == "file_missing"


@pytest.mark.parametrize("tool", ["run_python", "pytest_run", "lint_run"])
def test_refuses_code_without_isolation_and_writes_nothing(lead, uploaded, tool):
    value = {"code": "1"} if tool == "run_python" else {"archive_id": uploaded(tar_gz(PASSING))}

    with pytest.raises(IsolationUnavailable) as refusal:
        request(lead, tool, input=value, origin="upload")

    assert refusal.value.data["offered"] == "none"
    assert refusal.value.data["needed"] == ("bwrap+" if tool == "lint_run" else "container")
    assert not ToolExecution.objects.exists()


def test_the_api_answers_503_for_code_and_201_for_counting(api, lead, monkeypatch):
    client = api(lead)
    tools = {row["name"]: row["id"] for row in client.get("/api/v1/tools").data["results"]}

    refused = client.post(
        f"/api/v1/tools/{tools['run_python']}/execute", {"input": {"code": "1"}}, format="json"
    )
    accepted = client.post(
        f"/tools/{tools['count_lines']}/execute", {"input": {"text": "a"}, "wait": 0}, format="json"
    )

    assert (refused.status_code, refused.data["code"]) == (503, "isolation_unavailable")
    assert (refused.data["needed"], refused.data["offered"]) == ("container", "none")
    assert accepted.status_code == 202
    assert accepted.data["status"] == "pending"


def test_own_source_runs_at_any_level(lead):
    execution = runner.run(request(lead, "source_inventory", input={}, origin="self").pk)

    assert execution.status == "completed"
    assert execution.output_data["lines"]["Python"] > 1000
    assert execution.output_data["top_folder"] == "lemnos"


def test_writes_and_reads_an_artifact(lead):
    written = runner.run(
        request(lead, "write_artifact", input={"name": "note.txt", "content": "hello"}).pk
    )
    artifact_id = written.output_data["files"][0]["artifact_id"]

    read = runner.run(
        request(lead, "read_artifact", input={"artifact_id": artifact_id, "offset": 1}).pk
    )

    assert read.output_data["content"] == "ello"
    assert read.output_data["name"] == "note.txt"


def test_refuses_wrong_input_with_its_path(lead):
    with pytest.raises(Invalid) as refusal:
        request(lead, input={"text": 5})

    assert refusal.value.data["errors"][0]["path"] == "input.text"


def test_an_agent_needs_execute_on_medium_tools(agent):
    with pytest.raises(ToolDenied):
        request(agent, "run_python", input={"code": "1"})


def test_a_deny_row_beats_the_admin(lead):
    tool = Tool.objects.get(name="count_lines")
    ToolPermission.objects.create(
        team=lead.team, tool=tool, principal_type="team", level="read", effect="deny"
    )

    with pytest.raises(ToolDenied):
        request(lead)


def test_the_rate_limit_refuses_one_call_too_many(lead):
    Tool.objects.filter(name="count_lines").update(rate_limit_calls=2)
    request(lead)
    request(lead)

    with pytest.raises(ToolRateLimited):
        request(lead)


def test_a_tool_that_differs_from_its_passport_is_quarantined(lead):
    Tool.objects.filter(name="count_lines").update(memory_mb=4096)

    with pytest.raises(ToolQuarantined) as refusal:
        request(lead)

    assert refusal.value.data["diff"] == ["limits"]
    assert Tool.objects.get(name="count_lines").status == "quarantined"
    services.seed_shipped_tools()
    assert Tool.objects.get(name="count_lines").status == "active"


def test_seeding_twice_changes_nothing(team):
    before = list(Tool.objects.values_list("id", "revision", "versions__passport_hash"))

    services.seed_team(team=team)

    assert list(Tool.objects.values_list("id", "revision", "versions__passport_hash")) == before


def test_a_cancelled_pending_run_is_not_run(lead):
    execution = request(lead)
    services.cancel_execution(execution_id=execution.pk, actor=lead, reason="not needed")

    assert runner.run(execution.pk).status == "cancelled"


def test_stops_when_the_caller_says_so(lead):
    execution = runner.run(request(lead).pk, should_stop=lambda: True)

    assert execution.status in {"cancelled", "completed"}


def test_a_late_result_of_an_older_attempt_is_dropped(lead):
    execution = request(lead)
    services.take_execution(execution_id=execution.pk, level="none", host="h")
    services.hand_back_execution(execution_id=execution.pk, attempt=1, reason="gone")
    services.take_execution(execution_id=execution.pk, level="none", host="h")

    with pytest.raises(services.executions.ExecutionNotOpen):
        services.finish_execution(
            execution_id=execution.pk, attempt=1, outcome=Outcome("ok", output={})
        )

    assert ToolExecution.objects.get(pk=execution.pk).status == "running"


def test_the_sweep_takes_lapsed_runs_back_and_gives_up_after_three(lead):
    execution = request(lead)
    past = timezone.now() - timedelta(seconds=1)
    for attempt in (1, 2, 3):
        services.take_execution(execution_id=execution.pk, level="none", host="h")
        ToolExecution.objects.filter(pk=execution.pk).update(lease_until=past)
        assert services.sweep_executions() == 1
        row = ToolExecution.objects.get(pk=execution.pk)
        assert (row.attempt, row.status) == (attempt, "failed" if attempt == 3 else "pending")

    assert row.result_class == "infra_error"


STATES = ["pending", "running", "completed", "failed", "timeout", "cancelled"]


@pytest.mark.parametrize("old", STATES)
@pytest.mark.parametrize("new", STATES)
def test_the_database_allows_exactly_the_edges(lead, old, new):
    execution = request(lead)
    path = {"pending": [], "running": ["running"]}.get(old, ["running", old])
    for state in path:
        put(execution, state)

    if old == new or (old, new) in EDGES:
        put(execution, new)
    else:
        with pytest.raises(DatabaseError), transaction.atomic():
            put(execution, new)


def put(execution, state: str) -> None:
    now = timezone.now()
    ToolExecution.objects.filter(pk=execution.pk).update(
        status=state,
        lease_until=now if state == "running" else None,
        completed_at=now if state in ENDED else None,
    )


def test_the_database_refuses_an_execution_that_starts_elsewhere(lead):
    row = request(lead)
    row.pk, row._state.adding = None, True
    row.id = None

    with pytest.raises(DatabaseError), transaction.atomic():
        ToolExecution.objects.bulk_create(
            [
                ToolExecution(
                    team=lead.team, tool=row.tool, version=row.version, user=lead.user,
                    status="completed", needed_level="none", completed_at=timezone.now(),
                )
            ]
        )  # fmt: skip


def test_log_lines_cannot_be_changed_or_deleted(lead):
    execution = request(lead)
    services.take_execution(execution_id=execution.pk, level="none", host="h")
    services.hand_back_execution(execution_id=execution.pk, attempt=1, reason="gone")

    with pytest.raises(DatabaseError), transaction.atomic():
        ToolExecutionLog.objects.update(message="other")
    with pytest.raises(DatabaseError), transaction.atomic():
        ToolExecutionLog.objects.all()._raw_delete("default")


def test_leaves_a_run_to_another_host_that_has_the_level(lead):
    services.record_host(
        name="elsewhere", levels=["container", "none"], evidence={}, warnings=[], image=""
    )

    execution = runner.execute(tool="run_python", actor=lead, input={"code": "1"})

    assert execution.status == "pending"
    with pytest.raises(IsolationUnavailable):
        runner.run(execution.pk)
    assert ToolExecution.objects.get(pk=execution.pk).status == "pending"


def test_a_stale_host_offers_nothing(lead):
    host = services.record_host(
        name="gone", levels=["container", "none"], evidence={}, warnings=[], image=""
    )
    past = timezone.now() - timedelta(seconds=60)
    type(host).objects.filter(pk=host.pk).update(heartbeat_at=past)

    with pytest.raises(IsolationUnavailable):
        request(lead, "run_python", input={"code": "1"})


class TestIdempotencyKey:
    """`/execute` once per key: the same run answers, however often it is asked for."""

    @pytest.fixture
    def path(self, tools):
        return f"/api/v1/tools/{Tool.objects.get(name='count_lines').pk}/execute"

    def ask(self, client, path, key="run-1", text="one"):
        return client.post(
            path,
            {"input": {"text": text}, "wait": 0},
            format="json",
            headers={"Idempotency-Key": key},
        )

    def test_waits_for_nothing_under_a_fence_whose_transaction_hides_the_run(
        self, api, lead, path, monkeypatch
    ):
        lease = guardian.acquire_lock(actor=lead, resource_type="repo", resource_id="main")
        monkeypatch.setattr("tools.api.time.sleep", pytest.fail)

        answer = api(lead).post(
            path,
            {"input": {"text": "one"}, "wait": 5},
            format="json",
            headers={"Lemnos-Fence": f"{lease.lock_id}:{lease.fence}"},
        )

        assert answer.status_code == 202

    def test_runs_once_and_answers_with_the_run_as_it_is_by_then(self, api, lead, path):
        client = api(lead)

        first = self.ask(client, path)
        runner.run(UUID(first.json()["execution_id"]))
        again = self.ask(client, path)

        assert (first.status_code, again.status_code) == (202, 201)
        assert again.json()["execution_id"] == first.json()["execution_id"]
        assert again.json()["status"] == "completed"
        assert again["Idempotency-Replayed"] == "true"
        assert ToolExecution.objects.count() == 1

    def test_refuses_the_key_for_another_request(self, api, lead, path):
        client = api(lead)
        self.ask(client, path)

        other = self.ask(client, path, text="two")

        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        assert ToolExecution.objects.count() == 1

    def test_a_refusal_is_kept_and_repeated(self, api, lead, path):
        Tool.objects.filter(name="count_lines").update(status="inactive")
        client = api(lead)

        first, again = self.ask(client, path), self.ask(client, path)

        assert first.status_code == again.status_code == 409
        assert again["Idempotency-Replayed"] == "true"

    def test_a_quarantine_stays_though_its_answer_is_a_refusal(self, api, lead, path):
        Tool.objects.filter(name="count_lines").update(memory_mb=1024)

        answer = self.ask(api(lead), path)

        assert answer.json()["code"] == "tool_quarantined"
        assert Tool.objects.get(name="count_lines").status == "quarantined"


class TestALevelThatIsLost:
    """A host proves a level, then its engine or image goes away."""

    @pytest.fixture
    def host(self, monkeypatch):
        """What this host proves from now on."""

        def proves(*found: str) -> None:
            proof = levels.Findings(levels=[*found, "none"])
            monkeypatch.setattr(levels, "findings", lambda **_: proof)

        proves("container")
        runner.report_host()
        return proves

    def test_is_taken_off_the_host_with_the_next_beat_whoever_noticed(self, host):
        assert services.offered_levels() == ["container", "none"]

        host()
        runner.report_host()

        assert services.offered_levels() == ["none"]

    def test_ends_the_run_it_was_lost_in_and_leaves_nothing_pending(
        self, host, lead, uploaded, monkeypatch
    ):
        monkeypatch.setattr(levels, "forget", host)  # the next look finds the engine gone
        monkeypatch.setattr(
            levels, "_container", lambda *_: (_ for _ in ()).throw(InfraError("the engine is gone"))
        )

        with pytest.raises(IsolationUnavailable):
            runner.execute(
                tool="pytest_run", actor=lead, origin="upload",
                input={"archive_id": uploaded(tar_gz(PASSING))},
            )  # fmt: skip

        row = ToolExecution.objects.get()
        assert (row.status, row.result_class) == ("failed", "infra_error")
        assert services.offered_levels() == ["none"]


def test_a_run_whose_caller_was_killed_before_it_began_is_done_by_a_worker(lead):
    forgotten = request(lead)
    ToolExecution.objects.update(updated_at=timezone.now() - timedelta(seconds=61))

    services.sweep_executions()
    services.sweep_executions()

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT task_name FROM procrastinate_jobs WHERE args->>'execution_id' = %s",
            [str(forgotten.pk)],
        )
        assert cursor.fetchall() == [("tools.run_execution",)]


@pytest.mark.parametrize(
    ("printed", "kept"),
    [
        (b'{"a": "x\\u0000y"}', {"a": "x\ufffdy"}),
        (b'{"a": "\\ud800"}', {"a": "\ufffd"}),
        (b'{"a": NaN, "b": 1e999}', {"a": None, "b": None}),
    ],
)
def test_what_the_database_cannot_keep_ends_no_run(lead, printed, kept):
    execution = request(lead)
    taken = services.take_execution(execution_id=execution.pk, level="none", host="here")
    output, fault = parse_output(printed, required=True)

    done = services.finish_execution(
        execution_id=execution.pk, attempt=taken.attempt, outcome=Outcome("ok", output=output)
    )

    assert (fault, done.status, done.output_data) == ("", "completed", kept)


def test_json_nested_beyond_reading_is_no_output():
    assert parse_output(b"[" * 200_000, required=True)[1]


def test_what_was_refused_is_no_error_of_the_installation(lead, uploaded):
    runner.run(request(lead, "source_inventory", input={"archive_id": uploaded(b"no archive")}).pk)

    assert not ErrorLog.objects.exists()


def test_an_agent_reads_its_own_runs_and_people_read_the_teams(api, lead, agent):
    others, mine = request(lead), request(agent)

    def seen(actor, where):
        return {row["execution_id"] for row in api(actor).get(where).json()["results"]}

    assert seen(agent, "/api/v1/tools/executions") == {str(mine.pk)}
    assert seen(agent, f"/api/v1/tools/{mine.tool_id}/history") == {str(mine.pk)}
    assert len(seen(lead, "/api/v1/tools/executions")) == 2
    for part in ("", "/logs", "/artifacts"):
        assert api(agent).get(f"/api/v1/tools/executions/{others.pk}{part}").status_code == 404
