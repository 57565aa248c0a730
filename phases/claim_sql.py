"""The statements of claims as text: what a claim takes, what an end frees."""

from guardian import services as guardian
from guardian.outbox import UUID7_SQL, emit_sql, kind_sql
from phases import events
from phases.queue_sql import FROM, MAY_BE_READY, ROW, ROW_COLUMNS
from phases.scoring import score_sql

HEADS = 200
# Beyond these heads, so that neither the old nor the hurried wait behind the important for ever.
OLDEST = SOONEST = 50

# The team's standing and whether a claim may be made; the holder's other claims wait meanwhile, so
# that together they never take too many (the function is in migration 0002). `checked` claims go
# on to ask the purse and the locks in their transaction; the others take only what needs neither.
_STAND = f"""
stand AS MATERIALIZED (
    SELECT {guardian.STANDING_SQL}, phases_held_leases(%(holder)s::uuid) AS held
)"""

# What a claim could take of a need, by its narrow rows alone.
_HEAD = """r.task_id, r.ticket_id, r.priority, r.ready_at, r.deadline, r.rework, r.blockers,
    r.retry_left, r.weights"""
_OF_THE_NEED = f"""
    SELECT {_HEAD} FROM phases_readytask r
     WHERE r.team_id = %(team)s AND r.capability_key = needs.capability_key
       AND r.not_before <= statement_timestamp()
       AND (%(wanted_task)s::uuid IS NULL OR r.task_id = %(wanted_task)s)
       AND (%(ticket)s::uuid IS NULL OR r.ticket_id = %(ticket)s)
       AND r.task_id <> ALL(%(exclude)s::uuid[])
       AND (%(checked)s OR NOT r.has_locks)
       AND (r.reserved_until IS NULL OR r.reserved_for = %(holder)s
            OR r.reserved_until <= statement_timestamp())
"""  # noqa: S608  constants of this module

# Heads per distinct need by a skip scan of the index: the first by priority and age, and, where
# there are more than these, the oldest of each priority and the nearest deadlines behind them.
# They are scored from their narrow rows; `{{may}}` is asked before all else.
_SCORED_PARTS = f"""
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
        WITH first AS MATERIALIZED ({_OF_THE_NEED} ORDER BY r.priority, r.ready_at LIMIT {HEADS}
        ), edge AS MATERIALIZED (
            SELECT priority, ready_at,
                   (SELECT count(*) FROM first f WHERE f.priority = l.priority) AS alike
              FROM (SELECT priority, ready_at FROM first OFFSET {HEADS - 1}) l
        ), oldest AS MATERIALIZED (
            SELECT o.* FROM edge
             CROSS JOIN generate_series(edge.priority + (edge.alike >= {OLDEST})::int, 4) level
             CROSS JOIN LATERAL ({_OF_THE_NEED} AND r.priority = level AND r.ready_at >
                    CASE WHEN level = edge.priority THEN edge.ready_at ELSE '-infinity' END
                 ORDER BY r.ready_at LIMIT {OLDEST}) o
        )
        SELECT * FROM first UNION ALL SELECT * FROM oldest UNION ALL
        SELECT s.* FROM edge CROSS JOIN LATERAL ({_OF_THE_NEED} AND r.deadline IS NOT NULL
             ORDER BY r.deadline LIMIT {SOONEST}) s
         WHERE (s.priority, s.ready_at) > (edge.priority, edge.ready_at)
           AND NOT EXISTS (SELECT 1 FROM oldest o WHERE o.task_id = s.task_id)
    ) h
     WHERE {{able}} AND {{may}}
), scored AS (
    SELECT task_id, ticket_id, rework, {score_sql()} AS score
      FROM heads ORDER BY score DESC, task_id
)"""  # noqa: S608  constants of this module

# Whether a scored row `s` may be begun now: its ticket lets it be worked on (the row may be from
# just before it was blocked) and its next column has room. A scalar question: an EXISTS would be
# hashed whole.
_MAY_BEGIN = f"""
    (SELECT {MAY_BE_READY} AND t.deps_left = 0
        AND (%(phase)s::text IS NULL OR tp.key = %(phase)s)
        AND (s.rework OR (nc.admitted_count >= nc.wip_limit) IS NOT TRUE)
        {FROM} LEFT JOIN phases_boardcolumn nc
          ON nc.id = cp.next_column_id AND nc.id <> k.column_id
       WHERE t.id = s.task_id AND k.id = s.ticket_id)
"""
# Who does one kind of work only takes nothing that anybody could do (`needing`).
_ABLE = """needs.capabilities <@ %(capabilities)s::varchar[]
     AND (NOT %(needing)s OR cardinality(needs.capabilities) > 0)"""

# Best first and only until enough are found: lock, see that it may be begun, take. Equals go by
# their creation, which their ids are in the order of.
_CLAIM_PARTS = f"""
{_SCORED_PARTS.format(able=_ABLE, may="{may}")}, best AS (
    SELECT locked.task_id, s.score FROM scored s CROSS JOIN LATERAL (
        SELECT r.task_id FROM phases_readytask r WHERE r.task_id = s.task_id
           FOR UPDATE SKIP LOCKED) locked
     WHERE {_MAY_BEGIN}
     ORDER BY s.score DESC, s.task_id
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
# What a claim would find now, without taking it; without capabilities, for anybody.
READY = f"""
WITH RECURSIVE stand AS MATERIALIZED (SELECT {guardian.STANDING_SQL}),
{
    _SCORED_PARTS.format(
        able=f"(%(capabilities)s::varchar[] IS NULL OR {_ABLE})",
        may="(SELECT NOT stopped FROM stand)",
    )
}
SELECT s.task_id, s.score FROM scored s WHERE {_MAY_BEGIN}
 ORDER BY s.score DESC, s.task_id LIMIT %(limit)s
"""  # noqa: S608  constants of this module

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
           handoff = '', completed_at = clock_timestamp(), last_holder_id = holder_id,
           holder_id = NULL, lease_expires_at = NULL, updated_at = clock_timestamp()
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
    SELECT t.id, {MAY_BE_READY} AS fits {FROM} WHERE t.id IN (SELECT task_id FROM edges)
     ORDER BY t.id FOR UPDATE OF t
), freed AS (
    UPDATE phases_task t SET deps_left = t.deps_left - 1, ready_at = CASE
           WHEN t.deps_left = 1 AND children.fits THEN clock_timestamp() ELSE t.ready_at END
      FROM children WHERE t.id = children.id
    RETURNING t.*, children.fits
), offered AS (
    INSERT INTO phases_readytask ({ROW_COLUMNS})
    SELECT {ROW} FROM freed t JOIN phases_ticket k ON k.id = t.ticket_id
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
