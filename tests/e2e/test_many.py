"""Two web processes, three workers and two relays on one database: any of them may die."""

import json
import os
import subprocess
import sys
from functools import partial
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from launch.redis import find_redis, redis_child, redis_url
from launch.venv import Virtualenv

from guardian import services as guardian
from guardian.authority import ROLE_SCOPES
from guardian.models import Delivery, Event
from guardian.relay import RELAY_LOCK_ID
from orchestrator import services
from orchestrator.models import AgentExecution
from phases import services as phases
from phases.models import PhaseGateArtifact, PhaseHistory, Task
from tests.config.test_containers import health_command
from tests.e2e.doors import Web
from tests.e2e.processes import Processes, story, wait_for
from tools.models import ToolExecution

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.django_db(transaction=True),
]

MOVES = ["PHASE_INTAKE", "PHASE_CHECKS", "PHASE_REPORT", "PHASE_DONE"]
EVIDENCE = ["inventory", "lint_report", "report", "test_results"]


class Fleet:
    """All processes of one installation, and one Redis between them."""

    def __init__(self, processes: Processes, redis: str, token: str) -> None:
        self.processes, self.redis, self.token = processes, redis, token
        self.webs = [Web(processes, token, REDIS_URL=redis) for _ in range(2)]
        self.workers = [self.start("worker") for _ in range(3)]
        self.relays = [self.start("relay") for _ in range(2)]

    def start(self, command: str, **extra: str) -> "subprocess.Popen[bytes]":
        return self.processes.start(command, REDIS_URL=self.redis, **extra)

    def until(self, what, *, seconds: float, team) -> object:
        return wait_for(
            what, seconds=seconds, why=lambda: story(team) + "\n" + self.processes.logs()
        )

    def leader(self) -> "subprocess.Popen[bytes]":
        """The relay that holds the lock, by the name its session told the database."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
                " WHERE l.locktype = 'advisory' AND l.granted AND l.objid = %s"
                "   AND l.database = (SELECT oid FROM pg_database"
                "                      WHERE datname = current_database())",
                [RELAY_LOCK_ID],
            )
            (name,) = cursor.fetchone()
        return next(relay for relay in self.relays if name.endswith(f":{relay.pid}"))


@pytest.fixture
def token(admin):
    _, text = guardian.create_token(
        actor=admin, user=admin.user, name="many", scopes=sorted(ROLE_SCOPES["admin"])
    )
    return text


@pytest.fixture
def redis(tmp_path):
    program = find_redis(Virtualenv(settings.BASE_DIR).site_packages)
    if program is None:
        pytest.skip("redis: no redis-server here")
    child = redis_child(program, None, tmp_path, tmp_path / "redis.log")
    child.start()
    wait_for((tmp_path / "redis.sock").exists, seconds=30, why=child.last_words)
    yield redis_url(tmp_path)
    child.kill()


@pytest.fixture
def fleet(team, token, redis, tmp_path):
    guardian.build_first_pack()
    phases.seed_team(team=team)
    services.seed_patterns()
    services.seed_agents(team=team)
    (tmp_path / "data").mkdir()
    processes = Processes(tmp_path / "data")
    try:
        made = Fleet(processes, redis, token)
        for web in made.webs:
            made.until(web.ready, seconds=90, team=team)
        yield made
    finally:
        processes.end()


def open_checkup(web: Web) -> dict[str, Any]:
    status, ticket = web.ask(
        "/api/v1/tickets",
        {
            "title": "Is it sound?",
            "workflow": "repo_checkup",
            "context": {"source": {"kind": "self"}},
        },
    )
    assert status == 201, ticket
    return ticket


def phase_of(web: Web, ticket: dict[str, Any]) -> str:
    return web.ask(f"/api/v1/tickets/{ticket['id']}")[1].get("phase", "")


def is_over(web: Web, ticket: dict[str, Any]) -> bool:
    return phase_of(web, ticket) in {"PHASE_DONE", "PHASE_BLOCKED"}


def test_a_ticket_goes_to_done_through_many_and_through_the_death_of_one_of_each(fleet, team):
    here, there = fleet.webs

    # Told at one door, heard at the other; done by whichever worker, shown by both.
    with there.listen() as wire:
        assert json.loads(wire.recv(timeout=10))["type"] == "hello"
        first = open_checkup(here)
        heard = hear(wire, first["id"], until="phases.ticket.completed", seconds=150)
    assert heard[0] == "phases.ticket.created"
    for web in fleet.webs:
        assert phase_of(web, first) == "PHASE_DONE", story(team)
    assert subprocess.run(
        [sys.executable, *health_command()[1:]],
        check=False, env={**os.environ, "LEMNOS_PORT": str(here.port)},
    ).returncode == 0  # fmt: skip

    second = open_checkup(here)
    running = ToolExecution.objects.filter(tool__name="pytest_run", status="running")
    fleet.until(running.exists, seconds=120, team=team)
    busy = AgentExecution.objects.get(state="running", task__ticket_id=second["id"])
    victim = next(w for w in fleet.workers if w.pid == int(busy.host.rpartition(":")[2]))
    assert busy.task_id is not None
    fence = Task.objects.get(pk=busy.task_id).fence
    for process in (victim, fleet.leader(), here.process):
        fleet.processes.kill(process)

    assert here.ask("/livez")[0] == 0
    fleet.until(partial(is_over, there, second), seconds=180, team=team)

    assert phase_of(there, second) == "PHASE_DONE", story(team)
    assert there.ready()
    assert Task.objects.get(pk=busy.task_id).fence >= fence
    for ticket in (first, second):
        moves = PhaseHistory.objects.filter(ticket_id=ticket["id"]).order_by("id")
        assert list(moves.values_list("to_phase__key", flat=True)) == MOVES
        found = PhaseGateArtifact.objects.filter(ticket_id=ticket["id"], source="sandbox")
        assert sorted(found.values_list("artifact_type", flat=True)) == EVIDENCE
        ends = Event.objects.filter(kind="phases.task.completed", data__ticket_id=ticket["id"])
        assert len(set(ends.values_list("subject_id", flat=True))) == ends.count() == 3
    assert not AgentExecution.objects.still_open().exists()
    assert not Task.objects.filter(status__in=["assigned", "running"]).exists()
    assert not Delivery.objects.filter(state="parked").exists()
    stamped = Event.objects.stamped().order_by("seq").values_list("seq", flat=True)
    assert list(stamped) == list(range(stamped[0], stamped[0] + len(stamped)))


def hear(wire, ticket: str, *, until: str, seconds: float) -> list[str]:
    """The kinds of all events about the ticket, up to one."""
    kinds: list[str] = []
    while not kinds or kinds[-1] != until:
        message = json.loads(wire.recv(timeout=seconds))
        subject = message.get("subject") or {}
        if message["type"] == "event" and subject.get("id") == ticket:
            kinds.append(message["kind"])
    return kinds
