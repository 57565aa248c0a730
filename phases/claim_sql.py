"""The statements of claims as text: what may be ready, what a claim takes, what an end frees."""

from guardian import services as guardian
from guardian.outbox import UUID7_SQL, emit_sql, kind_sql
from phases import events

# Weights of the score (specification of tasks, K-12); a workflow may later bring its own.
WEIGHTS = {"priority": 0.45, "age": 0.20, "deadline": 0.15, "blockers": 0.15, "retry": 0.05}
HEADS = 200
# How long work that a review sent back waits for who did it, before anybody may take it.
RESERVED_SECONDS = 600

_MAY_BE_READY = """
    t.status IN ('pending', 'needs_work')
    AND k.status IN ('pending', 'in_progress') AND k.admitted_at IS NOT NULL
    AND k.approval_status IN ('not_required', 'approved')
    AND cp.kind = 'work' AND NOT cp.is_terminal AND tp.sequence_order <= cp.sequence_order
"""

_FROM = """
    FROM phases_task t
    JOIN phases_ticket k ON k.id = t.ticket_id
    JOIN phases_phase tp ON tp.id = t.phase_id
    JOIN phases_phase cp ON cp.id = k.phase_id
"""

WITHDRAW = f"""
DELETE FROM phases_readytask r USING (SELECT t.id {_FROM} WHERE t.id = ANY(%(ids)s)
    AND NOT (t.deps_left = 0 AND {_MAY_BE_READY})) gone
 WHERE r.task_id = gone.id
"""  # noqa: S608  constants of this module

# A queue row of a task `t`; blockers and tries left are parts of its score.
_ROW_COLUMNS = """task_id, team_id, ticket_id, capability_key, capabilities, priority, ready_at,
    not_before, deadline, rework, has_locks, blockers, retry_left, reserved_for, reserved_until"""
_ROW = f"""t.id, t.team_id, t.ticket_id, array_to_string(t.required_capabilities, ','),
    t.required_capabilities, t.priority, clock_timestamp(),
    coalesce(t.not_before, clock_timestamp()), coalesce(t.deadline, k.deadline),
    t.status = 'needs_work', jsonb_array_length(t.required_locks) > 0,
    (SELECT count(*) FROM phases_taskdependency d WHERE d.depends_on_id = t.id AND NOT d.satisfied),
    CASE WHEN t.max_retries = 0 THEN 0
         ELSE greatest(0, t.max_retries - t.retry_count)::float / t.max_retries END,
    CASE WHEN t.status = 'needs_work' THEN t.last_holder_id END,
    CASE WHEN t.status = 'needs_work' THEN (
        SELECT v.updated_at + interval '{RESERVED_SECONDS} s' FROM phases_review v
         WHERE v.task_id = t.id ORDER BY v.iteration DESC LIMIT 1) END"""  # noqa: S608  constants of this module

OFFER = f"""
WITH queued AS (
    INSERT INTO phases_readytask ({_ROW_COLUMNS})
    SELECT {_ROW} {_FROM} WHERE t.id = ANY(%(ids)s) AND t.deps_left = 0 AND {_MAY_BE_READY}
    ON CONFLICT (task_id) DO UPDATE SET priority = EXCLUDED.priority,
        not_before = EXCLUDED.not_before, deadline = EXCLUDED.deadline, rework = EXCLUDED.rework,
        blockers = EXCLUDED.blockers
    RETURNING task_id, ready_at, (xmax = 0) AS fresh
)
UPDATE phases_task t SET ready_at = q.ready_at FROM queued q
 WHERE t.id = q.task_id AND q.fresh RETURNING t.id, t.team_id
"""  # noqa: S608  constants of this module

