"""Claim, heartbeat and complete as single statements over a narrow table of ready rows.

The database clock times every lease. A ready row is always locked before its task, a ticket
before the tasks of it, so that the verbs of phases never wait for each other in a circle.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from guardian.prepared import run_prepared

# Weights of the score (specification of tasks, K-12); a workflow may later bring its own.
WEIGHTS = {"priority": 0.45, "age": 0.20, "deadline": 0.15, "blockers": 0.15, "retry": 0.05}
HEADS = 200

_IS_READY = """
    t.status IN ('pending', 'needs_work') AND t.deps_left = 0
    AND k.status IN ('pending', 'in_progress') AND k.admitted_at IS NOT NULL
    AND cp.kind = 'work' AND NOT cp.is_terminal AND tp.sequence_order <= cp.sequence_order
"""

_FROM = """
    FROM phases_task t
    JOIN phases_ticket k ON k.id = t.ticket_id
    JOIN phases_phase tp ON tp.id = t.phase_id
    JOIN phases_phase cp ON cp.id = k.phase_id
"""

_WITHDRAW = f"""
DELETE FROM phases_readytask r USING (SELECT t.id {_FROM} WHERE t.id = ANY(%(ids)s)
    AND NOT ({_IS_READY})) gone
 WHERE r.task_id = gone.id
"""  # noqa: S608  constants of this module

_OFFER = f"""
WITH fit AS (
    SELECT t.id, t.team_id, t.ticket_id, t.required_capabilities AS capabilities, t.priority,
           clock_timestamp() AS ready_at, coalesce(t.not_before, clock_timestamp()) AS not_before,
           coalesce(t.deadline, k.deadline) AS deadline, t.status = 'needs_work' AS rework,
           jsonb_array_length(t.required_locks) > 0 AS has_locks
    {_FROM}
     WHERE t.id = ANY(%(ids)s) AND {_IS_READY}
), queued AS (
    INSERT INTO phases_readytask (task_id, team_id, ticket_id, capability_key, capabilities,
        priority, ready_at, not_before, deadline, rework, has_locks)
    SELECT id, team_id, ticket_id, array_to_string(capabilities, ','), capabilities,
        priority, ready_at, not_before, deadline, rework, has_locks FROM fit
    ON CONFLICT (task_id) DO UPDATE SET priority = EXCLUDED.priority,
        not_before = EXCLUDED.not_before, deadline = EXCLUDED.deadline, rework = EXCLUDED.rework
    RETURNING task_id, ready_at, (xmax = 0) AS fresh
)
UPDATE phases_task t SET ready_at = q.ready_at FROM queued q
 WHERE t.id = q.task_id AND q.fresh RETURNING t.id
"""  # noqa: S608  constants of this module

# Heads per distinct need by a skip scan of the index; then score, lock, take: one statement.
_CLAIM = f"""
WITH RECURSIVE needs AS (
    (SELECT capability_key, capabilities FROM phases_readytask
      WHERE team_id = %(team)s ORDER BY capability_key LIMIT 1)
    UNION ALL
    SELECT n.capability_key, n.capabilities FROM needs
     CROSS JOIN LATERAL (SELECT capability_key, capabilities FROM phases_readytask
        WHERE team_id = %(team)s AND capability_key > needs.capability_key
        ORDER BY capability_key LIMIT 1) n
), heads AS (
    SELECT h.* FROM needs CROSS JOIN LATERAL (
        SELECT r.* FROM phases_readytask r
         WHERE r.team_id = %(team)s AND r.capability_key = needs.capability_key
           AND r.not_before <= clock_timestamp()
           AND (%(task)s::uuid IS NULL OR r.task_id = %(task)s)
           AND (%(ticket)s::uuid IS NULL OR r.ticket_id = %(ticket)s)
           AND r.task_id <> ALL(%(exclude)s::uuid[])
           AND (%(with_locks)s OR NOT r.has_locks)
         ORDER BY r.priority, r.ready_at LIMIT {HEADS}) h
     WHERE needs.capabilities <@ %(capabilities)s::varchar[]
), scored AS (
    SELECT h.task_id, h.ready_at,
        ({WEIGHTS["priority"]} * (ARRAY[1, .75, .5, .25])[h.priority]
         + {WEIGHTS["age"]} * least(1, extract(epoch FROM clock_timestamp() - h.ready_at) / 3600)
         + {WEIGHTS["deadline"]} * CASE WHEN h.deadline IS NULL THEN 0 ELSE greatest(0, least(1,
             1 - extract(epoch FROM h.deadline - clock_timestamp()) / 900)) END
         + {WEIGHTS["blockers"]} * least(1, (SELECT count(*) FROM phases_taskdependency d
             WHERE d.depends_on_id = h.task_id AND NOT d.satisfied) / 10.0)
         + {WEIGHTS["retry"]} * CASE WHEN t.max_retries = 0 THEN 0
             ELSE greatest(0, t.max_retries - t.retry_count)::float / t.max_retries END)
        * CASE WHEN h.deadline <= clock_timestamp() + interval '900 s' THEN 1.25 ELSE 1 END
        AS score
      FROM heads h
      JOIN phases_task t ON t.id = h.task_id
      JOIN phases_ticket k ON k.id = h.ticket_id
      JOIN phases_phase p ON p.id = k.phase_id
      LEFT JOIN phases_boardcolumn nc ON nc.id = p.next_column_id AND nc.id <> k.column_id
     WHERE (h.rework OR nc.wip_limit IS NULL OR nc.admitted_count < nc.wip_limit)
       AND (%(phase)s::text IS NULL OR EXISTS (SELECT 1 FROM phases_phase tp
            WHERE tp.id = t.phase_id AND tp.key = %(phase)s))
), best AS (
    SELECT r.task_id, s.score FROM scored s JOIN phases_readytask r ON r.task_id = s.task_id
     ORDER BY s.score DESC, s.ready_at, s.task_id LIMIT %(limit)s FOR UPDATE OF r SKIP LOCKED
), taken AS (
    DELETE FROM phases_readytask r USING best WHERE r.task_id = best.task_id
    RETURNING r.task_id, best.score
)
UPDATE phases_task t SET status = 'assigned', holder_id = %(holder)s, fence = t.fence + 1,
       claimed_at = clock_timestamp(), progress = 0, note = '', dispatch_note = '',
       lease_expires_at = clock_timestamp() + make_interval(secs => %(lease)s),
       updated_at = clock_timestamp()
  FROM taken WHERE t.id = taken.task_id
