"""Statements of locks on their hot path: the key of a resource, taking, keeping, giving back.

The exclusion constraint decides who has a lock. Verbs that read the line of a resource queue on
an advisory lock of its key first. The statements here need none: taking asks the constraint
alone; giving back is refused by the row itself (`contended`) once anybody waits.
"""

from functools import cache

from guardian import events, holders
from guardian.outbox import emit_sql, kind_sql

# The first bit goes: a range ends before the largest bigint.
KEY = "hashtextextended(%(team)s::uuid::text || '|' || %(type)s || '|' || %(id)s, 0) >> 1"

# Alone in its transaction, as a lease need not outlive a crash of the server: its fence does
# (migration `locks`, guardian_next_fence), and whoever waits for no disk is ten times as fast.
_QUICK = "quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))"


def _told(kind: str, data: str) -> str:
    return f"""SELECT 0 AS place, %(event)s::uuid AS id, {kind_sql(kind)}, id AS subject_id,
        true AS acts, jsonb_build_object('resource_type', %(told_type)s::text,
            'resource_id', %(told_id)s::text, {data}) AS data"""


@cache
def take(instance_sql: str) -> str:
    """Take a free resource exclusively, with its event; no row where it is held or waited for."""
    told = _told(events.LOCK_ACQUIRED, "'mode', 'exclusive', 'fence', fence")
    return f"""
    WITH {_QUICK}, instance AS MATERIALIZED ({instance_sql}), given AS (
        INSERT INTO guardian_resourcelock (id, team_id, created_at, updated_at, resource_type,
               resource_id, key_range, slot, mode, state, holder_id, task_id, instance_id,
               contended, fence, lease_seconds, expires_at, acquired_at, release_reason, metadata)
        SELECT %(lock)s::uuid, %(team)s::uuid, at, at, %(type)s, %(id)s,
               int8range(key, key, '[]'), int8range(NULL, NULL), 'exclusive', 'held',
               %(holder)s::uuid, NULL, (SELECT id FROM instance), false, guardian_next_fence(),
               %(seconds)s::int, at + make_interval(secs => %(seconds)s::int), at, '', %(metadata)s
          FROM (SELECT {KEY} AS key, clock_timestamp() AS at) resource CROSS JOIN quick
         WHERE NOT EXISTS (SELECT 1 FROM guardian_lockrequest w
                            WHERE w.key = resource.key AND w.state = 'waiting')
        ON CONFLICT ON CONSTRAINT lock_is_exclusive_or_shared DO NOTHING
        RETURNING id, fence, expires_at
    ), told AS ({told} FROM given),
    written AS ({emit_sql("told", subject_label="guardian.resourcelock")})
    SELECT id, fence, expires_at FROM given
    """  # noqa: S608  constants of modules


_RENEW = """
UPDATE guardian_resourcelock l
   SET lease_seconds = coalesce(%(seconds)s::int, l.lease_seconds), updated_at = clock_timestamp(),
       expires_at = clock_timestamp()
           + make_interval(secs => coalesce(%(seconds)s::int, l.lease_seconds))
{quick}
 WHERE l.id = %(lock)s AND l.team_id = %(team)s AND l.holder_id = %(holder)s
   AND l.fence = %(fence)s::bigint AND l.state = 'held' AND l.expires_at > clock_timestamp()
RETURNING l.id, l.fence, l.expires_at
"""
# With a task's heartbeat: its locks live at least as long as its own lease.
RENEW_OF_TASK = """
UPDATE guardian_resourcelock
   SET updated_at = clock_timestamp(),
       expires_at = greatest(expires_at, clock_timestamp() + make_interval(
           secs => greatest(lease_seconds, %(seconds)s::int)))
 WHERE task_id = %(task)s AND state = 'held' AND expires_at > clock_timestamp()
"""
# Beside other writes, which must be as durable as they always are.
RENEW_WITH_ALL = _RENEW.format(quick="")
RENEW = f"WITH {_QUICK} {_RENEW.format(quick='FROM quick')}"

RELEASE = f"""
WITH {_QUICK}, ended AS (
    UPDATE guardian_resourcelock l
       SET state = 'released', released_at = clock_timestamp(), updated_at = clock_timestamp(),
           release_reason = 'released'
      FROM quick
     WHERE l.id = %(lock)s AND l.team_id = %(team)s AND l.holder_id = %(holder)s
       AND l.fence = %(fence)s::bigint AND l.state = 'held' AND NOT l.contended
       AND l.expires_at > clock_timestamp()
    RETURNING l.id, l.resource_type, l.resource_id, l.fence
), told AS (
    SELECT 0 AS place, %(event)s::uuid AS id, {kind_sql(events.LOCK_RELEASED)},
           id AS subject_id, true AS acts, jsonb_build_object('resource_type', resource_type,
               'resource_id', resource_id, 'reason', 'released') AS data
      FROM ended
), written AS ({emit_sql("told", subject_label="guardian.resourcelock")})
SELECT id, fence FROM ended
"""  # noqa: S608  constants of this module

# From here on only one transaction looks at this resource and its line.
ENTER = f"SELECT key, pg_advisory_xact_lock(key) FROM (SELECT {KEY} AS key) resource"  # noqa: S608  as above
ENTER_KNOWN = """
SELECT pg_advisory_xact_lock(key) FROM (
    SELECT DISTINCT key FROM unnest(%(keys)s::bigint[]) key ORDER BY key) resource
"""

# One lock at the end of a longer way; its slot is the whole line or its own fence.
GIVE = """
INSERT INTO guardian_resourcelock (id, team_id, created_at, updated_at, resource_type, resource_id,
       key_range, slot, mode, state, holder_id, task_id, instance_id, contended, fence,
       lease_seconds, expires_at, acquired_at, release_reason, metadata)
SELECT %(lock)s::uuid, %(team)s::uuid, at, at, %(type)s, %(id)s,
       int8range(%(key)s::bigint, %(key)s::bigint, '[]'),
       CASE WHEN %(mode)s::text = 'exclusive' THEN int8range(NULL, NULL)
            ELSE int8range(fence, fence, '[]') END,
       %(mode)s, 'held', %(holder)s::uuid, %(task)s::uuid, %(instance)s::uuid, %(contended)s,
       fence, %(seconds)s::int, at + make_interval(secs => %(seconds)s::int), at, '', %(metadata)s
  FROM (SELECT guardian_next_fence() AS fence, clock_timestamp() AS at) given
ON CONFLICT ON CONSTRAINT lock_is_exclusive_or_shared DO NOTHING
RETURNING id
"""


def take_statement() -> str:
    return take(holders.instance_sql())
