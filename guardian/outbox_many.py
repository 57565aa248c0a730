"""Many events of one actor in one statement: what a batch from outside costs is a round trip."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from guardian import context
from guardian.authority import Actor
from guardian.events import alias_of
from guardian.models import Event
from guardian.outbox import PRIORITIES, fitting, require_transaction
from guardian.prepared import run_prepared
from guardian.redaction import redact

_SHARED = (
    "team_id", "actor_id", "actor_kind", "authority", "request_id", "traceparent", "source",
)  # fmt: skip
# A batch of one actor as one statement; the order of the list is that of its times.
_INSERT_MANY = """
INSERT INTO guardian_event (id, team_id, kind, alias, priority, actor_id, actor_kind, authority,
       subject_label, subject_id, data, reason, request_id, traceparent, source, created_at,
       prev_hash, hash)
SELECT e.id, %(team_id)s::uuid, e.kind, e.alias, e.priority, %(actor_id)s::uuid, %(actor_kind)s,
       %(authority)s::smallint, '', '', e.data::jsonb, '', %(request_id)s, %(traceparent)s,
       %(source)s, %(begin)s::timestamptz + (e.place - 1) * interval '1 microsecond', '', ''
  FROM unnest(%(ids)s::uuid[], %(kinds)s::text[], %(aliases)s::text[], %(priorities)s::smallint[],
              %(data)s::text[]) WITH ORDINALITY AS e(id, kind, alias, priority, data, place),
       (SELECT pg_notify('lemnos_outbox', '')) woken
"""


def emit_many(
    told: Sequence[tuple[str, dict[str, Any], str]], *, actor: Actor, source: str, path: str
) -> list[Event]:
    """emit_data() for many of one actor, each (kind, data, priority), in one round trip.

    Raises OutsideTransaction, Invalid with `path` for data above 64 KiB.
    """
    require_transaction()
    begin = timezone.now()
    made: list[Event] = []
    texts: list[str] = []
    for place, (kind, data, priority) in enumerate(told):
        event = Event(
            team_id=actor.team_id,
            kind=kind,
            alias=alias_of(kind),
            priority=PRIORITIES[priority],
            actor_id=actor.id,
            actor_kind=actor.kind,
            authority=actor.authority,
            data=redact(data),
            request_id=context.request_id(),
            traceparent=context.traceparent(),
            source=source,
            created_at=begin + timedelta(microseconds=place),
        )
        texts.append(fitting(event.data, path=path))
        event._state.adding, event._state.db = False, connection.alias  # noqa: SLF001  as save() does
        made.append(event)
    if made:
        arguments = {name: getattr(made[0], name) for name in _SHARED}
        arguments |= {
            "ids": [event.pk for event in made],
            "kinds": [event.kind for event in made],
            "aliases": [event.alias for event in made],
            "priorities": [event.priority for event in made],
            "data": texts,
            "begin": begin,
        }
        run_prepared(_INSERT_MANY, arguments)
    return made
