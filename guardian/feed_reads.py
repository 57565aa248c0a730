"""What the live feed asks the database: the next events, and how far behind somebody is."""

import json
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.models import Max, Min

from guardian.feed_topics import Notice
from guardian.models import Delivery, Event

READ_LIMIT = 2_000
REPLAY_LIMIT = 5_000
_COLUMNS = (
    "seq", "id", "team_id", "kind", "alias", "priority", "subject_label", "subject_id", "data",
    "created_at",
)  # fmt: skip


def encode(message: dict[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False, default=str)


def head() -> int:
    """The newest number."""
    return int(Event.objects.aggregate(newest=Max("seq"))["newest"] or 0)


def news(after: int, teams: Iterable[UUID]) -> tuple[int, list[Notice]]:
    """(number reached, events of these teams up to it), at most 2,000 numbers at once."""
    upto = min(head(), after + READ_LIMIT)
    if upto <= after:
        return after, []
    return upto, between(after, upto, teams)


def between(
    after: int, upto: int, teams: Iterable[UUID], *, most: int = READ_LIMIT
) -> list[Notice]:
    """The teams' events with after < seq <= upto, the first of them."""
    rows = Event.objects.filter(seq__gt=after, seq__lte=upto, team_id__in=list(teams))
    return [_notice(row) for row in rows.order_by("seq").values_list(*_COLUMNS)[:most]]


def _notice(row: tuple[Any, ...]) -> Notice:
    seq, pk, team, kind, alias, priority, label, subject, data, at = row
    text = encode(
        {
            "type": "event",
            "seq": seq,
            "id": pk,
            "kind": kind,
            "alias": alias,
            "priority": priority,
            "subject": {"label": label, "id": subject} if label else None,
            "data": data,
            "at": at.isoformat(),
        }
    )
    return Notice(seq, team, kind, alias, label, subject, data, text)


def is_too_far(after: int, upto: int, team: UUID) -> bool:
    """Whether a fresh look is cheaper than a replay: beyond 5,000 events, archived, or unknown."""
    span = Event.objects.aggregate(oldest=Min("seq"), newest=Max("seq"))
    if after > (span["newest"] or 0) or after < (span["oldest"] or 1) - 1:
        return True
    missed = Event.objects.filter(seq__gt=after, seq__lte=upto, team_id=team)
    return missed[: REPLAY_LIMIT + 1].count() > REPLAY_LIMIT


def metrics(seq: int) -> dict[str, Any]:
    """How the relay is doing, for topic `metrics`."""
    open_ = Delivery.objects.exclude(state=Delivery.State.DONE)
    return {
        "relay_head_seq": seq,
        "unstamped": Event.objects.unstamped().count(),
        "pending": open_.filter(state=Delivery.State.PENDING).count(),
        "parked": open_.filter(state=Delivery.State.PARKED).count(),
    }
