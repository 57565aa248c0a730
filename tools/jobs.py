"""Background work of tools. Only the sandbox queue's workers open the engine's socket."""

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from procrastinate.contrib.django import app

from guardian.errors import IsolationUnavailable
from guardian.outbox import defer
from tools import reaper, runner, services
from tools.models import ToolExecution
from tools.sandbox import levels
from tools.services.hosts import beat

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
        defer(
            "tools.run_execution", queue="sandbox", schedule_in=ELSEWHERE, execution_id=str(row.pk)
        )


@app.task(name="tools.probe_host", queue="sandbox", queueing_lock="tools.probe_host")
def probe_host() -> None:
    """Prove this host's levels by real runs, bombs included, and store what was found."""
    _probe(fresh=True)


def _probe(*, fresh: bool) -> None:
    found = levels.findings(fresh=fresh, install=runner.install_id())
    services.record_host(
        name=runner.host_name(),
        levels=found.levels,
        evidence=found.evidence,
        warnings=found.warnings,
        image=found.image,
    )


# The sixth field is seconds. Upkeep has a lane of its own, so long runs never silence the host.
@app.periodic(cron="* * * * * */15")
@app.task(name="tools.beat", queue="system", queueing_lock="tools.beat")
def heartbeat(timestamp: int) -> None:
    """Say that this host is there; a new host, or one whose proof is a minute old, probes."""
    if levels.is_stale() or not services.hosts.is_known(name=runner.host_name()):
        _probe(fresh=False)
    else:
        beat(name=runner.host_name())


@app.periodic(cron="* * * * * */30")
@app.task(name="tools.sweep", queue="system", queueing_lock="tools.sweep")
def sweep(timestamp: int) -> None:
    """Take back lapsed runs; remove containers, directories and groups nobody needs."""
    services.sweep_executions()
    reaper.reap()
