"""Many events of one actor as a part of one statement: a batch from outside is one round trip."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from guardian.authority import Actor
from guardian.events import alias_of
from guardian.models.base import uuid7
from guardian.outbox import PRIORITIES, fitting, teller
from guardian.redaction import redact_json

# The order of the list is that of its times. A CTE: what reads beside it is the caller's to add.
EMIT_MANY = """
INSERT INTO guardian_event (id, team_id, kind, alias, priority, actor_id, actor_kind, authority,
       subject_label, subject_id, data, reason, request_id, traceparent, source, created_at,
       prev_hash, hash)
SELECT e.id, %(team)s::uuid, e.kind, e.alias, e.priority, %(told_by)s::uuid, %(told_kind)s,
       %(told_authority)s::smallint, '', '', %(data)s::jsonb -> (e.place - 1)::int, '',
       %(told_request)s, %(told_trace)s, %(source)s,
       %(told_at)s::timestamptz + (e.place - 1) * interval '1 microsecond', '', ''
  FROM unnest(%(ids)s::uuid[], %(kinds)s::text[], %(aliases)s::text[], %(priorities)s::smallint[])
       WITH ORDINALITY AS e(id, kind, alias, priority, place),
       (SELECT pg_notify('lemnos_outbox', '')) woken
"""


@dataclass(frozen=True, slots=True)
class Told:
    """One event as it will be stored, without a model object, which costs more than its row."""

    id: UUID
    kind: str
    data: dict[str, Any]


def tell_many(
    told: Sequence[tuple[str, dict[str, Any], str]], *, actor: Actor, source: str, path: str
) -> tuple[list[Told], dict[str, Any]]:
    """What each (kind, data, priority) becomes, and the arguments of EMIT_MANY.

    Raises Invalid with `path` for data above 64 KiB.
    """
    made: list[Told] = []
    texts: list[str] = []
    for kind, data, _ in told:
        masked, text = redact_json(data, lambda value: fitting(value, path=path))
        made.append(Told(uuid7(), kind, masked))
        texts.append(text)
    arguments = teller(actor) | {
        "team": actor.team_id,
        "source": source,
        "ids": [one.id for one in made],
        "kinds": [one.kind for one in made],
        "aliases": [alias_of(one.kind) for one in made],
        "priorities": [PRIORITIES[priority] for _, _, priority in told],
        # One text of all: an array of texts would be escaped letter by letter.
        "data": f"[{','.join(texts)}]",
    }
    return made, arguments
