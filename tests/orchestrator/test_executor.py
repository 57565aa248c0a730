"""Runs, done by the real executor: sequence, graph, conditions, retries, stops, crashes."""

import json
import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from django.db import connection, transaction
from django.utils import timezone

from guardian import relay
from guardian.errors import IllegalTransition
from guardian.models import Event, Membership
from guardian.services import build_first_pack, charge, set_kill_switch
from orchestrator import services
from orchestrator.errors import RunBusy, RunTakenOver
from orchestrator.executor import execute_run
from orchestrator.models import PatternRun
from orchestrator.services import steps
from orchestrator.services.runs import take_run
from orchestrator.trace import build_trace
from tests.beside import Beside
from tests.orchestrator.lab import open_lab

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture(autouse=True)
def lab(db):
    build_first_pack()
    with open_lab():
        yield


@pytest.fixture
def start(lead):
    """Publish a pattern of these steps and start a run of it."""

    def started(*steps, inputs=None, run_inputs=None, **more):
        slug = more.pop("id", "demo")
        options = {key: more.pop(key) for key in ("own_job", "deadline") if key in more}
        pattern = {"id": slug, "name": "Demo", "steps": list(steps), "inputs": inputs or {}, **more}
        services.register_pattern(text=json.dumps(pattern), actor=lead)
        services.publish_pattern(slug=slug, version=None, actor=lead)
        return services.start_run(pattern=slug, inputs=run_inputs or {}, actor=lead, **options)

    return started


def step(name, capability, **more):
    return {"id": name, "agent": "lab", "capability": f"lab.{capability}", **more}


def states(run):
    return {row.step_id: row.state for row in run.steps.all()}


class TestSequence:
    def test_results_flow_from_step_to_step_into_the_outputs(self, start):
        run = start(
            step("a", "echo", args={"n": "{{inputs.n}}", "list": [1, {"deep": "{{inputs.text}}"}]}),
            step("b", "echo", args={"copy": "{{state.a.list}}", "text": "n is {{state.a.n}}"}),
            inputs={"n": {"type": "integer"}, "text": {"type": "string", "default": "{{x}}"}},
            run_inputs={"n": 3},
            outputs={
                "text": "{{state.b.text}}",
                "all": "{{state.b.copy[1].deep}}",
                "n": "{{state.a.n}}",
            },
        )

        run = execute_run(run.pk)

        assert run.state == "succeeded"
        assert run.outputs == {"text": "n is 3", "all": "{{x}}", "n": 3}
        assert run.warnings == []
        assert run.lease_until is None

    def test_every_step_tells_its_end_beside_its_row(self, start):
        run = start(step("a", "echo"), step("b", "echo"))

        execute_run(run.pk)

        told = Event.objects.filter(kind="orchestrator.step.finished").order_by("created_at")
        assert [
            (e.data["step"], e.data["state"], e.data["ended"], e.data["total"]) for e in told
        ] == [
            ("a", "succeeded", 1, 2),
            ("b", "succeeded", 2, 2),
        ]
        last = Event.objects.get(kind="orchestrator.run.finished")
        assert (last.subject_id, last.data["state"]) == (str(run.pk), "succeeded")

    def test_a_false_condition_skips_its_step_and_a_default_stands_in(self, start):
        run = start(
            step("a", "echo", args={"n": 0}),
            step("b", "echo", args={"n": 5}, condition="state.a.n > 0"),
            step("c", "echo", args={"n": "{{state.b.n | default(7)}}"}),
            outputs=["b", "c"],
        )

        run = execute_run(run.pk)

        assert states(run) == {"a": "succeeded", "b": "skipped", "c": "succeeded"}
        assert run.outputs == {"c": {"n": 7}}
        assert run.warnings == ["output_missing:b"]
        assert run.steps.get(step_id="b").reason == "The condition is false: state.a.n > 0"

    def test_decimals_stay_exact_and_can_be_compared(self, start):
        run = start(
            step("a", "money"),
            step("b", "echo", args={"t": "{{state.a.total}}"}, condition="state.a.total > 0"),
        )

        run = execute_run(run.pk)

        assert run.outputs["b"] == {"t": Decimal("0.3000000000")}
        assert str(run.steps.get(step_id="a").result["total"]) == "0.3000000000"

    def test_the_last_of_several_results_of_one_name_counts(self, start):
        run = start(
            {"capability": "lab.echo", "args": {"n": 1}},
            {"capability": "lab.echo", "args": {"n": "{{last.n}}", "second": True}},
        )

        assert execute_run(run.pk).outputs == {"last": {"n": 1, "second": True}}

    def test_a_capability_sees_the_pinned_context_and_its_starter(self, start, lead):
        run = start(step("a", "facts"))

        run = execute_run(run.pk)

        result, metadata = run.outputs["a"], run.steps.get().metadata
        assert result["pack"] == run.ctx["pricing_pack_id"]
        assert result["user"] == str(lead.id)
        assert result["key"] == f"{run.pk}:a"
        assert metadata == {
            "agent_name": "lab",
            "capability": "lab.facts",
            "duration_ms": metadata["duration_ms"],
            "source": "history",
            "asof": run.ctx["asof_date"],
            "ttl_seconds": 60,
            "confidence": Decimal("0.5"),
        }
        assert run.warnings == ["not_reproducible:lab.facts"]

    def test_text_that_the_database_cannot_hold_is_made_holdable(self, start):
        run = execute_run(start(step("a", "dirty")).pk)

        assert run.outputs["a"]["text"] == "a\ufffdb\ufffdc é"


