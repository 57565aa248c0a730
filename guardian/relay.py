"""The relay: alone it numbers committed events, chains their hashes and runs the receivers."""

import random
import select
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from guardian import context, metrics, tracing
from guardian.audit import begin
from guardian.chain import chain_hash
from guardian.models import Delivery, Event
from guardian.outbox import PRIORITY_WORDS, Subscription, hearers, subscription
from guardian.redaction import stored_text
from guardian.services import log_error

log = structlog.get_logger(__name__)

RELAY_LOCK_ID = 7310001
BATCH = 500
MAX_ATTEMPTS = 8
AGE_STEP_SECONDS = 30

_STAMP = """
UPDATE guardian_event e SET seq = v.seq, prev_hash = v.prev_hash, hash = v.hash
  FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::text[]) AS v(id, seq, prev_hash, hash)
 WHERE e.id = v.id
"""

# One step of priority per 30 s waited, so a low one beside a critical stream still gets its turn.
_DUE = f"""
SELECT id FROM guardian_delivery
 WHERE state = 'pending' AND next_at <= clock_timestamp()
 ORDER BY greatest(1, priority - floor(extract(epoch FROM clock_timestamp() - queued_at)
                                       / {AGE_STEP_SECONDS})), seq, id
 LIMIT 1 FOR UPDATE SKIP LOCKED
"""  # noqa: S608  a constant of this module


def head() -> tuple[int, str]:
    """The newest number and hash, also where all that is numbered went to the archive."""
    row = Event.objects.stamped().order_by("-seq").values_list("seq", "hash").first()
    return (int(row[0] or 0), row[1]) if row else begin()


@transaction.atomic
def stamp() -> int:
    """Number the next batch of committed events and make their deliveries. Returns how many."""
    batch = list(Event.objects.unstamped()[:BATCH])
    if not batch:
        return 0
    context.set_traceparent("")  # a batch belongs to no trace of the events in it
    with tracing.span("lemnos.relay", events=len(batch)) as seen:
        tracing.note(seen, event_seq=_number(batch))
    return len(batch)


def _number(batch: list[Event]) -> int:
    """Returns the last number."""
    seq, previous = head()
    now = timezone.now()
    stamps: list[tuple[Any, int, str, str]] = []
    for event in batch:
        seq += 1
        event.seq = seq
        event.prev_hash, event.hash = previous, chain_hash(previous, event)
        stamps.append((event.pk, seq, previous, event.hash))
        previous = event.hash
    deliveries = [
        Delivery(
            event=event,
            handler=told.name,
            priority=event.priority,
            seq=event.seq or 0,
            next_at=now,
            queued_at=now,
        )
        for event, told in hearers(batch)
    ]
    with connection.cursor() as cursor:
        cursor.execute(_STAMP, [list(column) for column in zip(*stamps, strict=True)])
        cursor.execute("SELECT pg_notify('lemnos_seq', %s)", [str(seq)])
    Delivery.objects.bulk_create(deliveries)
    for event in batch:
        metrics.EVENTS.on_commit(app=app_of(event), priority=PRIORITY_WORDS[event.priority])
    return seq


def app_of(event: Event) -> str:
    """Whose kind it is; all kinds from outside are one."""
    return event.kind.partition(".")[0] if event.source == Event.Source.INTERNAL else "outside"


def deliver_one(*, worker: str) -> bool:
    """Run one due receiver with its `done` in one transaction. False: nothing is due.

    Raises OperationalError, InterfaceError where the database went away.
    """
    delivery = None
    try:
        with transaction.atomic():
            delivery = _due()
            if delivery is not None:
                _deliver(delivery, worker)
    except Exception as failure:
        if delivery is None:
            raise
        # What a receiver left behind broke the commit, or the session: it alone is put off.
        _put_off(delivery, failure)
        if isinstance(failure, OperationalError | InterfaceError):
            raise
    return delivery is not None


def _due() -> Delivery | None:
    with connection.cursor() as cursor:
        cursor.execute(_DUE)
        row = cursor.fetchone()
    return Delivery.objects.select_related("event").get(pk=row[0]) if row else None


