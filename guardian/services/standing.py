"""What the hot path of dispatch must know, as SQL for its statements and as questions."""

from dataclasses import dataclass
from uuid import UUID

from guardian.prepared import run_prepared

# Columns `stopped` and `budgets`: whether new work may start in %(team)s, and whether a budget
# must be asked for it. For the statements that claim work.
STANDING_SQL = """
    EXISTS (SELECT 1 FROM guardian_guardianaction
             WHERE kind = 'kill_switch' AND state = 'executed'
               AND (team_id = %(team)s OR team_id IS NULL)) AS stopped,
    EXISTS (SELECT 1 FROM guardian_budget WHERE team_id = %(team)s) AS budgets
"""
# Whether %(task)s has locks or places in lines to free or money to settle at its end.
HOLDINGS_SQL = """
   (EXISTS (SELECT 1 FROM guardian_resourcelock
             WHERE task_id = %(task)s AND released_at IS NULL)
    OR EXISTS (SELECT 1 FROM guardian_lockrequest
                WHERE task_id = %(task)s AND state = 'waiting')
    OR EXISTS (SELECT 1 FROM guardian_costrecord h
                WHERE h.task_id = %(task)s AND h.kind = 'hold' AND NOT EXISTS (
                      SELECT 1 FROM guardian_costrecord r
                       WHERE r.parent_id = h.id AND r.kind = 'release')))
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether new work may start in a team, and whether a budget must be asked for it."""

    kill_switch: bool
    has_budgets: bool


def standing_of(*, team_id: UUID) -> Standing:
    """The kill switch and the budgets of a team."""
    kill_switch, has_budgets = run_prepared(f"SELECT {STANDING_SQL}", {"team": team_id})[0]
    return Standing(kill_switch=kill_switch, has_budgets=has_budgets)


def holds_anything(*, task_id: UUID) -> bool:
    """Whether a task has locks, places in lines or money to settle at its end."""
    return bool(run_prepared(f"SELECT {HOLDINGS_SQL}", {"task": task_id})[0][0])
