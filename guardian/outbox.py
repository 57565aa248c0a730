"""Telling what happened, hearing it, and deferring work: all inside the caller's transaction."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models
from django.utils import timezone

from guardian import context
from guardian.authority import Actor
from guardian.errors import Invalid
from guardian.events import alias_of
from guardian.models import Event
from guardian.prepared import run_prepared
from guardian.redaction import redact_json, redact_text

PRIORITIES = {"critical": 1, "high": 2, "normal": 3, "low": 4}
PRIORITY_WORDS = {number: word for word, number in PRIORITIES.items()}
DATA_LIMIT_BYTES = 64 * 1024

Receiver = Callable[[Event], None]
# Of a batch of events those a receiver wants: asked once per batch, in the relay's transaction.
Choice = Callable[[Sequence[Event]], Iterable[Event]]


@dataclass(frozen=True, slots=True)
class Subscription:
    """A receiver under its stable name, which is how its deliveries are stored."""

    name: str
    kind: str
    receiver: Receiver
    choose: Choice | None = None


_subscriptions: dict[str, Subscription] = {}


class OutsideTransaction(RuntimeError):
    """emit() and defer() must run in the transaction of the change they belong to."""


def require_transaction() -> None:
    if not connection.in_atomic_block:
        raise OutsideTransaction(OutsideTransaction.__doc__)


def emit(
    kind: str,
    *,
    subject: models.Model | None = None,
    actor: Actor | None = None,
    team_id: UUID | None = None,
    priority: str = "normal",
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    reason: str = "",
    source: str = Event.Source.INTERNAL,
    **data: Any,
) -> Event:
    """Write one event beside the change it tells of; it exists if and only if the change commits.

    Raises OutsideTransaction, Invalid for data above 64 KiB.
    """
    return emit_data(
        kind,
        data=data,
        subject=subject,
        actor=actor,
        team_id=team_id,
        priority=priority,
        before=before,
        after=after,
        reason=reason,
        source=source,
    )


def emit_data(
    kind: str,
    *,
    data: dict[str, Any],
    subject: models.Model | None = None,
    actor: Actor | None = None,
    team_id: UUID | None = None,
    priority: str = "normal",
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    reason: str = "",
    source: str = Event.Source.INTERNAL,
) -> Event:
    """emit() with data whose keys are not ours to choose, such as what a program published.

    Raises OutsideTransaction, Invalid for data above 64 KiB.
    """
    require_transaction()
    if team_id is None:
        team_id = getattr(subject, "team_id", None) or (actor.team_id if actor else None)
    texts: dict[str, str | None] = {"before": None, "after": None}
    data, texts["data"] = redact_json(data, fitting)
    if before is not None:
        before, texts["before"] = redact_json(before, _COMPACT.encode)
    if after is not None:
        after, texts["after"] = redact_json(after, _COMPACT.encode)
    event = Event(
        team_id=team_id,
        kind=kind,
        alias=alias_of(kind),
        priority=PRIORITIES[priority],
        actor_id=actor.id if actor else None,
        actor_kind=actor.kind if actor else "system",
        authority=actor.authority if actor else None,
        subject_label=subject._meta.label_lower if subject is not None else "",
        subject_id=str(subject.pk) if subject is not None else "",
        data=data,
        before=before,
        after=after,
        reason=redact_text(reason),
        request_id=context.request_id(),
        traceparent=context.traceparent(),
        source=source,
        created_at=timezone.now(),
    )
    # One round trip for the row and the hint; every change of state pays for this.
    run_prepared(_INSERT, {name: getattr(event, name) for name in _PLAIN} | texts)
    event._state.adding, event._state.db = False, connection.alias  # noqa: SLF001  as save() does
    return event


# The hint to the relay rides on the insert; PostgreSQL folds repeats in a transaction into one.
_INSERT = """
INSERT INTO guardian_event (id, team_id, kind, alias, priority, actor_id, actor_kind, authority,
       subject_label, subject_id, data, before, after, reason, request_id, traceparent, source,
       created_at, prev_hash, hash)
SELECT %(id)s, %(team_id)s::uuid, %(kind)s, %(alias)s, %(priority)s, %(actor_id)s::uuid,
       %(actor_kind)s, %(authority)s::smallint, %(subject_label)s, %(subject_id)s, %(data)s::jsonb,
       %(before)s::jsonb, %(after)s::jsonb, %(reason)s, %(request_id)s, %(traceparent)s,
       %(source)s, %(created_at)s, '', ''
  FROM (SELECT pg_notify('lemnos_outbox', '')) woken
