"""Background work of the orchestrator."""

from uuid import UUID

from procrastinate.contrib.django import app

from orchestrator import runner, services
from phases import services as phases


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
    services.renew_waiting_leases()
    for team_id in phases.teams_with_work():
        services.dispatch(team_id=team_id)
    return closed
