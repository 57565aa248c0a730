"""Background work of phases."""

from uuid import UUID

from procrastinate.contrib.django import app

from phases import services


@app.periodic(cron="* * * * * */10")
@app.task(name="phases.sweep_leases", queue="system", queueing_lock="phases.sweep_leases")
def sweep_leases(timestamp: int) -> int:
    """Take work back from the dead, and put right what the queue does not tell truly."""
    taken_back = services.sweep_leases() + services.sweep_reviews()
    services.heal_queue()
    return taken_back


@app.periodic(cron="* * * * *")
@app.task(
    name="phases.put_aside_unanswered", queue="system", queueing_lock="phases.put_aside_unanswered"
)
def put_aside_unanswered(timestamp: int) -> int:
    """Each minute: tickets that nobody approved in time."""
    return services.put_aside_unanswered()


@app.task(name="phases.advance_ticket", queue="system")
def advance_ticket(ticket_id: str) -> None:
    """Ask again for a ticket that waited for a place."""
    services.advance_ticket(ticket_id=UUID(ticket_id))


@app.task(name="phases.settle_dependencies", queue="system")
def settle_dependencies(task_id: str) -> int:
    """Tell a new task of dependencies that ended while it was made."""
    return services.settle_dependencies(task_id=UUID(task_id))


@app.task(name="phases.settle_dependencies_of", queue="system")
def settle_dependencies_of(task_ids: list[str]) -> int:
    """The same for tasks that were made together."""
    return sum(services.settle_dependencies(task_id=UUID(pk)) for pk in task_ids)


@app.periodic(cron="* * * * *")
@app.task(name="phases.retry_moves", queue="system", queueing_lock="phases.retry_moves")
def retry_moves(timestamp: int) -> int:
    """Each minute: whoever could go on and was not asked, for whatever reason."""
    return services.retry_moves()
