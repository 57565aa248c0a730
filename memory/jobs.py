"""Background work of memory: vectors."""

from uuid import UUID

from django.db import OperationalError
from procrastinate import RetryStrategy
from procrastinate.contrib.django import app

from memory import services
from memory.errors import EmbeddingUnavailable

# What outlasts these tries is taken up by the sweep, each minute, until the model is back.
RETRY = RetryStrategy(
    max_attempts=5,
    exponential_wait=3,
    retry_exceptions=[EmbeddingUnavailable, OperationalError],
)


@app.task(name="memory.embed_records", queue="memory", retry=RETRY)
def embed_records(record_id: str) -> int:
    """Embed one record and those that wait beside it."""
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