# Ready tasks without a row, and rows of tasks that are not ready: both sides are small, the tasks
# come from the index of those that wait for nothing.
FAULTS = f"""
WITH ready AS (SELECT t.id, t.ticket_id {_FROM} WHERE t.deps_left = 0 AND {_MAY_BE_READY})
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

# The team's standing and whether a claim may be made; the holder's other claims wait meanwhile, so
# that together they never take too many (the function is in migration 0002). `checked` claims go
# on to ask the purse and the locks in their transaction; the others take only what needs neither.
_STAND = f"""
stand AS MATERIALIZED (
    SELECT {guardian.STANDING_SQL}, phases_held_leases(%(holder)s::uuid) AS held
)"""

# Heads per distinct need by a skip scan of the index, scored from their narrow rows alone; then,
# best first and only until enough are found: lock, see that the ticket lets it be worked on now
# (the row may be from just before it was blocked) and that its next column has room, take.
# `{{may}}` is asked before all else. A scalar question: an EXISTS would be hashed whole.
_CLAIM_PARTS = f"""
needs AS (
    (SELECT capability_key, capabilities FROM phases_readytask
      WHERE team_id = %(team)s ORDER BY capability_key LIMIT 1)
    UNION ALL
    SELECT n.capability_key, n.capabilities FROM needs
     CROSS JOIN LATERAL (SELECT capability_key, capabilities FROM phases_readytask
        WHERE team_id = %(team)s AND capability_key > needs.capability_key
        ORDER BY capability_key LIMIT 1) n
), heads AS (
    SELECT h.* FROM needs CROSS JOIN LATERAL (
        SELECT r.task_id, r.ticket_id, r.priority, r.ready_at, r.deadline, r.rework, r.blockers,
               r.retry_left
          FROM phases_readytask r
         WHERE r.team_id = %(team)s AND r.capability_key = needs.capability_key
           AND r.not_before <= statement_timestamp()
           AND (%(wanted_task)s::uuid IS NULL OR r.task_id = %(wanted_task)s)
           AND (%(ticket)s::uuid IS NULL OR r.ticket_id = %(ticket)s)
           AND r.task_id <> ALL(%(exclude)s::uuid[])
           AND (%(checked)s OR NOT r.has_locks)
           AND (r.reserved_until IS NULL OR r.reserved_for = %(holder)s
                OR r.reserved_until <= statement_timestamp())
         ORDER BY r.priority, r.ready_at LIMIT {HEADS}) h
     WHERE needs.capabilities <@ %(capabilities)s::varchar[] AND {{may}}
), scored AS (
    SELECT task_id, ticket_id, ready_at, rework,
        ({WEIGHTS["priority"]}::float8 * (ARRAY[1, .75, .5, .25]::float8[])[priority]
         + {WEIGHTS["age"]}::float8 * least(1,
             date_part('epoch', statement_timestamp() - ready_at) / 3600)
         + {WEIGHTS["deadline"]}::float8 * CASE WHEN deadline IS NULL THEN 0 ELSE greatest(0,
             least(1, 1 - date_part('epoch', deadline - statement_timestamp()) / 900)) END
         + {WEIGHTS["blockers"]}::float8 * least(1, blockers / 10.0::float8)
         + {WEIGHTS["retry"]}::float8 * retry_left)
        * CASE WHEN deadline <= statement_timestamp() + interval '900 s' THEN 1.25 ELSE 1 END
        AS score
      FROM heads ORDER BY score DESC, ready_at, task_id
), best AS (
    SELECT locked.task_id, s.score FROM scored s CROSS JOIN LATERAL (
        SELECT r.task_id FROM phases_readytask r WHERE r.task_id = s.task_id
           FOR UPDATE SKIP LOCKED) locked
     WHERE (SELECT {_MAY_BE_READY} AND t.deps_left = 0
              AND (%(phase)s::text IS NULL OR tp.key = %(phase)s)
              AND (s.rework OR (nc.admitted_count >= nc.wip_limit) IS NOT TRUE)
              {_FROM} LEFT JOIN phases_boardcolumn nc
                ON nc.id = cp.next_column_id AND nc.id <> k.column_id
             WHERE t.id = s.task_id AND k.id = s.ticket_id)
     ORDER BY s.score DESC, s.ready_at, s.task_id
     LIMIT (SELECT greatest(0, least(%(limit)s::int, %(most)s::int - held)) FROM stand)
), taken AS (
    DELETE FROM phases_readytask WHERE task_id = ANY(ARRAY(SELECT task_id FROM best))
    RETURNING task_id
), claimed AS (
    UPDATE phases_task t SET status = 'assigned', holder_id = %(holder)s, fence = t.fence + 1,
           claimed_at = clock_timestamp(), progress = 0, note = '', dispatch_note = '',
           lease_expires_at = clock_timestamp() + make_interval(secs => %(lease)s),
           updated_at = clock_timestamp()
      FROM best WHERE t.id = best.task_id AND best.task_id IN (SELECT task_id FROM taken)
       AND t.status IN ('pending', 'needs_work')
    RETURNING t.id, t.fence, t.ticket_id, t.task_type, t.title, t.lease_expires_at, best.score,
           t.priority, date_part('epoch', t.claimed_at - t.ready_at) AS waited
)"""  # noqa: S608  constants of this module
_MAY_CLAIM = "(SELECT NOT stopped AND (%(checked)s OR NOT budgets) FROM stand)"
_TELL_CLAIMED = f"""
    SELECT {{after}} + n AS place, (%(claim_events)s::uuid[])[n] AS id,
           {kind_sql(events.TASK_CLAIMED)}, c.id AS subject_id, true AS acts,
           jsonb_build_object('ticket_id', c.ticket_id, 'fence', c.fence,
               'holder', %(holder_name)s::text) AS data
      FROM (SELECT *, row_number() OVER (ORDER BY score DESC) AS n FROM claimed) c
