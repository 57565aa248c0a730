"""manage.py worker: runs background jobs on this host, in lanes that cannot starve each other."""

import asyncio
import os
import signal
from argparse import ArgumentParser
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand
from procrastinate import App
from procrastinate.contrib.django import app
from procrastinate.contrib.django.utils import connector_params
from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.jobs import Job, Status
from procrastinate.psycopg_connector import PsycopgConnector
from procrastinate.retry import RetryDecision
from procrastinate.worker import Worker

from guardian.hosts import Heart, leave
from guardian.requeueing import requeue

log = structlog.get_logger(__name__)

WORK_QUEUES = ("agents", "patterns", "packs", "sandbox", "memory", "default")
UPKEEP_QUEUES = ("system", "hooks")
UPKEEP_CONCURRENCY = 2
HEARTBEAT_SECONDS = 10
STALLED_SECONDS = 30
# What is left of the time to shut down when work that goes on is told to give its task back,
GIVE_BACK_SECONDS = 10
# and when jobs that did not end all the same go back to their queue.
HAND_BACK_SECONDS = 5
# How long a query waits for a connection: with the database gone, the end must not.
CONNECTION_SECONDS = 5

_HELD = """
SELECT id, task_name FROM procrastinate_jobs WHERE status = 'doing' AND worker_id = ANY(%(ids)s)
"""


@dataclass(frozen=True)
class Lane:
    """Queues served together, with their own share of concurrency."""

    name: str
    queues: tuple[str, ...]
    concurrency: int


def lanes_from(queues: str | None, concurrency: int | None) -> list[Lane]:
    """One lane for the named queues; by default one for work and one for upkeep."""
    many = concurrency or settings.WORKER_CONCURRENCY
    if queues:
        names = tuple(name for name in queues.replace(",", " ").split())
        return [Lane("worker", names, many)]
    return [
        Lane("work", WORK_QUEUES, many),
        Lane("upkeep", UPKEEP_QUEUES, UPKEEP_CONCURRENCY),
    ]


class Command(BaseCommand):
    """SIGTERM: takes no new job, lets running ones end, hands back the rest, exits with 0."""

    help = "Runs background jobs on this host until SIGTERM."
    requires_system_checks = []  # `prepare` has just made them all

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--queues", help="comma-separated; default: all, in two lanes")
        parser.add_argument("--concurrency", type=int, help="jobs at once in the work lane")

    def handle(self, *_args: Any, **options: Any) -> None:
        lanes = lanes_from(options["queues"], options["concurrency"])
        connector = PsycopgConnector(
            kwargs=connector_params(),
            min_size=len(lanes) + 1,
            max_size=2 * len(lanes) + 4,
            timeout=CONNECTION_SECONDS,
        )
        heart = Heart(
            queues=[queue for lane in lanes for queue in lane.queues],
            concurrency=lanes[0].concurrency,
        )
        heart.start()
        with app.replace_connector(connector) as worker_app:
            asked = asyncio.run(serve(worker_app, lanes, heart))
        if not asked:
            raise SystemExit(1)  # a lane lost its database: whoever supervises starts us again


async def serve(worker_app: App, lanes: list[Lane], heart: Heart) -> bool:
    """Run all lanes until one ends; True when it was asked to."""
    loop = asyncio.get_running_loop()
    threads = sum(lane.concurrency for lane in lanes) + 4
    loop.set_default_executor(ThreadPoolExecutor(max_workers=threads))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with worker_app.open_async():
        workers = [make_worker(worker_app, lane) for lane in lanes]
        running = [asyncio.create_task(worker.run()) for worker in workers]
        asked = asyncio.create_task(stop.wait())
        await asyncio.wait([*running, asked], return_when=asyncio.FIRST_COMPLETED)
        log.info("worker_stopping", asked=stop.is_set())
        # No new work is placed for this host from here on; what it holds it may still finish.
        await asyncio.to_thread(heart.stop)
        await end(worker_app, workers, running, clean=stop.is_set())
        asked.cancel()
    return stop.is_set()


class LaneWorker(Worker):
    """Lives on where a job cannot be queued again because its successor waits already."""

    async def _persist_job_status(
        self,
        job: Job,
        status: Status,
        retry_decision: RetryDecision | None,
        *rest: Any,
        **more: Any,
    ) -> None:
        try:
            await super()._persist_job_status(job, status, retry_decision, **more)
        except UniqueViolation:
            await super()._persist_job_status(job, status, None, **more)


def make_worker(worker_app: App, lane: Lane) -> Worker:
    defaults: dict[str, Any] = dict(worker_app.worker_defaults)
    return LaneWorker(
        **{
            **defaults,
            "app": worker_app,
            "name": lane.name,
            "queues": list(lane.queues),
            "concurrency": lane.concurrency,
            "install_signal_handlers": False,
            "shutdown_graceful_timeout": max(1, settings.SHUTDOWN_SECONDS - HAND_BACK_SECONDS),
            "update_heartbeat_interval": HEARTBEAT_SECONDS,
            "stalled_worker_timeout": STALLED_SECONDS,
        }
    )


async def end(
    worker_app: App, workers: list[Worker], running: list["asyncio.Task[None]"], *, clean: bool
) -> None:
    """Stop the lanes within LEMNOS_SHUTDOWN_SECONDS.

    A job in a thread cannot be interrupted: it may end by itself, then is asked to give its task
    back, and when time is up it goes back to its queue and this process ends at once, so the job
    never runs here and elsewhere at the same time.
    """
    for worker in workers:
        worker.stop()
    grace = max(1, settings.SHUTDOWN_SECONDS - GIVE_BACK_SECONDS)
    _, late = await asyncio.wait(running, timeout=grace)
    if late:
        leave()
        _, late = await asyncio.wait(late, timeout=settings.SHUTDOWN_SECONDS - grace)
    if late:
        identities = [worker.worker_id for worker in workers if worker.worker_id is not None]
        try:
            await hand_back(worker_app, identities)
        except ConnectorException:
            clean = False  # the database is gone: the rescue of stalled jobs finds them later
        os._exit(0 if clean else 1)
    for lane in running:
        if error := lane.exception():
            log.error("lane_failed", exc_info=error)


async def hand_back(worker_app: App, identities: list[int]) -> None:
    for job in await worker_app.connector.execute_query_all_async(_HELD, ids=identities):
        await requeue(worker_app.job_manager, job["id"])
        log.warning("job_handed_back", job=job["id"], task=job["task_name"])
