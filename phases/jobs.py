"""Background work of phases."""

from procrastinate.contrib.django import app

from phases import services


@app.periodic(cron="* * * * * */10")
@app.task(name="phases.sweep_leases", queue="system", queueing_lock="phases.sweep_leases")
def sweep_leases(timestamp: int) -> int:
    """Take work back from the dead."""
    return services.sweep_leases()
