"""The statements that keep the queue true: what may be ready, as rows and as events."""

from guardian.outbox import UUID7_SQL, emit_sql, kind_sql
from phases import events
from phases.scoring import WEIGHTS_SQL

# How long work that a review sent back waits for who did it, before anybody may take it.
RESERVED_SECONDS = 600

MAY_BE_READY = """
    t.status IN ('pending', 'needs_work')
    AND k.status IN ('pending', 'in_progress') AND k.admitted_at IS NOT NULL
    AND k.approval_status IN ('not_required', 'approved')
    AND cp.kind = 'work' AND NOT cp.is_terminal AND tp.sequence_order <= cp.sequence_order
"""

FROM = """
    FROM phases_task t
    JOIN phases_ticket k ON k.id = t.ticket_id
    JOIN phases_phase tp ON tp.id = t.phase_id
    JOIN phases_phase cp ON cp.id = k.phase_id
"""

WITHDRAW = f"""
DELETE FROM phases_readytask r USING (SELECT t.id {FROM} WHERE t.id = ANY(%(ids)s)
    AND NOT (t.deps_left = 0 AND {MAY_BE_READY})) gone
 WHERE r.task_id = gone.id
"""  # noqa: S608  constants of this module

# A queue row of a task `t`; blockers and tries left are parts of its score.
ROW_COLUMNS = """task_id, team_id, ticket_id, capability_key, capabilities, priority, ready_at,
    not_before, deadline, rework, has_locks, blockers, retry_left, weights, reserved_for,
    reserved_until"""
ROW = f"""t.id, t.team_id, t.ticket_id, t.required_capabilities::text,
    t.required_capabilities, t.priority, clock_timestamp(),
    coalesce(t.not_before, clock_timestamp()), coalesce(t.deadline, k.deadline),
    t.status = 'needs_work', jsonb_array_length(t.required_locks) > 0,
    (SELECT count(*) FROM phases_taskdependency d WHERE d.depends_on_id = t.id AND NOT d.satisfied),
    CASE WHEN t.max_retries = 0 THEN 0
         ELSE greatest(0, t.max_retries - t.retry_count)::float / t.max_retries END,
    (SELECT {WEIGHTS_SQL} FROM phases_workflow w WHERE w.id = k.workflow_id),
    CASE WHEN t.status = 'needs_work' THEN t.last_holder_id END,
    CASE WHEN t.status = 'needs_work' THEN (
        SELECT v.updated_at + interval '{RESERVED_SECONDS} s' FROM phases_review v
         WHERE v.task_id = t.id ORDER BY v.iteration DESC LIMIT 1) END"""  # noqa: S608  constants of this module

OFFER = f"""
WITH queued AS (
    INSERT INTO phases_readytask ({ROW_COLUMNS})
    SELECT {ROW} {FROM} WHERE t.id = ANY(%(ids)s) AND t.deps_left = 0 AND {MAY_BE_READY}
    ON CONFLICT (task_id) DO UPDATE SET priority = EXCLUDED.priority,
        not_before = EXCLUDED.not_before, deadline = EXCLUDED.deadline, rework = EXCLUDED.rework,
        blockers = EXCLUDED.blockers, weights = EXCLUDED.weights
    RETURNING task_id, ready_at, (xmax = 0) AS fresh
)
UPDATE phases_task t SET ready_at = q.ready_at FROM queued q
 WHERE t.id = q.task_id AND q.fresh RETURNING t.id, t.team_id
"""  # noqa: S608  constants of this module

# Ready tasks without a row, and rows of tasks that are not ready: both sides are small, the tasks
# come from the index of those that wait for nothing.
FAULTS = f"""
WITH ready AS (SELECT t.id, t.ticket_id {FROM} WHERE t.deps_left = 0 AND {MAY_BE_READY})
SELECT coalesce(ready.id, r.task_id), coalesce(ready.ticket_id, r.ticket_id)
  FROM ready FULL JOIN phases_readytask r ON r.task_id = ready.id
 WHERE ready.id IS NULL OR r.task_id IS NULL
 LIMIT %(limit)s
"""  # noqa: S608  constants of this module

MORE_WAIT = """
UPDATE phases_readytask r SET blockers = greatest(0, r.blockers + n.more)
  FROM unnest(%(ids)s::uuid[], %(more)s::int[]) AS n(id, more),
       (SELECT task_id FROM phases_readytask WHERE task_id = ANY(%(ids)s::uuid[])
         ORDER BY task_id FOR UPDATE) locked
 WHERE r.task_id = locked.task_id AND n.id = locked.task_id
"""

# One event for each of many tasks, whose data is short and told by nobody.
TELL_READIED = f"""
WITH told AS (
    SELECT row_number() OVER (ORDER BY t.id) AS place, {UUID7_SQL} AS id,
           {kind_sql(events.TASK_READIED)}, t.id AS subject_id, false AS acts,
           jsonb_build_object('ticket_id', t.ticket_id) AS data
      FROM phases_task t WHERE t.id = ANY(%(ids)s::uuid[]) AND t.team_id = %(team)s
), written AS ({emit_sql("told", subject_label="phases.task")})
SELECT count(*) FROM told
"""  # noqa: S608  constants of this module

# The same for new ones; `types` are their kinds with secrets masked, in the order of `ids`.
TELL_CREATED = f"""
WITH told AS (
    SELECT n.place, {UUID7_SQL} AS id, {kind_sql(events.TASK_CREATED)}, t.id AS subject_id,
           true AS acts,
           jsonb_build_object('ticket_id', t.ticket_id, 'task_type', n.task_type) AS data
      FROM unnest(%(ids)s::uuid[], %(types)s::text[]) WITH ORDINALITY AS n(id, task_type, place)
      JOIN phases_task t ON t.id = n.id
), written AS ({emit_sql("told", subject_label="phases.task")})
SELECT count(*) FROM told
"""  # noqa: S608  constants of this module

# After a workflow's weights were changed: its rows get the new ones.
WEIGH_ANEW = f"""
UPDATE phases_readytask r SET weights = (SELECT {WEIGHTS_SQL} FROM phases_workflow w
                                          WHERE w.id = %(workflow)s)
  FROM (SELECT r.task_id FROM phases_readytask r JOIN phases_ticket k ON k.id = r.ticket_id
         WHERE k.workflow_id = %(workflow)s ORDER BY r.task_id FOR UPDATE OF r) locked
 WHERE r.task_id = locked.task_id
"""  # noqa: S608  constants of this module
