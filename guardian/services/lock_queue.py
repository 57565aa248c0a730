"""The line for a resource: who waits, who is next, what the clock has ended.

Every verb here runs behind `enter`: only one transaction at a time looks at a resource and its
line. The deterministic rule of the line is `settle`: what is over ends, then the heads that nobody
holds off are granted, all in the transaction that freed the place.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now
from psycopg.types.json import Jsonb

from guardian import events, lock_sql, metrics
from guardian.authority import Actor
from guardian.models import LockRequest, ResourceLock, uuid7
from guardian.outbox import emit
from guardian.prepared import run_prepared

EXCLUSIVE = ResourceLock.Mode.EXCLUSIVE
SHARED = ResourceLock.Mode.SHARED


@dataclass(frozen=True, slots=True)
class Place:
    """A resource, and whoever wants it: what a lock and a request have in common."""

    team_id: UUID
    resource_type: str
    resource_id: str
    key: int
    mode: str
    holder_id: UUID
    task_id: UUID | None
    instance_id: UUID | None
    lease_seconds: int
    metadata: dict[str, Any]


def database_now() -> datetime:
    moment: datetime = run_prepared("SELECT clock_timestamp()", {})[0][0]
    return moment


def database_time_in(seconds: int) -> datetime:
    """That many seconds from now, by the database clock."""
    moment: datetime = run_prepared(
        "SELECT clock_timestamp() + make_interval(secs => %(seconds)s::int)", {"seconds": seconds}
    )[0][0]
    return moment


def enter(*, team_id: UUID, resource_type: str, resource_id: str) -> int:
    """Wait for one's turn at a resource, until the transaction ends. Returns its key."""
    named = {"team": team_id, "type": resource_type, "id": resource_id}
    key: int = run_prepared(lock_sql.ENTER, named)[0][0]
    return key


def key_named(team_id: UUID, resource_type: str, resource_id: str) -> int:
    """The key of a resource, without waiting for a turn."""
    named = {"team": team_id, "type": resource_type, "id": resource_id}
    key: int = run_prepared(f"SELECT {lock_sql.KEY}", named)[0][0]
    return key


def enter_known(keys: Iterable[int]) -> list[int]:
    """The same for several keys, in their order, as everybody takes them."""
    ordered = sorted(set(keys))
    if ordered:
        run_prepared(lock_sql.ENTER_KNOWN, {"keys": ordered})
    return ordered


def key_of(lock: ResourceLock) -> int:
    key: int = lock.key_range.lower
    return key


def hold_off(mode: str) -> Q:
    """Which open locks keep one of this mode waiting."""
    return Q() if mode == EXCLUSIVE else Q(mode=EXCLUSIVE)


def give(place: Place, *, contended: bool) -> ResourceLock | None:
    """The lock, if the exclusion constraint lets it be; `contended` where others still wait."""
    lock_id = uuid7()
    arguments = {
        "lock": lock_id,
        "team": place.team_id,
        "type": place.resource_type,
        "id": place.resource_id,
        "key": place.key,
        "mode": place.mode,
        "holder": place.holder_id,
        "task": place.task_id,
        "instance": place.instance_id,
        "seconds": place.lease_seconds,
        "metadata": Jsonb(place.metadata),
        "contended": contended,
    }
    if not run_prepared(lock_sql.GIVE, arguments):
        return None
    return ResourceLock.objects.get(pk=lock_id)


def hurry(place: Place, priority: int) -> bool:
    """Whether a place this requester has already moved ahead; asked less urgently it never falls
    back. Whoever settles the resource afterwards grants the line.
    """
    mine = LockRequest.objects.in_line(place.key).filter(
        requester_id=place.holder_id, task_id=place.task_id, mode=place.mode
    )
    return bool(mine.filter(priority__gt=priority).update(priority=priority))


def settle(key: int) -> list[ResourceLock]:
    """End what the clock has ended on a resource, then grant its line. Returns what was granted."""
    for lock in (
        ResourceLock.objects.on_key(key)
        .filter(expires_at__lte=Now())
        .select_for_update()
        .order_by("id")
    ):
        _expire(lock)
    for request in LockRequest.objects.in_line(key).filter(wait_until__lte=Now()):
        request.time_out()
        _end_request(request, kind=events.LOCK_TIMED_OUT, reason="waited until its end")
    return _grant(key)


def _grant(key: int) -> list[ResourceLock]:
    """The head of the line; with a shared head also the shared ones right behind it."""
    granted: list[ResourceLock] = []
    for request in _heads(key):
        others = ResourceLock.objects.on_key(key).filter(hold_off(request.mode))
        if others.exists():
            break
        lock = _give_to(request)
        if lock is None:
            break  # taken at this moment by somebody who asked the constraint alone
        granted.append(lock)
    return granted


