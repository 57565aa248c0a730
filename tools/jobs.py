"""Background work of tools. Only the sandbox queue's workers open the engine's socket."""

import threading
from datetime import timedelta
from uuid import UUID

import structlog
from django.db import DatabaseError, connection, transaction
from procrastinate.contrib.django import app

from guardian.errors import IsolationUnavailable
from guardian.hosts import on_each_host
from tools import reaper, runner, services
from tools.models import ToolExecution

log = structlog.get_logger(__name__)

ELSEWHERE = timedelta(seconds=2)


@app.task(name="tools.run_execution", queue="sandbox")
def run_execution(execution_id: str) -> None:
    """Run one execution here, or leave it to a host that has the level."""
    row = ToolExecution.objects.filter(pk=UUID(execution_id)).first()
    if row is None or row.status != "pending":
        return
    try:
        runner.run(row.pk)
    except IsolationUnavailable as error:
        _leave_to_another_host(row, error)


def _leave_to_another_host(row: ToolExecution, error: IsolationUnavailable) -> None:
    try:
        services.require_level_at_hand(needed=row.needed_level)
    except IsolationUnavailable:
        services.refuse_execution(
            execution_id=row.pk, result_class="infra_error", error=f"{error} {error.remedy_text}"
        )
        return
    with transaction.atomic():
        services.executions.defer_run(row.pk, schedule_in=ELSEWHERE)


@app.task(name="tools.probe_host", queue="sandbox", queueing_lock="tools.probe_host")
def probe_host() -> None:
    """Prove this host's levels by real runs, bombs included, and store what was found."""
    runner.report_host(fresh=True)


_beating = threading.Lock()


@on_each_host
def beat_host(queues: list[str]) -> None:
    """Each worker of the sandbox queue says that its host is there; stale proof is renewed.

    In a thread of its own, one at a time: a probe runs real bombs and takes seconds.
    """
    if "sandbox" in queues and _beating.acquire(blocking=False):
        threading.Thread(target=_beat_or_probe, name="sandbox-beat", daemon=True).start()


def _beat_or_probe() -> None:
    try:
        runner.report_host()
    except DatabaseError as error:
        log.warning("sandbox_beat_missed", error=type(error).__name__)
    finally:
        connection.close()
        _beating.release()


@app.periodic(cron="* * * * * */30")
@app.task(name="tools.sweep", queue="system", queueing_lock="tools.sweep")
def sweep(timestamp: int) -> None:
    """Take back lapsed runs; remove containers, directories and groups nobody needs."""
    services.sweep_executions()
    reaper.reap()
