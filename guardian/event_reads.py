"""What the event log answers about itself: kinds, figures, who handled what."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.utils import timezone

from guardian.kinds import PRIORITY_WORDS
from guardian.models import Delivery, Event

UNHANDLED = "event.unhandled"


@dataclass(frozen=True, slots=True)
class KindCount:
    """A kind of event of a team: how often within the window, and when last at all."""

    kind: str
    count: int
    last_at: datetime


# Kinds from outside are not known beforehand: each is found by one step in their own index.
_KINDS = """
WITH RECURSIVE outside(kind) AS (
    (SELECT kind FROM guardian_event WHERE team_id = %(team)s AND source <> 'internal'
      ORDER BY kind LIMIT 1)
    UNION ALL
    SELECT (SELECT e.kind FROM guardian_event e
             WHERE e.team_id = %(team)s AND e.source <> 'internal' AND e.kind > o.kind
             ORDER BY e.kind LIMIT 1)
      FROM outside o WHERE o.kind IS NOT NULL
), recent AS (
    SELECT kind, count(*) AS n, max(created_at) AS last_at FROM guardian_event
     WHERE team_id = %(team)s AND created_at > %(since)s GROUP BY kind
)
SELECT kind, n, last_at FROM recent
UNION ALL
SELECT o.kind, 0, last.created_at
  FROM outside o CROSS JOIN LATERAL (
       SELECT created_at FROM guardian_event
        WHERE team_id = %(team)s AND source <> 'internal' AND kind = o.kind
        ORDER BY created_at DESC LIMIT 1) last
 WHERE o.kind NOT IN (SELECT kind FROM recent)
"""


def kinds_of(*, team_id: UUID, window: timedelta) -> list[KindCount]:
    """Each kind of the window, and all that ever came from outside."""
    with connection.cursor() as cursor:
        cursor.execute(_KINDS, {"team": team_id, "since": timezone.now() - window})
        return [KindCount(*row) for row in cursor.fetchall()]


# An event is processed once it is numbered and none of its receivers is still to run or parked.
_STATS = """
WITH told AS (
    SELECT e.id, e.seq, e.kind, e.alias, e.priority,
           bool_or(d.state = 'parked') AS parked, bool_or(d.state = 'pending') AS pending,
           sum(d.duration_ms) FILTER (WHERE d.state = 'done') AS milliseconds,
           count(*) FILTER (WHERE d.state = 'done') AS handled
      FROM guardian_event e LEFT JOIN guardian_delivery d ON d.event_id = e.id
     WHERE e.team_id = %(team)s AND e.created_at > %(since)s
     GROUP BY e.id
)
SELECT priority, count(*),
       count(*) FILTER (WHERE seq IS NOT NULL AND parked IS NOT TRUE AND pending IS NOT TRUE),
       count(*) FILTER (WHERE kind = %(unhandled)s OR alias = %(unhandled)s),
       count(*) FILTER (WHERE parked), sum(milliseconds), sum(handled)
  FROM told GROUP BY priority
"""
_DISTINCT = """
SELECT count(DISTINCT kind) FROM guardian_event
 WHERE team_id = %(team)s AND created_at > %(since)s
"""


def statistics(*, team_id: UUID, hours: int) -> dict[str, Any]:
    """Figures over the team's events of the last hours, counted from the rows themselves."""
    arguments: dict[str, Any] = {
        "team": team_id,
        "since": timezone.now() - timedelta(hours=hours),
        "unhandled": UNHANDLED,
    }
    with connection.cursor() as cursor:
        cursor.execute(_STATS, arguments)
        rows = cursor.fetchall()
        cursor.execute(_DISTINCT, arguments)
        distinct = (cursor.fetchone() or (0,))[0]
    total, processed, unhandled, parked = (sum(row[n] for row in rows) for n in (1, 2, 3, 4))
    milliseconds, handled = (float(sum(row[n] or 0 for row in rows)) for n in (5, 6))
    by_priority = {row[0]: row[1] for row in rows}
    return {
        "window_hours": hours,
        "total": total,
        "processed": processed,
        "unprocessed": total - processed,
        "unhandled": unhandled,
        "parked": parked,
        "distinct_types": distinct,
        "mean_processing_ms": round(milliseconds / handled, 3) if handled else None,
        "by_priority": {word: by_priority.get(n, 0) for n, word in PRIORITY_WORDS.items()},
    }


def deliveries_of(events: Iterable[Event]) -> dict[UUID, list[Delivery]]:
    """The receivers of each event, in the order they were told."""
    found: dict[UUID, list[Delivery]] = {}
    ids = [event.pk for event in events]
    for delivery in Delivery.objects.filter(event_id__in=ids).order_by("id"):
        found.setdefault(delivery.event_id, []).append(delivery)
    return found
