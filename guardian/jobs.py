"""Guardian's background jobs: upkeep that any worker may do."""

from uuid import UUID

import structlog
from procrastinate import JobContext
from procrastinate.contrib.django import app
from procrastinate.jobs import Status
from procrastinate.utils import sync_to_async

from guardian import courier, services
from guardian.backups import routine
from guardian.job_context import tell_people
from guardian.requeueing import WorkersDied, requeue
from guardian.retries import MOST_ATTEMPTS

log = structlog.get_logger(__name__)

STALLED_SECONDS = 30


# The sixth field is seconds: a dead worker's jobs go on within 40 s.
@app.periodic(cron="* * * * * */10")
@app.task(
    name="guardian.rescue_stalled_jobs",
    queue="system",
    queueing_lock="guardian.rescue_stalled_jobs",
    pass_context=True,
)
async def rescue_stalled_jobs(context: JobContext, timestamp: int) -> None:
    """Give jobs of workers that died back to their queues; one that kills its workers fails."""
    manager = context.app.job_manager
    for job in await manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS):
        if job.id is None:
            continue
        if job.attempts + 1 >= MOST_ATTEMPTS:
            await manager.finish_job(job, status=Status.FAILED, delete_job=False)
            error = WorkersDied(f"{job.task_name} ended {job.attempts + 1} workers")
            await sync_to_async(tell_people, error, job.task_name, job.id)
        else:
            queued = await requeue(manager, job.id)
            log.warning("job_rescued", job=job.id, task=job.task_name, queued=queued)


@app.periodic(cron="* * * * * */10")
@app.task(name="guardian.run_schedules", queue="system", queueing_lock="guardian.run_schedules")
def run_schedules(timestamp: int) -> int:
    """Tell the events whose time has come."""
    return services.run_due_schedules()


@app.task(name="guardian.deliver_webhook", queue="hooks")
def deliver_webhook(webhook_id: str) -> int:
    """Tell one webhook what it is due."""
    return courier.deliver_due(UUID(webhook_id))


@app.periodic(cron="* * * * * */5")
@app.task(name="guardian.sweep_webhooks", queue="system", queueing_lock="guardian.sweep_webhooks")
def sweep_webhooks(timestamp: int) -> int:
    """Retries whose time has come, and what was being sent when a worker died."""
    return services.sweep_webhook_deliveries()


# The sixth field is seconds: what the clock ended is granted on within half a minute even where
# nobody asks for the resource again.
@app.periodic(cron="* * * * * */30")
@app.task(name="guardian.sweep_locks", queue="system", queueing_lock="guardian.sweep_locks")
def sweep_locks(timestamp: int) -> None:
    """End leases and waits that ran out, in all teams, and grant the lines behind them."""
    services.sweep_locks()


@app.periodic(cron="* * * * *")
@app.task(name="guardian.begin_periods", queue="system", queueing_lock="guardian.begin_periods")
def begin_periods(timestamp: int) -> int:
    """Begin the next period of budgets whose day, week or month is over."""
    return services.begin_periods()


@app.periodic(cron="0 2 * * *")
@app.task(name="guardian.check_ledger", queue="system", queueing_lock="guardian.check_ledger")
def check_ledger(timestamp: int) -> bool:
    """Prove the ledger; what is broken becomes a critical error."""
    return services.check_ledger() is not None


@app.periodic(cron="30 2 * * *")
@app.task(name="guardian.archive_events", queue="system", queueing_lock="guardian.archive_events")
def archive_events(timestamp: int) -> int:
    """Move events beyond their time to files."""
    return len(services.archive_old_events())


@app.periodic(cron="*/5 * * * *")
@app.task(
    name="guardian.backup", queue="system", lock="guardian.backup", queueing_lock="guardian.backup"
)
def back_up(timestamp: int) -> str:
    """A backup, where one is due."""
    made = routine.run()
    return made.name if made else ""


@app.periodic(cron="0 4 * * *")
@app.task(name="guardian.remove_old", queue="system", queueing_lock="guardian.remove_old")
def remove_old(timestamp: int) -> dict[str, int]:
    """Ended jobs of a week ago, and answers kept for repeated requests of a day ago."""
    return {"jobs": services.remove_old_jobs(), "keys": services.remove_old_keys()}