RETURNING t.id, taken.score
"""  # noqa: S608  constants of this module

_HELD = """
SELECT count(*) FROM phases_task
 WHERE holder_id = %(holder)s AND status IN ('assigned', 'running')
"""

_BEAT = """
UPDATE phases_task SET status = 'running',
       started_at = coalesce(started_at, clock_timestamp()),
       lease_expires_at = clock_timestamp() + make_interval(secs => %(lease)s),
       progress = coalesce(%(progress)s, progress), note = coalesce(%(note)s, note),
       updated_at = clock_timestamp()
 WHERE id = %(task)s AND team_id = %(team)s AND holder_id = %(holder)s AND fence = %(fence)s
   AND status IN ('assigned', 'running') AND lease_expires_at > clock_timestamp()
RETURNING lease_expires_at, cancel_deadline, cancel_reason
"""

_COMPLETE = """
WITH done AS (
    UPDATE phases_task SET status = 'completed', result = %(result)s, progress = 1, note = '',
           completed_at = clock_timestamp(), last_holder_id = holder_id, holder_id = NULL,
           lease_expires_at = NULL, updated_at = clock_timestamp()
     WHERE id = %(task)s AND team_id = %(team)s AND holder_id = %(holder)s AND fence = %(fence)s
       AND status IN ('assigned', 'running') AND cancel_deadline IS NULL
       AND lease_expires_at > clock_timestamp()
    RETURNING id
), edges AS (
    UPDATE phases_taskdependency d SET satisfied = true, updated_at = clock_timestamp()
      FROM done WHERE d.depends_on_id = done.id AND NOT d.satisfied RETURNING d.task_id
), children AS (
    SELECT t.id FROM phases_task t WHERE t.id IN (SELECT task_id FROM edges)
     ORDER BY t.id FOR UPDATE
), freed AS (
    UPDATE phases_task t SET deps_left = t.deps_left - 1 FROM children
     WHERE t.id = children.id RETURNING t.id, t.deps_left
)
SELECT (SELECT count(*) FROM done),
       (SELECT coalesce(array_agg(id), '{}') FROM freed WHERE deps_left = 0)
"""


def refresh(task_ids: Iterable[UUID]) -> list[UUID]:
    """Make the queue true for these tasks. Returns those that became claimable just now."""
    ids = list(task_ids)
    if not ids:
        return []
    run_prepared(_WITHDRAW, {"ids": ids})
    return [row[0] for row in run_prepared(_OFFER, {"ids": ids})]


def withdraw(task_ids: Iterable[UUID]) -> None:
    """Take tasks out of the queue, before their rows are locked for a change."""
    run_prepared(
        "DELETE FROM phases_readytask WHERE task_id = ANY(%(ids)s)", {"ids": list(task_ids)}
    )


def held_by(holder_id: UUID) -> int:
    """How many tasks an actor holds."""
    return int(run_prepared(_HELD, {"holder": holder_id})[0][0])


def take(
    *,
    team_id: UUID,
    holder_id: UUID,
    capabilities: list[str],
    limit: int,
    lease_seconds: int,
    phase: str | None = None,
    ticket_id: UUID | None = None,
    task_id: UUID | None = None,
    exclude: Iterable[UUID] = (),
    with_locks: bool = False,
) -> list[tuple[UUID, float]]:
    """Claim up to `limit` ready tasks, best score first: [(task id, score)]."""
    arguments = {
        "team": team_id,
        "holder": holder_id,
        "capabilities": capabilities,
        "limit": limit,
        "lease": lease_seconds,
        "phase": phase,
        "ticket": ticket_id,
        "task": task_id,
        "exclude": list(exclude),
        "with_locks": with_locks,
    }
    rows = [(row[0], float(row[1])) for row in run_prepared(_CLAIM, arguments)]
    return sorted(rows, key=lambda row: -row[1])


def beat(**arguments: Any) -> tuple[Any, Any, str] | None:
    """Extend a lease; None when this fence no longer holds the task."""
    rows = run_prepared(_BEAT, arguments)
    return (rows[0][0], rows[0][1], rows[0][2]) if rows else None


def finish(
    *, task_id: UUID, team_id: UUID, holder_id: UUID, fence: int, result: dict[str, Any]
) -> tuple[bool, list[UUID]]:
    """Complete a task and count down its dependents: (done, those that wait for nothing more)."""
    arguments = {
        "task": task_id,
        "team": team_id,
        "holder": holder_id,
        "fence": fence,
        "result": Jsonb(result),
    }
    rows = run_prepared(_COMPLETE, arguments)
    return (bool(rows[0][0]), list(rows[0][1])) if rows else (False, [])
