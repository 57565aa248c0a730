"""SIGTERM in the middle of work: every process ends in time with 0, and nothing stays behind."""

import signal
import threading
import time
from functools import partial

import pytest
from django.db import connection

from guardian import services as guardian
from guardian.authority import ROLE_SCOPES, actor_for
from guardian.models import Event, ResourceLock, WorkerHost
from orchestrator import services
from orchestrator.models import AgentExecution
from phases import services as phases
from phases.models import Task, Ticket
from tests.e2e.doors import Web
from tests.e2e.processes import Processes, story, wait_for
from tools.models import ToolExecution

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.django_db(transaction=True),
]

CLIENTS = 4
# Of 12 seconds the last ten are for giving work back: two to finish, too few for the tests.
BRIEF = "12"


@pytest.fixture
def processes(tmp_path):
    made = Processes(tmp_path)
    yield made
    made.end()


@pytest.fixture
def token(admin, team):
    guardian.build_first_pack()
    phases.seed_team(team=team)
    services.seed_patterns()
    services.seed_agents(team=team)
    _, text = guardian.create_token(
        actor=admin, user=admin.user, name="load", scopes=sorted(ROLE_SCOPES["admin"])
    )
    return text


class Load:
    """Clients that open tickets one after the other until nobody answers."""

    def __init__(self, web: Web) -> None:
        self.web = web
        self.answers: list[int] = []
        self.threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def _run(self) -> None:
        while True:
            status, _ = self.web.ask("/api/v1/tickets", {"title": "load"})
            self.answers.append(status)
            if status == 0:
                return

    def end(self) -> list[int]:
        for thread in self.threads:
            thread.join(60)
        return self.answers


def test_everything_ends_in_time_and_nothing_is_left_in_the_name_of_the_dead(
    processes, token, lead, team
):
    ticket = phases.open_ticket(
        actor=lead, title="Is it sound?", workflow="repo_checkup",
        context={"source": {"kind": "self"}},
    )  # fmt: skip
    web = Web(processes, token)
    relay = processes.start("relay")
    worker = processes.start("worker", LEMNOS_SHUTDOWN_SECONDS=BRIEF)
    why = lambda: story(team) + "\n" + processes.logs()  # noqa: E731  said three times
    wait_for(web.ready, seconds=90, why=why)
    running = ToolExecution.objects.filter(tool__name="pytest_run", status="running")
    wait_for(running.exists, seconds=120, why=why)
    task = ticket.tasks.get(status="running")
    holder = actor_for(task.holder, team)
    guardian.acquire_lock(
        actor=holder, resource_type="file", resource_id="a.py", wait=False, task_id=task.pk
    )
    load = Load(web)
    wait_for(lambda: load.answers.count(201) >= CLIENTS, seconds=60, why=why)

    asked_at = time.monotonic()
    web.process.send_signal(signal.SIGTERM)
    said_no = web.ask("/readyz")
    for process in (worker, relay):
        process.send_signal(signal.SIGTERM)
    codes = [process.wait(45) for process in (web.process, relay, worker)]
    took = time.monotonic() - asked_at

    assert codes == [0, 0, 0], processes.logs()
    assert took < 30
    assert (said_no[0], said_no[1].get("status")) == (503, "shutting_down")
    # A request was answered and did what it says, or was never taken.
    answers = load.end()
    assert set(answers) == {201, 0}
    assert Ticket.objects.filter(title="load").count() == answers.count(201)

    given_back = Task.objects.get(pk=task.pk)
    assert (given_back.status, given_back.holder_id) == ("pending", None), story(team)
    assert (given_back.fence, given_back.retry_count) == (task.fence + 1, 0)
    assert not Task.objects.filter(status__in=["assigned", "running"]).exists()
    assert not AgentExecution.objects.still_open().exists()
    assert not ResourceLock.objects.filter(released_at=None).exists()
    assert not WorkerHost.objects.exists()
    assert not jobs_under_way()
    assert relay_locks() == 0

    # Whoever comes next goes on with it.
    processes.start("relay")
    processes.start("worker")
    wait_for(partial(is_taken_up, task), seconds=90, why=why)
    assert Event.objects.filter(kind="phases.task.claimed", subject_id=str(task.pk)).count() >= 2


def jobs_under_way() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT task_name FROM procrastinate_jobs WHERE status = 'doing'")
        return [name for (name,) in cursor.fetchall()]


def relay_locks() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
            " WHERE locktype = 'advisory' AND d.datname = current_database()"
        )
        return cursor.fetchone()[0]


def is_taken_up(task: Task) -> bool:
    return Task.objects.get(pk=task.pk).status in {"running", "completed"}
