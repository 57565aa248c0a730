"""A ticket's first task from the request to its end: one tree of spans, and figures that moved."""

import asyncio

import pytest
from django.db import connection
from procrastinate.contrib.django import app
from procrastinate.contrib.django.utils import connector_params
from procrastinate.psycopg_connector import PsycopgConnector

from guardian import hosts, metrics, relay, tracing
from guardian import services as guardian
from guardian.management.commands.worker import WORK_QUEUES, Lane, make_worker
from guardian.models import Event
from orchestrator import services
from orchestrator.models import AgentExecution, PatternRun
from phases import services as phases
from phases.models import Task
from tests.guardian.spans import collected
from tools import services as tools

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def crew(team) -> None:
    guardian.build_first_pack()
    tools.seed_shipped_tools()
    tools.seed_team(team=team)
    phases.seed_team(team=team)
    services.seed_patterns()
    services.seed_agents(team=team)
    hosts.announce(queues=["agents", "system"], concurrency=2)
    relay.run_once()


def work() -> None:
    """What a worker process does with the jobs that wait now."""
    connector = PsycopgConnector(kwargs=connector_params(), min_size=1, max_size=4)
    with app.replace_connector(connector) as worker_app:
        asyncio.run(_until_empty(worker_app))


async def _until_empty(worker_app) -> None:
    async with worker_app.open_async():
        worker = make_worker(worker_app, Lane("work", ("system", *WORK_QUEUES), 1))
        worker.wait = False
        await worker.run()


def figures() -> dict[str, float]:
    """How often each family was counted, over all its labels."""
    found: dict[str, float] = {}
    for family in metrics.REGISTRY.collect():
        for sample in family.samples:
            if sample.name.endswith(("_total", "_count")):
                name = sample.name.removeprefix("lemnos_").removesuffix("_count")
                found[name] = found.get(name, 0) + sample.value
    return found


MOVED = {
    "http_request_seconds", "events_total", "delivery_seconds", "job_seconds",
    "task_claim_seconds", "task_wait_seconds", "agent_calls_total", "agent_call_seconds",
    "pattern_step_seconds", "pattern_runs_total", "tool_executions_total",
    "sandbox_start_seconds", "gate_results_total",
}  # fmt: skip


def test_one_task_is_one_tree_over_web_relay_and_worker_and_each_figure_moves(crew, api, lead):
    before = figures()
    wish = {
        "title": "Check ourselves", "workflow": "repo_checkup",
        "context": {"source": {"kind": "self"}},
    }  # fmt: skip

    with collected() as spans:
        answer = api(lead).post("/api/v1/tickets", wish, format="json")
        assert answer.status_code == 201, answer.content
        for _ in range(3):
            relay.run_once()
            work()
        relay.run_once()

    assert Task.objects.filter(status="completed").exists(), list(
        AgentExecution.objects.values_list("state", "error_code", "error")
    )
    trace = answer["traceparent"][3:35]
    tree = [span for span in spans() if f"{span.context.trace_id:032x}" == trace]
    named = {span.context.span_id: span for span in tree}
    roots = [span for span in tree if span.parent is None]
    assert [span.name for span in roots] == ["lemnos.request"]
    assert all(span.parent.span_id in named for span in tree if span.parent is not None)
    below = {
        (named[span.parent.span_id].name, span.name) for span in tree if span.parent is not None
    }
    assert {
        ("lemnos.request", "lemnos.delivery"),
        ("lemnos.job", "lemnos.pattern"),
        ("lemnos.pattern", "lemnos.step"),
        ("lemnos.step", "lemnos.agent"),
        ("lemnos.agent", "lemnos.tool"),
    } <= below

    runs = PatternRun.objects.all()
    inner = [s for s in tree if s.name in {"lemnos.pattern", "lemnos.step", "lemnos.tool"}]
    for span in inner:
        assert span.attributes["lemnos.pattern_id"]
        assert span.attributes["lemnos.pricing_pack_id"] == runs[0].ctx["pricing_pack_id"]
        assert span.attributes["lemnos.asof_date"] == runs[0].ctx["asof_date"]
        assert span.attributes["lemnos.team"] == str(lead.team_id)
        assert span.attributes["lemnos.user"] in {tracing.hashed(r.started_by_id) for r in runs}
    assert {s.attributes["lemnos.capability"] for s in tree if s.name == "lemnos.step"}
    assert {s.attributes["lemnos.agent_name"] for s in tree if s.name == "lemnos.agent"}
    assert {s.attributes["lemnos.tool"] for s in tree if s.name == "lemnos.tool"}
    assert not any(str(lead.id) in span.to_json() for span in tree)
    finished = Event.objects.filter(kind="orchestrator.run.finished").first()
    assert finished is None or finished.traceparent[3:35] == trace

    after = figures()
    assert {name for name in MOVED if after.get(name, 0) <= before.get(name, 0)} == set()
    connection.close()