def _deliver(delivery: Delivery, worker: str) -> None:
    known = subscription(delivery.handler)
    started = time.perf_counter()
    context.set_request_id(delivery.event.request_id)
    context.set_traceparent(delivery.event.traceparent)
    failure = None if known is None else _told(known, delivery.event)
    delivery.attempts += 1
    delivery.processed_by = worker
    delivery.duration_ms = (time.perf_counter() - started) * 1000
    metrics.DELIVERY_SECONDS.observe(
        time.perf_counter() - started, handler=delivery.handler if known else "gone"
    )
    if failure is None:
        delivery.state = Delivery.State.DONE
        delivery.processed_at = timezone.now()
        delivery.error = "" if known else "this receiver no longer exists"
    else:
        _postpone(delivery, failure)
    delivery.save()


def _put_off(delivery: Delivery, failure: Exception) -> None:
    """Count an attempt whose own transaction is gone."""
    log.warning("delivery_lost", handler=delivery.handler, exc_info=failure)
    if isinstance(failure, OperationalError | InterfaceError):
        connection.close()
    with transaction.atomic():
        pending = Delivery.objects.select_for_update(of=("self",)).select_related("event")
        found = pending.filter(pk=delivery.pk, state=Delivery.State.PENDING).first()
        if found is not None:
            found.attempts += 1
            _postpone(found, failure)
            found.save()


def _told(known: Subscription, event: Event) -> Exception | None:
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(
        request_id=event.request_id, trace_id=context.trace_id(), handler=known.name
    )
    if event.team_id is not None:
        structlog.contextvars.bind_contextvars(team=str(event.team_id))
    with tracing.span(
        "lemnos.delivery", handler=known.name, event_seq=event.seq, team=event.team_id
    ) as seen:
        failure = _attempt(known.receiver, event)
        if failure is not None:
            tracing.failed(seen, type(failure).__name__)
    return failure


def _attempt(receiver: Callable[[Event], None], event: Event) -> Exception | None:
    try:
        # Caught outside its savepoint: a failing receiver undoes only itself.
        with transaction.atomic():
            receiver(event)
    except Exception as error:
        log.warning("receiver_failed", kind=event.kind, seq=event.seq, exc_info=error)
        return error
    return None


def _postpone(delivery: Delivery, failure: Exception) -> None:
    delivery.error = stored_text(f"{type(failure).__name__}: {failure}")[:2000]
    if delivery.attempts >= MAX_ATTEMPTS:
        delivery.state = Delivery.State.PARKED
        log_error(
            error=failure,
            component=delivery.handler,
            team_id=delivery.event.team_id,
            subject_label="guardian.event",
            subject_id=str(delivery.event_id),
        )
        return
    seconds = min(300.0, 2.0**delivery.attempts) * random.uniform(0.5, 1.0)  # noqa: S311  jitter
    delivery.next_at = timezone.now() + timedelta(seconds=seconds)


def run_once(*, limit: int = 10_000) -> int:
    """Stamp and deliver until nothing is due. Returns how much was done."""
    worker = f"relay@{socket.gethostname()}"[:100]
    done = 0
    while done < limit:
        stamped = stamp()
        delivered = deliver_one(worker=worker)
        if not stamped and not delivered:
            return done
        done += stamped + int(delivered)
    return done


class Hints:
    """Wakes this process when PostgreSQL says so; a missed hint costs at most `timeout` seconds."""

    def __init__(self, channel: str) -> None:
        import psycopg

        params = connection.get_connection_params()
        for key in ("cursor_factory", "context", "prepare_threshold"):
            params.pop(key, None)
        self._connection = psycopg.connect(**params, autocommit=True)
        self._connection.execute(f"LISTEN {channel}")

    def wait(self, timeout: float) -> None:
        select.select([self._connection.fileno()], [], [], timeout)
        for _ in self._connection.notifies(timeout=0):
            pass

    def close(self) -> None:
        self._connection.close()


class Announcer:
    """Tells other processes the newest number over Redis. Only a hint: without it they poll."""

    def __init__(self) -> None:
        import redis

        self._client = redis.Redis.from_url(settings.REDIS_URL) if settings.REDIS_URL else None

    def announce(self, seq: int) -> None:
        import redis

        if self._client is None:
            return
        try:
            self._client.publish("lemnos:seq", seq)
        except redis.RedisError as error:
            log.info("redis_unreachable", error=str(error)[:200])


def try_lead() -> bool:
    """Become the one active relay; held by this session until it ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [RELAY_LOCK_ID])
        row = cursor.fetchone()
    return bool(row and row[0])