"""  # noqa: S608  constants of this module
_CLAIMED_COLUMNS = """c.id, c.fence, c.ticket_id, c.task_type, c.title, c.lease_expires_at,
    c.score, c.priority, c.waited"""

CLAIM = f"""
WITH RECURSIVE {_STAND}, {_CLAIM_PARTS.format(may=_MAY_CLAIM)},
told AS ({_TELL_CLAIMED.format(after="0")}),
written AS ({emit_sql("told", subject_label="phases.task")})
SELECT stand.stopped, stand.budgets, stand.held, {_CLAIMED_COLUMNS}
  FROM stand LEFT JOIN claimed c ON true
"""  # noqa: S608  constants of this module

BEAT = """
UPDATE phases_task SET status = 'running',
       started_at = coalesce(started_at, clock_timestamp()),
       lease_expires_at = clock_timestamp() + make_interval(secs => %(lease)s),
       progress = coalesce(%(progress)s, progress), note = coalesce(%(note)s, note),
       updated_at = clock_timestamp()
 WHERE id = %(task)s AND team_id = %(team)s AND holder_id = %(holder)s AND fence = %(fence)s
   AND status IN ('assigned', 'running') AND lease_expires_at > clock_timestamp()
RETURNING lease_expires_at, cancel_deadline, cancel_reason
"""

# The end of a task: guarded by holder, fence and lease, and by its phase, which may want a review
# first; then its dependents. `{{only}}` is one more condition.
_DONE_NOW = """
done AS (
    UPDATE phases_task SET status = 'completed', result = %(result)s, progress = 1, note = '',
           completed_at = clock_timestamp(), last_holder_id = holder_id, holder_id = NULL,
           lease_expires_at = NULL, updated_at = clock_timestamp()
     WHERE id = %(task)s AND team_id = %(team)s AND holder_id = %(holder)s
       AND fence = %(fence)s::bigint AND status IN ('assigned', 'running')
       AND cancel_deadline IS NULL AND lease_expires_at > clock_timestamp() {only}
       AND NOT (SELECT p.review_required FROM phases_phase p WHERE p.id = phase_id)
    RETURNING id, ticket_id, holds_locks
)"""
# One that a review or a person let pass, completed in this transaction before.
_DONE_BEFORE = """
done AS (SELECT id, ticket_id, holds_locks FROM phases_task
          WHERE id = %(task)s AND team_id = %(team)s AND status = 'completed')"""

# Dependents, in id order, offered when they wait for nothing more.
_FREED_PARTS = f"""
edges AS (
    UPDATE phases_taskdependency d SET satisfied = true, updated_at = clock_timestamp()
      FROM done WHERE d.depends_on_id = done.id AND NOT d.satisfied RETURNING d.task_id
), children AS (
    SELECT t.id, {_MAY_BE_READY} AS fits {_FROM} WHERE t.id IN (SELECT task_id FROM edges)
     ORDER BY t.id FOR UPDATE OF t
), freed AS (
    UPDATE phases_task t SET deps_left = t.deps_left - 1, ready_at = CASE
           WHEN t.deps_left = 1 AND children.fits THEN clock_timestamp() ELSE t.ready_at END
      FROM children WHERE t.id = children.id
    RETURNING t.*, children.fits
), offered AS (
    INSERT INTO phases_readytask ({_ROW_COLUMNS})
    SELECT {_ROW} FROM freed t JOIN phases_ticket k ON k.id = t.ticket_id
     WHERE t.fits AND t.deps_left = 0
    ON CONFLICT (task_id) DO NOTHING RETURNING task_id, ticket_id
)"""  # noqa: S608  constants of this module
_TELL_COMPLETED = f"""
    SELECT row_number() OVER (ORDER BY task_id) AS place, {UUID7_SQL} AS id,
           {kind_sql(events.TASK_READIED)}, task_id AS subject_id, false AS acts,
           jsonb_build_object('ticket_id', ticket_id) AS data
      FROM offered
    UNION ALL
    SELECT 0, %(done_event)s::uuid, {kind_sql(events.TASK_COMPLETED)}, id, true,
           jsonb_build_object('ticket_id', ticket_id, 'fence', %(fence)s::bigint,
               'unblocked', (SELECT coalesce(jsonb_agg(id ORDER BY id), '[]')
                   FROM freed WHERE deps_left = 0))
      FROM done