class TestFailure:
    @pytest.mark.parametrize(
        ("failing", "code"),
        [
            (
                step("b", "flaky", args={"file": "{{inputs.file}}", "fails": 9, "how": "refused"}),
                "far_side_refused",
            ),
            (
                step("b", "flaky", args={"file": "{{inputs.file}}", "fails": 9, "how": "broken"}),
                "agent_execution_error",
            ),
            (step("b", "echo", args={"x": "{{state.a.gone}}"}), "template_missing"),
            (step("b", "echo", condition="state.a.gone > 1"), "condition_missing"),
            (step("b", "echo", condition="state.a.text > 1"), "condition_type_error"),
            (step("b", "strict", args={"n": "{{state.a.text}}"}), "capability_result_invalid"),
            (step("b", "big", args={"bytes": 1024 * 1024}), "result_too_large"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_a_step_that_fails_fails_the_run_and_cancels_the_rest(
        self, start, tmp_path, failing, code
    ):
        run = start(
            step("a", "echo", args={"text": "t"}),
            failing,
            step("c", "echo"),
            inputs={"file": {"type": "string"}},
            run_inputs={"file": str(tmp_path / "calls")},
        )

        run = execute_run(run.pk)

        assert (run.state, run.error_code, run.error_step) == ("failed", code, "b")
        assert states(run) == {"a": "succeeded", "b": "failed", "c": "cancelled"}
        assert run.steps.get(step_id="b").error

    def test_on_error_continue_goes_on_without_the_result(self, start, tmp_path):
        run = start(
            step("a", "flaky", on_error="continue",
                 args={"file": str(tmp_path / "calls"), "fails": 9, "how": "refused"}),
            step("b", "echo", args={"seen": '{{state.a.calls | default("none")}}'}),
        )  # fmt: skip

        run = execute_run(run.pk)

        assert run.state == "succeeded"
        assert run.outputs == {"b": {"seen": "none"}}
        assert run.warnings == ["step_failed:a:far_side_refused"]

    def test_a_transient_error_is_tried_again_after_one_and_two_seconds(self, start, tmp_path):
        calls = tmp_path / "calls"
        run = start(step("a", "flaky", retries=2, args={"file": str(calls), "fails": 2}))

        run = execute_run(run.pk)

        times = [float(line) for line in calls.read_text().splitlines()]
        assert run.state == "succeeded"
        assert [round(b - a) for a, b in pairwise(times)] == [1, 2]
        assert run.steps.get().attempt == 3

    def test_tries_are_counted_and_only_transient_errors_are_tried_again(self, start, tmp_path):
        for how, code, times in [("flaky", "far_side_away", 2), ("refused", "far_side_refused", 1)]:
            calls = tmp_path / how
            run = start(
                step("a", "flaky", retries=1, args={"file": str(calls), "fails": 9, "how": how}),
                id=how,
            )

            run = execute_run(run.pk)

            assert (run.state, run.error_code) == ("failed", code)
            assert len(calls.read_text().splitlines()) == times

    def test_a_step_over_its_time_is_stopped(self, start):
        run = start(step("a", "slow", timeout_seconds=1, args={"seconds": 30}))

        began = time.monotonic()
        run = execute_run(run.pk)

        assert (run.state, run.error_code, run.error_step) == ("failed", "timeout", "a")
        assert time.monotonic() - began < 4

    def test_a_call_that_does_not_listen_is_left_behind(self, start):
        run = start(step("a", "deaf", timeout_seconds=1, args={"seconds": 20}))

        began = time.monotonic()
        run = execute_run(run.pk)

        assert (run.state, run.error_code) == ("failed", "timeout")
        assert time.monotonic() - began < 10

    def test_the_runs_own_deadline_ends_it(self, start):
        run = start(
            step("a", "slow", args={"seconds": 30}),
            step("b", "echo"),
            deadline=timedelta(seconds=1),
        )

        run = execute_run(run.pk)

        assert (run.state, run.error_code, run.error_step) == ("failed", "timeout", "a")
        assert states(run) == {"a": "cancelled", "b": "cancelled"}

    def test_a_starter_who_left_the_team_ends_the_run(self, start, lead):
        run = start(step("a", "echo"))
        Membership.objects.filter(user=lead.user).delete()

        run = execute_run(run.pk)

        assert (run.state, run.error_code) == ("failed", "forbidden")

    def test_a_run_refuses_to_work_inside_a_transaction(self, start):
        run = start(step("a", "echo"))

        with pytest.raises(RuntimeError, match="outside of any transaction"), transaction.atomic():
            execute_run(run.pk)


class TestGraph:
    def test_steps_wait_for_what_they_need_and_the_rest_runs_at_once(self, start, tmp_path):
        log = str(tmp_path / "log")
        meet = [step(f"p{n}", "meet", args={"file": log, "seconds": 0.3}) for n in range(6)]
        run = start(
            *meet,
            step(
                "last", "echo", args={"a": "{{state.p0.name}}"}, depends_on=[s["id"] for s in meet]
            ),
        )

        run = execute_run(run.pk)

        lines = (tmp_path / "log").read_text().splitlines()
        at_once, most = 0, 0
        for line in lines:
            at_once += 1 if line.startswith("+") else -1
            most = max(most, at_once)
        assert run.state == "succeeded"
        assert most == 4
        assert run.outputs == {"last": {"a": "p0"}}

    def test_a_failure_stops_what_runs_beside_it(self, start, tmp_path):
        run = start(
            step("bad", "flaky", args={"file": str(tmp_path / "c"), "fails": 9, "how": "refused"}),
            step("long", "slow", args={"seconds": 30}),
            step("end", "echo", depends_on=["bad", "long"]),
        )

        began = time.monotonic()
        run = execute_run(run.pk)

        assert (run.state, run.error_step) == ("failed", "bad")
        assert states(run) == {"bad": "failed", "long": "cancelled", "end": "cancelled"}
        assert time.monotonic() - began < 5

    def test_a_skipped_need_is_an_ended_need(self, start):
        run = start(
            step("a", "echo", condition="false"),
            step("b", "echo", depends_on=["a"], args={"x": 1}),
        )

        run = execute_run(run.pk)

        assert states(run) == {"a": "skipped", "b": "succeeded"}


class TestStopping:
    def test_a_host_that_is_told_to_stop_cancels(self, start):
        run = start(step("a", "slow", args={"seconds": 30}), step("b", "echo"))
        began = time.monotonic()

        run = execute_run(run.pk, should_stop=lambda: time.monotonic() - began > 0.5)

        assert run.state == "cancelled"
        assert states(run) == {"a": "cancelled", "b": "cancelled"}

    def test_a_cancel_from_outside_is_noticed_within_seconds(self, start, lead, tmp_path):
        run = start(step("a", "slow", args={"seconds": 60, "file": str(tmp_path / "begun")}))
        host = Beside(lambda: execute_run(run.pk))
        wait_for((tmp_path / "begun").exists)

        services.cancel_run(run_id=run.pk, actor=lead, reason="no longer needed")
        host.join(15)

        assert host.result.state == "cancelled"
        assert states(run) == {"a": "cancelled"}
        with pytest.raises(IllegalTransition):
            services.cancel_run(run_id=run.pk, actor=lead, reason="again")

    def test_the_kill_switch_ends_it_within_seconds(self, start, lead, tmp_path):
        run = start(step("a", "slow", args={"seconds": 60, "file": str(tmp_path / "begun")}))
        host = Beside(lambda: execute_run(run.pk))
        wait_for((tmp_path / "begun").exists)

        set_kill_switch(actor=lead, on=True, reason="it spends too much")
        host.join(15)

        assert host.result.state == "cancelled"
        assert host.result.steps.get().reason == "The kill switch is on."

    def test_a_late_host_changes_nothing(self, start, tmp_path):
        run = start(step("a", "slow", args={"seconds": 60, "file": str(tmp_path / "begun")}))
        errors = []

        def late():
            try:
                execute_run(run.pk)
            except RunTakenOver as error:
                errors.append(error)
            finally:
                connection.close()

        thread = threading.Thread(target=late)
        thread.start()
        wait_for((tmp_path / "begun").exists)

        taken = take_run(run_id=run.pk)  # the execution's fence said that the first host is out
        thread.join(15)

        assert len(errors) == 1
        assert taken.attempt == 2
        assert PatternRun.objects.get().state == "running"
        assert states(run) == {"a": "pending"}


class TestWaiting:
    def test_a_waiting_step_frees_the_slot_and_goes_on_when_it_is_woken(self, start, tmp_path):
        answer = tmp_path / "answer"
        run = start(
            step("a", "echo", args={"n": 1}),
            step("b", "elsewhere", args={"file": str(answer), "id": "s1"}),
            step("c", "echo", args={"got": "{{state.b.x}}"}),
            own_job=True,
        )

        run = execute_run(run.pk)
        assert (run.state, states(run)["b"]) == ("waiting", "waiting")
        assert execute_run(run.pk).state == "waiting"

        answer.write_text('{"x": 5}')
        assert services.wake_runs(label="lab.other", subject_id="s1") == 0
        assert services.wake_runs(label="lab.subject", subject_id="s1") == 1
        assert PatternRun.objects.get().state == "queued"
        assert execute_run(run.pk).outputs == {"c": {"got": 5}}

    def test_the_time_a_run_waited_is_not_held_against_it(self, start, tmp_path):
        run = start(step("a", "elsewhere", args={"file": str(tmp_path / "x"), "id": "s1"}))
        run = execute_run(run.pk)
        PatternRun.objects.update(updated_at=timezone.now() - timedelta(hours=2))
        before = run.deadline

        services.wake_runs(label="lab.subject", subject_id="s1")

        assert PatternRun.objects.get().deadline - before > timedelta(minutes=119)

    def test_after_a_day_of_waiting_a_run_fails(self, start, tmp_path):
        waits = step("a", "elsewhere", args={"file": str(tmp_path / "x"), "id": "s1"})
        run = start(waits, own_job=True)
        execute_run(run.pk)
        PatternRun.objects.update(updated_at=timezone.now() - timedelta(hours=25))

        assert services.sweep_runs() == 1

        run = PatternRun.objects.get()
        assert (run.state, run.error_code) == ("failed", "timeout")
        assert states(run) == {"a": "cancelled"}


class TestLostHosts:
    def test_a_run_of_its_own_job_is_busy_until_its_lease_lapses_and_then_swept(self, start):
        run = start(step("a", "echo"), own_job=True)
        taken = take_run(run_id=run.pk)

        with pytest.raises(RunBusy):
            execute_run(run.pk)
        assert services.sweep_runs() == 0

        PatternRun.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
        assert services.sweep_runs() == 1
        row = PatternRun.objects.get()
        assert (row.state, row.attempt) == ("queued", taken.attempt + 1)
        assert jobs(run) == 2  # the first one and the one of the sweep
        assert execute_run(run.pk).state == "succeeded"

    def test_a_run_that_lost_three_hosts_fails(self, start):
        run = start(step("a", "echo"))
        for _ in range(3):
            take_run(run_id=run.pk)

        run = execute_run(run.pk)

        assert (run.state, run.error_code, run.attempt) == ("failed", "host_lost", 3)

    def test_a_run_whose_execution_is_over_is_called_off(self, start):
        run = start(step("a", "echo"))
        assert services.sweep_runs() == 0

        PatternRun.objects.update(updated_at=timezone.now() - timedelta(seconds=61))
        assert services.sweep_runs() == 1

        run = PatternRun.objects.get()
        assert (run.state, states(run)) == ("cancelled", {"a": "cancelled"})

    def test_a_failed_step_of_a_lost_host_ends_the_run_as_it_would_have_then(self, start, tmp_path):
        calls = tmp_path / "calls"
        run = start(
            step("a", "flaky", args={"file": str(calls), "fails": 9, "how": "refused"}),
            step("b", "echo"),
        )
        taken = take_run(run_id=run.pk)
        steps.begin_step(run=taken, step_id="a", args={})
        steps.fail_step(run=taken, step_id="a", error=RunTakenOver("it broke"))

        run = execute_run(run.pk)

        assert (run.state, run.error_code, run.error_step) == ("failed", "lease_lost", "a")
        assert not calls.exists()

    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("victim", ["a", "b", "c"])
    def test_killed_in_any_step_the_run_ends_the_same_with_effects_once(
        self, start, tmp_path, victim, when
    ):
        folder = str(tmp_path)
        run = start(
            step("a", "effect", args={"folder": folder, "n": 1}),
            step("b", "effect", args={"folder": folder, "n": "{{state.a.n}}"}),
            step("c", "effect", args={"folder": folder, "n": "{{state.b.n}}"}),
        )
        (tmp_path / f"die.{victim}.{when}").touch()

        assert a_process(str(run.pk)).wait(60) == -9
        assert PatternRun.objects.get().state == "running"
        run = execute_run(run.pk)

        assert (run.state, run.attempt) == ("succeeded", 2)
        assert run.outputs == {"c": {"n": 4, "files": 3}}
        assert len(list(tmp_path.glob("*_*"))) == 3
        calls = (tmp_path / "calls").read_text().split()
        assert sorted(set(calls)) == ["a", "b", "c"]
        assert len(calls) == (4 if when == "after" else 3)
        assert states(run) == {"a": "succeeded", "b": "succeeded", "c": "succeeded"}
        ends = Event.objects.filter(kind="orchestrator.step.finished", data__state="succeeded")
        assert sorted(e.data["step"] for e in ends) == ["a", "b", "c"]


class TestWorkers:
    def test_a_killed_worker_leaves_its_run_to_the_next_one(self, start, tmp_path):
        """The next worker's own sweep finds the run; only the lease's time is cut short here."""
        (tmp_path / "die.b.after").touch()
        run = start(
            step("a", "effect", args={"folder": str(tmp_path), "n": 1}),
            step("b", "effect", args={"folder": str(tmp_path), "n": "{{state.a.n}}"}),
            own_job=True,
        )
        worker = a_process("worker")
        assert worker.wait(60) == -9
        PatternRun.objects.filter(state="running").update(lease_until=timezone.now())

        worker = a_process("worker")
        try:
            wait_for(lambda: PatternRun.objects.get(pk=run.pk).is_ended, seconds=60)
        finally:
            worker.terminate()
            worker.wait(30)

        run = PatternRun.objects.get()
        assert (run.state, run.attempt) == ("succeeded", 2)
        assert run.outputs == {"b": {"n": 3, "files": 2}}
        assert sorted((tmp_path / "calls").read_text().split()) == ["a", "b", "b"]
        assert worker.returncode == 0


class TestReuse:
    def again(self, lead, **inputs):
        return services.start_run(pattern="demo", inputs=inputs, actor=lead, reuse=True)

    @pytest.fixture
    def first(self, start):
        run = start(
            step("a", "lasting", args={"n": "{{inputs.n}}"}),
            step("b", "lasting", condition="state.a.n > 1"),
            inputs={"n": {"type": "integer"}},
            run_inputs={"n": 1},
            outputs=["a"],
        )
        return execute_run(run.pk)

    def test_the_same_question_over_the_same_facts_is_answered_at_once(self, first, lead):
        again = self.again(lead, n=1)

        assert (again.state, again.cached_from_id) == ("succeeded", first.pk)
        assert again.outputs == first.outputs
        trace = build_trace(again)
        assert [s["status"] for s in trace["steps"]] == ["cached", "skipped"]
        assert trace["per_panel_staleness"] == build_trace(first)["per_panel_staleness"]

    def test_other_inputs_another_ledger_or_an_old_answer_run_anew(self, first, lead):
        assert self.again(lead, n=2).state == "queued"
        assert services.start_run(pattern="demo", inputs={"n": 1}, actor=lead).state == "queued"

        PatternRun.objects.filter(pk=first.pk).update(
            finished_at=timezone.now() - timedelta(seconds=601)
        )
        assert self.again(lead, n=1).state == "queued"

        PatternRun.objects.filter(pk=first.pk).update(finished_at=timezone.now())
        assert self.again(lead, n=1).state == "succeeded"
        charge(
            team=lead.team, task_id=None, ticket_id=None, provider="local", model="local",
            prompt_tokens=1, completion_tokens=0,
        )  # fmt: skip
        relay.run_once()
        assert self.again(lead, n=1).state == "queued"

    def test_what_has_effects_or_reads_the_world_is_never_used_again(self, start, lead, tmp_path):
        run = start(step("a", "effect", args={"folder": str(tmp_path)}))
        execute_run(run.pk)

        assert run.cache_key == ""
        assert (
            services.start_run(pattern="demo", inputs={}, actor=lead, reuse=True).state == "queued"
        )


class TestTrace:
    def test_a_trace_tells_who_did_what_with_which_facts(self, start, tmp_path):
        run = start(
            step("a", "facts"),
            step("b", "echo", condition="false"),
            step("c", "flaky", on_error="continue",
                 args={"file": str(tmp_path / "c"), "fails": 9, "how": "refused"}),
        )  # fmt: skip
        run = execute_run(run.pk)

        trace = build_trace(run)

        assert trace["pattern_id"] == "demo"
        assert trace["pattern_version"] == "1.0.0"
        for key in ("pricing_pack_id", "ledger_commit_hash", "trace_id", "request_id"):
            assert trace[key] == run.ctx[key]
        assert trace["agents_used"] == ["lab"]
        assert trace["capabilities_used"] == ["lab.facts", "lab.flaky"]
        assert trace["sources"] == ["history"]
        assert trace["per_panel_staleness"] == [
            {"capability": "lab.facts", "asof": run.ctx["asof_date"], "ttl": 60}
        ]
        assert [(s["id"], s["status"]) for s in trace["steps"]] == [
            ("a", "success"),
            ("b", "skipped"),
            ("c", "error"),
        ]
        assert trace["steps"][1]["reason"].startswith("The condition is false")
        assert trace["steps"][2]["error"]["code"] == "far_side_refused"


def jobs(run):
    """How many jobs were deferred to do this run."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM procrastinate_jobs"
            " WHERE task_name = 'orchestrator.run_pattern' AND args ->> 'run_id' = %s",
            [str(run.pk)],
        )
        return cursor.fetchone()[0]


def a_process(task):
    """A run, or a whole worker, in a process of its own that may die."""
    settings = connection.settings_dict
    url = f"postgres://{settings['USER']}@/{settings['NAME']}?host={settings['HOST']}"
    return subprocess.Popen(
        [sys.executable, "-m", "tests.orchestrator.lab", task],
        env={**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "config.settings"},
    )


def wait_for(true, seconds=10):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        threading.Event().wait(0.02)
