"""Background work of the orchestrator."""

from uuid import UUID

import structlog
from procrastinate.contrib.django import app

from orchestrator import executor, runner, services
from orchestrator.errors import RunBusy, RunTakenOver
from phases import services as phases

log = structlog.get_logger(__name__)


@app.task(name="orchestrator.dispatch", queue="system")
def dispatch(team_id: str) -> int:
    """Place what waits with the team's agents."""
    return services.dispatch(team_id=UUID(team_id))


@app.task(name="orchestrator.run_execution", queue="agents")
def run_execution(execution_id: str) -> None:
    """Do the work of one execution."""
    runner.run(UUID(execution_id))


@app.periodic(cron="* * * * * */5")
@app.task(name="orchestrator.upkeep", queue="system", queueing_lock="orchestrator.upkeep")
def upkeep(timestamp: int) -> int:
    """What no event told of: lost executions, waiting runs, work that found no agent before."""
    closed = services.sweep_executions()
    services.offer_again()
    services.renew_waiting_leases()
    for team_id in phases.teams_with_work():
        services.dispatch(team_id=team_id)
    return closed


@app.task(name="orchestrator.run_pattern", queue="patterns")
def run_pattern(run_id: str) -> None:
    """Do a run that no execution does; called again after a crash it goes on from there."""
    try:
        executor.execute_run(UUID(run_id))
    except (RunBusy, RunTakenOver) as elsewhere:
        # Another host has it, or its lease has not lapsed yet: then the sweep queues it again.
        log.info("run_left_to_another_host", run=run_id, why=elsewhere.code)


@app.task(name="orchestrator.try_checks_again", queue="system")
def try_checks_again(ticket_id: str, tries: int) -> int:
    """Ask once more for the checks of a gate that could not be tried before."""
    return services.run_checks(ticket_id=UUID(ticket_id), tries=tries)


@app.periodic(cron="* * * * * */15")
@app.task(name="orchestrator.sweep_runs", queue="system", queueing_lock="orchestrator.sweep_runs")
def sweep_runs(timestamp: int) -> int:
    """Queue the runs of dead hosts again, wake what was missed, end what waited too long."""
    return services.sweep_runs()
