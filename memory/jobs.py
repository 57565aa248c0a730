"""Background work of memory: vectors."""

from uuid import UUID

from procrastinate.contrib.django import app

from memory import services


@app.task(name="memory.embed_records", queue="memory")
def embed_records(record_id: str) -> int:
    """Embed one record and those that wait beside it.

    What outlasts the tries of a job is taken up by the sweep, each minute, until the model is back.
    """
    return services.embed_record(record_id=UUID(record_id))


@app.periodic(cron="* * * * *")
@app.task(
    name="memory.sweep_unembedded",
    queue="memory",
    queueing_lock="memory.sweep",
    lock="memory.sweep",
)
def sweep_unembedded(timestamp: int) -> int:
    """Embed what no job embedded: it waited while the model was down, or its worker was killed."""
    return services.sweep_unembedded()
