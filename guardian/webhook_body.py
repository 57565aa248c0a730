"""What a webhook is told about an event: {type, timestamp, data}, at most 20 kB."""

import json
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from guardian.kinds import PRIORITY_WORDS
from guardian.models import Event

MOST_BYTES = 20_000
REASON_CHARACTERS = 2000
# Where nothing else is left to cut: even in characters of twelve bytes each it fits.
SHORT_REASON_CHARACTERS = 500


def body_of(event: Event) -> bytes:
    """The same bytes for the same event each time.

    One too large keeps its ids alone, marked `truncated`: the whole of it is at
    `/api/v1/events/{id}`.
    """
    whole = _written(event, {"data": event.data, "before": event.before, "after": event.after})
    if len(whole) <= MOST_BYTES:
        return whole
    ids = {"data": None, "before": None, "after": None, "truncated": True}
    return _written(event, ids, reason_characters=SHORT_REASON_CHARACTERS)


def _written(
    event: Event, content: dict[str, Any], *, reason_characters: int = REASON_CHARACTERS
) -> bytes:
    body = {
        "type": event.kind,
        "timestamp": event.created_at.isoformat(),
        "data": {
            "id": str(event.pk),
            "seq": event.seq,
            "alias": event.alias,
            "team": str(event.team_id),
            "priority": PRIORITY_WORDS[event.priority],
            "actor": str(event.actor_id) if event.actor_id else None,
            "actor_kind": event.actor_kind,
            "subject": {"label": event.subject_label, "id": event.subject_id},
            "reason": event.reason[:reason_characters],
            **content,
        },
    }
    return json.dumps(body, cls=DjangoJSONEncoder, separators=(",", ":")).encode()
