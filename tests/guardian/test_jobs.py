"""How jobs are carried, retried, rescued and removed, by real lanes of a worker in this process."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.contrib.django.utils import connector_params
from procrastinate.psycopg_connector import PsycopgConnector

from guardian import context, outbox, retries, services
from guardian.errors import NotFound, Unavailable
from guardian.hosts import Heart
from guardian.management.commands.worker import (
    HEARTBEAT_SECONDS,
    STALLED_SECONDS,
    UPKEEP_CONCURRENCY,
    UPKEEP_QUEUES,
    WORK_QUEUES,
    Lane,
    lanes_from,
    make_worker,
)
from guardian.models import ErrorLog, Event, IdempotencyKey
from phases import services as phases

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def job():
    """Registers a job of this test: `job(work)` answers its name."""
    made = []

    def register(work, **options) -> str:
        task = app.task(name=f"guardian.test_{uuid4().hex}", retry=retries.STRATEGY, **options)(
            work
        )
        made.append(task.name)
        return task.name

    yield register
    for name in made:
        del app.tasks[name]


@pytest.fixture
def queue() -> str:
    return uuid4().hex


def work_off(queue: str) -> None:
    """Run what is due in the queue as a worker would, then end."""

    async def run() -> None:
        connector = PsycopgConnector(kwargs=connector_params())
        with app.replace_connector(connector) as lane_app:
            async with lane_app.open_async():
                worker = make_worker(lane_app, Lane("test", (queue,), 1))
                worker.wait = False
                await worker.run()

    asyncio.run(run())


def rows(queue: str) -> list[tuple[str, int, float]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT status::text, attempts, extract(epoch FROM scheduled_at - now())::float"
            "  FROM procrastinate_jobs WHERE queue_name = %s ORDER BY id",
            [queue],
        )
        return cursor.fetchall()


def make_due(queue: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE queue_name = %s", [queue]
        )


def defer(name: str, queue: str, **more) -> None:
    with transaction.atomic():
        outbox.defer(name, queue=queue, **more)


@pytest.mark.django_db(transaction=True)
class TestCarried:
    def test_a_job_s_events_belong_to_the_request_and_trace_that_deferred_it(self, job, queue):
        @transaction.atomic
        def tell(number: str) -> None:
            outbox.emit("phases.test.happened", number=number)

        name = job(tell)
        context.set_request_id("asked-by-lena")
        context.set_traceparent(TRACE)
        defer(name, queue, number="1")
        context.set_request_id("another")
        defer(name, queue, number="2")
        context.set_request_id("")
        context.set_traceparent("")
        defer(name, queue, number="3")

        work_off(queue)

        told = Event.objects.filter(kind="phases.test.happened").order_by("id")
        assert [(e.data["number"], e.request_id, e.traceparent) for e in told] == [
            ("1", "asked-by-lena", TRACE), ("2", "another", TRACE), ("3", "", ""),
        ]  # fmt: skip

    def test_what_a_request_sets_going_still_says_so_in_the_job_behind_it(
        self, api, lead, team, job, queue
    ):
        phases.seed_team(team=team)
        seen = []
        name = job(lambda: seen.append((context.request_id(), context.traceparent())))
        answer = api(lead).post(
            "/api/v1/tickets",
            {"title": "Trace me"},
            format="json",
            headers={"X-Request-ID": "req-77", "traceparent": TRACE},
        )
        created = Event.objects.get(kind="phases.ticket.created", subject_id=answer.json()["id"])
        context.set_request_id(created.request_id)
        context.set_traceparent(created.traceparent)
        defer(name, queue)

        work_off(queue)

        ((request_id, traceparent),) = seen
        assert request_id == "req-77"
        assert traceparent.split("-")[1] == TRACE.split("-")[1]


class TestWaits:
    def test_doubles_from_a_second_to_five_minutes_and_is_never_the_same(self):
        for failures in range(12):
            full = min(300, 2**failures)
            waits = {retries.wait_seconds(failures) for _ in range(20)}
            assert all(full / 2 <= wait <= full for wait in waits)
            assert len(waits) > 1

    @pytest.mark.parametrize(
        ("error", "passes"),
        [
            (OperationalError("deadlock detected"), True),
            (Unavailable(), True),
            (ConnectionResetError(), True),
            (TimeoutError(), True),
            (NotFound("No such row."), False),
            (ValueError("wrong"), False),
            (PermissionError("disk"), False),
        ],
    )
    def test_only_what_passes_by_itself_is_tried_again(self, error, passes):
        assert retries.is_transient(error) is passes


@pytest.mark.django_db(transaction=True)
class TestRetries:
    def test_what_passes_is_tried_again_until_it_is_well(self, job, queue):
        tries = []

        def fail_twice() -> None:
            tries.append(1)
            if len(tries) < 3:
                raise OperationalError("server closed the connection")

        defer(job(fail_twice), queue)
        work_off(queue)
        ((status, attempts, wait),) = rows(queue)
        assert (status, attempts) == ("todo", 1)
        assert 0 < wait <= 1

        for _ in range(2):
            make_due(queue)
            work_off(queue)

        assert [row[0] for row in rows(queue)] == ["succeeded"]
        assert len(tries) == 3
        assert not ErrorLog.objects.exists()

    def test_the_eighth_failure_is_the_last_and_an_error_for_people(self, job, queue):
        def fail() -> None:
            raise Unavailable

        name = job(fail)
        defer(name, queue)
        for _ in range(8):
            assert rows(queue)[0][0] == "todo"
            make_due(queue)
            work_off(queue)

        assert rows(queue)[0][:2] == ("failed", 8)
        assert ErrorLog.objects.get().component == name

    def test_what_is_wrong_in_itself_is_not_tried_again(self, job, queue):
        def fail() -> None:
            raise ValueError("wrong in itself")

        name = job(fail)
        context.set_request_id("asked")
        defer(name, queue)

        work_off(queue)

        assert rows(queue)[0][:2] == ("failed", 1)
        error = ErrorLog.objects.get()
        assert (error.error_type, error.component, error.severity) == ("ValueError", name, "high")
        assert Event.objects.get(kind="guardian.error.logged").request_id == "asked"

    def test_gives_way_to_a_successor_under_the_same_queueing_lock(self, job, queue):
        def fail_while_the_next_waits() -> None:
            with transaction.atomic():
                outbox.defer(name, queue=queue, queueing_lock=queue, schedule_in=timedelta(hours=1))
            raise OperationalError

        name = job(fail_while_the_next_waits)
        defer(name, queue, queueing_lock=queue)

        work_off(queue)

        assert [row[0] for row in rows(queue)] == ["failed", "todo"]

    def test_all_jobs_share_the_strategy_and_are_wrapped(self):
        apps = (*settings.OWN_APPS, "procrastinate")
        own = {name: task for name, task in app.tasks.items() if name.split(".")[0] in apps}

        others = {name for name, task in own.items() if task.retry_strategy is not retries.STRATEGY}
        assert others <= {"procrastinate.builtin_tasks.remove_old_jobs"}
        wrapped = [made.__name__ for made in app.worker_defaults["worker_middleware"]]
        assert wrapped == ["around_each_job", "watch"]


class TestTicks:
    def test_each_tick_has_a_queueing_lock_and_one_job_at_a_time_waits(self):
        ticks = [known.task for known in app.periodic_registry.periodic_tasks.values()]

        assert len(ticks) >= 12
        assert [task.name for task in ticks if not task.queueing_lock] == []
        assert len({task.queueing_lock for task in ticks}) == len(ticks)
        assert {task.queue for task in ticks} <= {"system", "memory"}

    def test_a_tick_that_comes_often_is_its_own_retry(self):
        assert retries.comes_again_soon("guardian.sweep_locks")
        assert not retries.comes_again_soon("guardian.check_ledger")
        assert not retries.comes_again_soon("orchestrator.run_execution")

    def test_what_is_old_goes_at_four(self):
        (tick,) = [
            known
            for known in app.periodic_registry.periodic_tasks.values()
            if known.task.name == "guardian.remove_old"
        ]

        assert tick.cron == "0 4 * * *"


class TestLanes:
    def test_work_and_upkeep_have_places_of_their_own(self, settings):
        settings.WORKER_CONCURRENCY = 3

        assert lanes_from(None, None) == [
            Lane("work", WORK_QUEUES, 3),
            Lane("upkeep", UPKEEP_QUEUES, UPKEEP_CONCURRENCY),
        ]
        assert UPKEEP_CONCURRENCY == 2
        assert set(WORK_QUEUES) == {
            "agents", "patterns", "packs", "sandbox", "memory", "default",
        }  # fmt: skip

    def test_queues_and_concurrency_are_taken_from_the_command_line(self):
        assert lanes_from("sandbox,memory", 5) == [Lane("worker", ("sandbox", "memory"), 5)]

    def test_beats_each_ten_seconds_and_is_given_up_after_thirty(self):
        worker = make_worker(app, Lane("work", ("default",), 1))

        assert (HEARTBEAT_SECONDS, STALLED_SECONDS) == (10, 30)
        assert worker.update_heartbeat_interval == 10
        assert worker.stalled_worker_timeout == 30

    def test_every_queue_a_job_names_is_served(self):
        named = {task.queue for name, task in app.tasks.items() if "builtin" not in name}

        assert named <= {*WORK_QUEUES, *UPKEEP_QUEUES, "default"}

    @pytest.mark.django_db(transaction=True)
    def test_a_host_without_the_sandbox_queue_is_not_probed_and_not_offered(self, monkeypatch):
        from tools import jobs as tools_jobs

        begun = []
        monkeypatch.setattr(tools_jobs, "_beat_or_probe", lambda: begun.append(1))
        for queues in (["agents", "memory"], ["agents", "sandbox"]):
            Heart(queues=queues, concurrency=1)._beat()

        assert begun == [1]


@pytest.mark.django_db(transaction=True)
class TestRescue:
    def stalled(self, name: str, queue: str, **more) -> int:
        """A job under way in a worker that was not heard of for a while."""
        defer(name, queue, **more)
        with connection.cursor() as cursor:
            cursor.execute(
                "WITH w AS (INSERT INTO procrastinate_workers (last_heartbeat)"
                " VALUES (now() - interval '31 s') RETURNING id)"
                " UPDATE procrastinate_jobs SET status = 'doing', worker_id = (SELECT id FROM w)"
                "  WHERE queue_name = %s AND status = 'todo' RETURNING id",
                [queue],
            )
            return cursor.fetchone()[0]

    def rescue(self, queue: str) -> None:
        with transaction.atomic():
            outbox.defer("guardian.rescue_stalled_jobs", queue=f"{queue}-rescue", timestamp=1)
        work_off(f"{queue}-rescue")

    def test_one_that_cannot_go_back_does_not_keep_the_others_from_it(self, job, queue):
        name = job(lambda: None)
        self.stalled(name, queue, queueing_lock=queue)
        defer(name, queue, queueing_lock=queue)
        self.stalled(name, f"{queue}-2")

        self.rescue(queue)

        assert [row[0] for row in rows(queue)] == ["aborted", "todo"]
        assert [row[0] for row in rows(f"{queue}-2")] == ["todo"]

    def test_one_that_keeps_killing_its_workers_is_given_up_and_told(self, job, queue):
        name = job(lambda: None)
        number = self.stalled(name, queue)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE procrastinate_jobs SET attempts = 7 WHERE id = %s", [number])

        self.rescue(queue)

        assert rows(queue)[0][0] == "failed"
        error = ErrorLog.objects.get()
        assert (error.error_type, error.component) == ("WorkersDied", name)


@pytest.mark.django_db(transaction=True)
class TestRetention:
    def test_ended_jobs_go_after_a_week_and_open_ones_never(self, job, queue):
        name = job(lambda: None)
        for _ in range(2):
            defer(name, queue)
        work_off(queue)
        defer(name, queue)
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE procrastinate_events SET at = now() - interval '8 days' WHERE job_id IN"
                " (SELECT id FROM procrastinate_jobs WHERE queue_name = %s)",
                [queue],
            )
            cursor.execute(
                "UPDATE procrastinate_events SET at = now() - interval '6 days' WHERE id ="
                " (SELECT max(e.id) FROM procrastinate_events e JOIN procrastinate_jobs j"
                "   ON j.id = e.job_id WHERE queue_name = %s AND status = 'succeeded')",
                [queue],
            )

        removed = services.remove_old_jobs()

        assert removed == 1
        assert [row[0] for row in rows(queue)] == ["succeeded", "todo"]

    def test_answers_go_after_a_day(self, monkeypatch):
        now = timezone.now()
        for number, age in enumerate((23, 25, 30, 40)):
            IdempotencyKey.objects.create(
                owner="o", key=str(number), request_hash="x", status=201, body={},
                created_at=now - timedelta(hours=age),
            )  # fmt: skip
        monkeypatch.setattr("guardian.services.retention.PORTION", 2)

        assert services.remove_old_keys() == 3
        assert [key.key for key in IdempotencyKey.objects.all()] == ["0"]