def _heads(key: int) -> list[LockRequest]:
    line = LockRequest.objects.in_line(key)
    head = line.first()
    if head is None or head.mode == EXCLUSIVE:
        return [head] if head else []
    barrier = line.filter(mode=EXCLUSIVE).first()
    if barrier is None:
        return list(line)
    ahead = Q(priority__lt=barrier.priority) | Q(
        priority=barrier.priority, number__lt=barrier.number
    )
    return list(line.filter(ahead))


def _give_to(request: LockRequest) -> ResourceLock | None:
    place = Place(
        team_id=request.team_id,
        resource_type=request.resource_type,
        resource_id=request.resource_id,
        key=request.key,
        mode=request.mode,
        holder_id=request.requester_id,
        task_id=request.task_id,
        instance_id=request.instance_id,
        lease_seconds=request.lease_seconds,
        metadata=request.metadata,
    )
    behind = LockRequest.objects.in_line(request.key).exclude(pk=request.pk)
    lock = give(place, contended=behind.exists())
    if lock is None:
        return None
    request.grant()
    request.lock, request.ended_at = lock, lock.acquired_at
    request.save(update_fields=["state", "lock", "ended_at", "updated_at"])
    waited = (lock.acquired_at - request.queued_at).total_seconds()
    metrics.LOCK_WAIT_SECONDS.on_commit(waited)
    emit(
        events.LOCK_GRANTED,
        subject=lock,
        priority="high",
        resource_type=lock.resource_type,
        resource_id=lock.resource_id,
        mode=lock.mode,
        fence=lock.fence,
        request_id=str(request.pk),
        holder=str(request.requester_id),
        waited_seconds=round(waited, 3),
    )
    return lock


def _expire(lock: ResourceLock) -> None:
    lock.expire()
    _close(lock, "lease expired")
    emit(
        events.LOCK_EXPIRED,
        subject=lock,
        resource_type=lock.resource_type,
        resource_id=lock.resource_id,
        holder=str(lock.holder_id),
        fence=lock.fence,
    )


def end_lock(lock: ResourceLock, *, reason: str, actor: Actor | None = None) -> None:
    """Give a held lock back; whoever settles its resource afterwards grants the line."""
    lock.release()
    _close(lock, reason)
    emit(
        events.LOCK_RELEASED,
        subject=lock,
        actor=actor,
        resource_type=lock.resource_type,
        resource_id=lock.resource_id,
        reason=reason,
    )


def _close(lock: ResourceLock, reason: str) -> None:
    lock.released_at = database_now()
    lock.release_reason = reason[:500]
    lock.save(update_fields=["state", "released_at", "release_reason", "updated_at"])


def end_waiting(request: LockRequest, *, reason: str, actor: Actor | None = None) -> None:
    """Leave the line; whoever settles its resource afterwards lets those behind move up."""
    request.cancel()
    _end_request(request, kind=events.LOCK_CANCELLED, reason=reason, actor=actor)


def _end_request(
    request: LockRequest, *, kind: str, reason: str, actor: Actor | None = None
) -> None:
    request.ended_at, request.reason = database_now(), reason[:500]
    request.save(update_fields=["state", "ended_at", "reason", "updated_at"])
    emit(
        kind,
        subject=request,
        actor=actor,
        reason=reason,
        resource_type=request.resource_type,
        resource_id=request.resource_id,
    )


def place_of(*, request: LockRequest) -> tuple[int, int]:
    """(its position, from 1, and how many wait); position 0 where it waits no longer."""
    line = LockRequest.objects.in_line(request.key).filter(wait_until__gt=Now())
    ahead = Q(priority__lt=request.priority) | Q(
        priority=request.priority, number__lt=request.number
    )
    if request.state != LockRequest.State.WAITING:
        return 0, line.count()
    return line.filter(ahead).count() + 1, line.count()


_DUE = """
SELECT DISTINCT lower(key_range) FROM guardian_resourcelock
 WHERE released_at IS NULL AND expires_at <= clock_timestamp()
UNION
SELECT key FROM guardian_lockrequest
 WHERE state = 'waiting' AND wait_until <= clock_timestamp()
 LIMIT %(limit)s
"""


def sweep_locks(*, limit: int = 1000) -> int:
    """Settle every resource, of all teams, where a lease or a wait ran out by the database clock.

    One short transaction for each. Returns how many resources were settled.
    """
    keys = [row[0] for row in run_prepared(_DUE, {"limit": limit})]
    for key in keys:
        with transaction.atomic():
            enter_known([key])
            settle(key)
    return len(keys)


def is_alone() -> bool:
    """Whether no transaction is open: then one statement is its own, durable or not."""
    return not connection.in_atomic_block
