"""What the hot path of dispatch must know, each in one question instead of several."""

from dataclasses import dataclass
from uuid import UUID

from django.db import connection

_STANDING = """
SELECT EXISTS (SELECT 1 FROM guardian_guardianaction
                WHERE kind = 'kill_switch' AND state = 'executed'
                  AND (team_id = %(team)s OR team_id IS NULL)),
       EXISTS (SELECT 1 FROM guardian_budget WHERE team_id = %(team)s)
"""
_HOLDINGS = """
SELECT EXISTS (SELECT 1 FROM guardian_resourcelock
                WHERE task_id = %(task)s AND released_at IS NULL)
    OR EXISTS (SELECT 1 FROM guardian_costrecord h
                WHERE h.task_id = %(task)s AND h.kind = 'hold' AND NOT EXISTS (
                      SELECT 1 FROM guardian_costrecord r
                       WHERE r.parent_id = h.id AND r.kind = 'release'))
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether new work may start in a team, and whether a budget must be asked for it."""

    kill_switch: bool
    has_budgets: bool


def standing_of(*, team_id: UUID) -> Standing:
    """The kill switch and the budgets of a team."""
    with connection.cursor() as cursor:
        cursor.execute(_STANDING, {"team": team_id})
        row = cursor.fetchone() or (True, True)
    return Standing(kill_switch=row[0], has_budgets=row[1])


def holds_anything(*, task_id: UUID) -> bool:
    """Whether a task has locks to free or money to settle at its end."""
    with connection.cursor() as cursor:
        cursor.execute(_HOLDINGS, {"task": task_id})
        row = cursor.fetchone()
    return bool(row and row[0])