"""  # noqa: S608  constants of this module
_DONE = """(SELECT count(*) FROM done), (
    SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM freed WHERE deps_left = 0)"""

COMPLETE = f"""
WITH {_DONE_NOW.format(only="")}, {_FREED_PARTS},
told AS ({_TELL_COMPLETED}), written AS ({emit_sql("told", subject_label="phases.task")})
SELECT {_DONE}, EXISTS (SELECT 1 FROM done WHERE holds_locks) OR {guardian.HOLDINGS_SQL}
"""  # noqa: S608  constants of this module

# What a completion does beside the task itself, for one that was accepted.
FREE_DEPENDENTS = f"""
WITH {_DONE_BEFORE}, {_FREED_PARTS},
told AS ({_TELL_COMPLETED}), written AS ({emit_sql("told", subject_label="phases.task")})
SELECT {_DONE}
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

# Complete and claim the next: what has locks or money held needs more than one statement.
HAND_OVER = f"""
WITH RECURSIVE {_STAND},
{_DONE_NOW.format(only=f"AND NOT holds_locks AND NOT {guardian.HOLDINGS_SQL}")},
{_FREED_PARTS},
{_CLAIM_PARTS.format(may=f"EXISTS (SELECT 1 FROM done) AND {_MAY_CLAIM}")},
told AS ({_TELL_COMPLETED} UNION ALL
         {_TELL_CLAIMED.format(after="(SELECT count(*) FROM offered)")}),
written AS ({emit_sql("told", subject_label="phases.task")})
SELECT stand.stopped, stand.budgets, stand.held, {_CLAIMED_COLUMNS}, {_DONE}
  FROM stand LEFT JOIN claimed c ON true
"""  # noqa: S608  constants of this module
