"""Several worker hosts on one database: each tick once, deaths without loss, upkeep never late."""

import subprocess
import sys
from functools import partial

import pytest
from django.conf import settings
from django.db import connection

from tests.e2e.processes import environment, wait_for
from tests.hosts.jobs import TABLES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.django_db(transaction=True),
]

JOBS, DEATHS = 1000, 50
# Every tick of the upkeep that came due in the last seconds: how often and how late it began.
TICKS = """
SELECT j.task_name, (j.args->>'timestamp')::float AS due, count(*),
       max(extract(epoch FROM e.at) - (j.args->>'timestamp')::float)
  FROM procrastinate_jobs j JOIN procrastinate_events e ON e.job_id = j.id AND e.type = 'started'
 WHERE j.queue_name = 'system' AND j.args ? 'timestamp'
   AND (j.args->>'timestamp')::float > %s
 GROUP BY 1, 2
"""


class Hosts:
    """Worker processes made and killed by tests/hosts/__main__.py."""

    def __init__(self, data_dir) -> None:
        self.log = data_dir / "hosts.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.hosts"],
                cwd=settings.BASE_DIR,
                env={
                    **environment(data_dir),
                    "DJANGO_SETTINGS_MODULE": "tests.hosts.settings",
                    "WORKER_CONCURRENCY": "2",
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def start(self, *arguments: str) -> int:
        return self.ask("start", *arguments)

    def kill(self, pid: int) -> None:
        self.ask("kill", str(pid))

    def ask(self, *words: str) -> int:
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline() or 0)

    def said(self) -> str:
        return self.log.read_text()[-4000:]

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture
def hosts(tmp_path, transactional_db):
    run("DELETE FROM procrastinate_jobs")
    run(TABLES)
    made = Hosts(tmp_path)
    yield made
    made.end()
    run("DROP TABLE hosts_run, hosts_effect, hosts_total")
    run("DELETE FROM procrastinate_jobs")


def run(statement: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)


def one(statement: str, *values: object):
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchone()[0]


def queue_up(name: str, many: int, argument: str, value: int | None = None) -> None:
    """Jobs whose argument is their number, or one value for all."""
    run(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, args)"
        " SELECT 'default', %s, jsonb_build_object(%s::text, coalesce(%s::int, n))"
        "   FROM generate_series(1, %s) AS n",
        name, argument, value, many,
    )  # fmt: skip


def test_a_thousand_jobs_have_their_effects_once_through_fifty_deaths(hosts):
    queue_up("hosts.count", JOBS, "number")
    arguments = ("--queues", "default,system", "--concurrency", "4")
    living = [hosts.start(*arguments) for _ in range(3)]

    for death in range(1, DEATHS + 1):
        wait_for(partial(has_run, 15 * death), seconds=60, why=hosts.said)
        hosts.kill(living.pop(0))
        living.append(hosts.start(*arguments))
    wait_for(partial(is_done, JOBS), seconds=120, why=hosts.said)

    assert one("SELECT effects FROM hosts_total") == JOBS
    assert one("SELECT count(*) FROM hosts_effect") == JOBS
    # Some were under way when their worker died and ran again, or the test shows nothing.
    assert one("SELECT count(*) FROM hosts_run") > JOBS


def has_run(many: int) -> bool:
    return one("SELECT count(*) FROM hosts_run") >= many


def is_done(many: int) -> bool:
    done = "SELECT count(*) FROM procrastinate_jobs WHERE task_name = %s AND status = 'succeeded'"
    return one(done, "hosts.count") == many


def test_three_hosts_do_each_tick_once_and_in_time_though_all_places_for_work_are_taken(hosts):
    queue_up("hosts.hold", 48, "seconds", 5)
    for _ in range(3):
        hosts.start()
    wait_for(partial(are_held, 6), seconds=60, why=hosts.said)
    begun = one("SELECT extract(epoch FROM now())::float")

    wait_for(partial(sweeps_since, begun, 3), seconds=60, why=hosts.said)

    waiting = "SELECT count(*) FROM procrastinate_jobs WHERE task_name = %s AND status = 'todo'"
    assert one(waiting, "hosts.hold") > 0  # so all the while no place for work was free
    with connection.cursor() as cursor:
        cursor.execute(TICKS, [begun])
        ticks = cursor.fetchall()
    assert {name for name, *_ in ticks} >= {
        "guardian.rescue_stalled_jobs", "guardian.run_schedules", "phases.sweep_leases",
        "orchestrator.upkeep",
    }  # fmt: skip
    assert [tick for tick in ticks if tick[2] != 1] == []
    # Behind the work they would be 40 seconds late; a busy machine makes them wait for itself only.
    assert [tick for tick in ticks if tick[3] >= 10] == []


def are_held(many: int) -> bool:
    held = "SELECT count(*) FROM procrastinate_jobs WHERE task_name = %s AND status = 'doing'"
    return one(held, "hosts.hold") == many


def sweeps_since(begun: float, many: int) -> bool:
    """Whether the sweep that comes each five seconds ended so many times."""
    ended = (
        "SELECT count(*) FROM procrastinate_jobs WHERE task_name = %s AND status = 'succeeded'"
        " AND (args->>'timestamp')::float > %s"
    )
    return one(ended, "orchestrator.upkeep", begun) >= many