"""
_PLAIN = (
    "id", "team_id", "kind", "alias", "priority", "actor_id", "actor_kind", "authority",
    "subject_label", "subject_id", "reason", "request_id", "traceparent", "source", "created_at",
)  # fmt: skip


# Time-ordered like guardian.models.base.uuid7, for rows that only a statement knows.
UUID7_SQL = """encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING substring(
    int8send(floor(date_part('epoch', clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
    52, 1), 53, 1), 'hex')::uuid"""


def kind_sql(kind: str) -> str:
    """The columns `kind` and `alias` of a row for `emit_sql`."""
    alias = alias_of(kind)
    return f"'{kind}' AS kind, " + (f"'{alias}' AS alias" if alias else "NULL AS alias")


def emit_sql(rows: str, *, subject_label: str) -> str:
    """emit() as a part of a larger statement, which so needs no transaction of its own.

    `rows` names a CTE with one row per event: place (microseconds that keep their order), id,
    kind, alias, subject_id, data (jsonb that needs no redaction), acts (whether the actor of
    `teller` did it, or the system).
    """
    return f"""
    INSERT INTO guardian_event (id, team_id, kind, alias, priority, actor_id, actor_kind,
           authority, subject_label, subject_id, data, reason, request_id, traceparent, source,
           created_at, prev_hash, hash)
    SELECT e.id, %(team)s, e.kind, e.alias, 3, CASE WHEN e.acts THEN %(told_by)s::uuid END,
           CASE WHEN e.acts THEN %(told_kind)s ELSE 'system' END,
           CASE WHEN e.acts THEN %(told_authority)s::smallint END, '{subject_label}',
           e.subject_id::text, e.data, '', %(told_request)s, %(told_trace)s, 'internal',
           %(told_at)s + e.place * interval '1 microsecond', '', ''
      FROM {rows} e CROSS JOIN LATERAL (
           SELECT pg_notify('lemnos_outbox', '') WHERE e.id IS NOT NULL) woken
     ORDER BY e.place
    """  # noqa: S608  constants of modules


def teller(actor: Actor) -> dict[str, Any]:
    """The arguments of `emit_sql` beside `team`."""
    return {
        "told_by": actor.id,
        "told_kind": actor.kind,
        "told_authority": actor.authority,
        "told_request": context.request_id(),
        "told_trace": context.traceparent(),
        "told_at": timezone.now(),
    }


def check_size(data: dict[str, Any], *, path: str = "data") -> None:
    """Raises Invalid for data of more than 64 KiB as JSON in UTF-8."""
    fitting(data, path=path)


def fitting(data: dict[str, Any], *, path: str = "data") -> str:
    """The data as JSON of at most 64 KiB. Raises Invalid."""
    text = _COMPACT.encode(data)
    size = len(text.encode())
    if size > DATA_LIMIT_BYTES:
        raise Invalid(path=path, reason=f"is {size} bytes as JSON; at most {DATA_LIMIT_BYTES}")
    return text


_COMPACT = DjangoJSONEncoder(ensure_ascii=False, separators=(",", ":"))


def on(kind: str, *, choose: Choice | None = None) -> Callable[[Receiver], Receiver]:
    """Register a receiver for a kind, or for every kind with `*`. It may hear late or twice.

    `choose` narrows further: of a batch of events it returns those the receiver is to hear.
    """

    def register(receiver: Receiver) -> Receiver:
        name = f"{receiver.__module__.removesuffix('.receivers')}.{receiver.__name__}"
        if name in _subscriptions and _subscriptions[name].receiver is not receiver:
            raise RuntimeError(f"two receivers are called {name}")
        _subscriptions[name] = Subscription(name, kind, receiver, choose)
        return receiver

    return register


def hearers(events: Sequence[Event]) -> Iterator[tuple[Event, Subscription]]:
    """Who is to hear which of these events."""
    for told in list(_subscriptions.values()):
        wanted = [event for event in events if told.kind in {event.kind, "*"}]
        for event in told.choose(wanted) if told.choose and wanted else wanted:
            yield event, told


def subscription(name: str) -> Subscription | None:
    return _subscriptions.get(name)


def defer(
    job_name: str,
    *,
    queue: str,
    lock: str | None = None,
    queueing_lock: str | None = None,
    schedule_in: timedelta | None = None,
    priority: int = 0,
    **ids: Any,
) -> bool:
    """Queue a job that commits with the change. False: one with this queueing lock waits already.

    Raises OutsideTransaction.
    """
    from django.db import transaction
    from procrastinate.contrib.django import app
    from procrastinate.contrib.django.django_connector import DjangoConnector
    from procrastinate.exceptions import AlreadyEnqueued, TaskNotFound
    from procrastinate.manager import JobManager
    from procrastinate.tasks import configure_task

    require_transaction()
    app.perform_import_paths()
    if job_name not in app.tasks:
        raise TaskNotFound(f"There is no job {job_name}.")
    task = configure_task(
        name=job_name,
        # Not the app's own: in a worker that has a pool of its own, outside of this transaction,
        # and the job would start before what it is about is there.
        job_manager=JobManager(DjangoConnector()),
        queue=queue,
        lock=lock,
        queueing_lock=queueing_lock,
        schedule_at=timezone.now() + schedule_in if schedule_in else None,
        priority=priority,
    )
    try:
        with transaction.atomic():  # a refused lock must not break the caller's transaction
            task.defer(**ids, **context.carried())
    except AlreadyEnqueued:
        return False
    return True
