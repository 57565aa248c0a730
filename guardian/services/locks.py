"""Locks on named resources. The exclusion constraint decides; these verbs only ask."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.backends.postgresql.psycopg_any import NumericRange
from django.db.models.functions import Now

from guardian import events
from guardian.authority import GUARDIAN, Actor, require_level, require_scope
from guardian.errors import IllegalTransition, LockHeld, NotFound
from guardian.models import ResourceLock
from guardian.outbox import emit

_ACQUIRE = """
WITH key AS (
    SELECT hashtextextended(%(team)s || '|' || %(type)s || '|' || %(id)s, 0) >> 1 AS h,
           nextval('guardian_fence_seq') AS fence
)
SELECT h, fence, clock_timestamp() + make_interval(secs => %(seconds)s), clock_timestamp() FROM key
"""


@transaction.atomic
def acquire_locks(
    *,
    actor: Actor,
    task_id: UUID | None,
    wanted: Iterable[Mapping[str, Any]],
    lease_seconds: int = 3600,
) -> list[ResourceLock]:
    """All of the wanted locks {resource_type, resource_id, mode} or none, in sorted order.

    Raises LockHeld with the holders.
    """
    rows = sorted(wanted, key=lambda w: (str(w["resource_type"]), str(w["resource_id"])))
    return [
        _acquire(actor=actor, task_id=task_id, want=want, lease_seconds=lease_seconds)
        for want in rows
    ]


def _acquire(
    *, actor: Actor, task_id: UUID | None, want: Mapping[str, Any], lease_seconds: int
) -> ResourceLock:
    resource_type, resource_id = str(want["resource_type"]), str(want["resource_id"])
    mode = str(want.get("mode", "exclusive"))
    with connection.cursor() as cursor:
        cursor.execute(
            _ACQUIRE,
            {
                "team": str(actor.team_id),
                "type": resource_type,
                "id": resource_id,
                "seconds": lease_seconds,
            },
        )
        row = cursor.fetchone()
        assert row is not None  # noqa: S101  the statement always returns one row
        key, fence, expires_at, now = row
        # Verbs on one resource queue here, so an expired lease is freed before it is asked for.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [key])
    _expire(ResourceLock.objects.held().filter(key_range__contains=key, expires_at__lte=now))
    slot = NumericRange(None, None) if mode == "exclusive" else NumericRange(fence, fence, "[]")
    lock = ResourceLock(
        team=actor.team,
        resource_type=resource_type,
        resource_id=resource_id,
        key_range=NumericRange(key, key, "[]"),
        slot=slot,
        mode=mode,
        holder=actor.user,
        task_id=task_id,
        fence=fence,
        lease_seconds=lease_seconds,
        expires_at=expires_at,
        acquired_at=now,
    )
    try:
        with transaction.atomic():
            lock.save(force_insert=True)
    except IntegrityError as error:
        if "lock_is_exclusive_or_shared" not in str(error):
            raise
        raise LockHeld(
            f"{resource_type} {resource_id} is locked.",
            resource_type=resource_type,
            resource_id=resource_id,
            holders=_holders(key),
        ) from error
    emit(
        events.LOCK_ACQUIRED,
        subject=lock,
        actor=actor,
        resource_type=resource_type,
        resource_id=resource_id,
        mode=mode,
        fence=fence,
    )
    return lock


def _holders(key: int) -> list[dict[str, str]]:
    held = ResourceLock.objects.held().filter(key_range__contains=key).select_related("holder")
    return [{"id": str(lock.holder_id), "name": lock.holder.name} for lock in held]


@transaction.atomic
def release_locks_of_task(*, task_id: UUID, reason: str) -> int:
    """Free every lock held for a task, in the transaction that ends its work."""
    held = ResourceLock.objects.select_for_update().held().filter(task_id=task_id).order_by("id")
    count = 0
    for lock in held:
        lock.release()
        lock.released_at = _now()
        lock.release_reason = reason
        lock.save(update_fields=["state", "released_at", "release_reason", "updated_at"])
        emit(
            events.LOCK_RELEASED,
            subject=lock,
            resource_type=lock.resource_type,
            resource_id=lock.resource_id,
            reason=reason,
        )
        count += 1
    return count


@transaction.atomic
def break_lock(*, actor: Actor, lock_id: UUID, reason: str) -> ResourceLock:
    """End a lock, one's own or with `locks:break` and level 4 another's; its fence is then stale.

    Raises NotFound, ScopeMissing, AuthorityTooLow, IllegalTransition.
    """
    lock = (
        ResourceLock.objects.select_for_update().filter(pk=lock_id, team_id=actor.team_id).first()
    )
    if lock is None:
        raise NotFound("There is no such lock.")
    if lock.holder_id != actor.id:
        require_scope(actor, "locks:break")
        require_level(actor, GUARDIAN)
    if lock.state != ResourceLock.State.HELD:
        raise IllegalTransition(f"This lock is {lock.state} already.", allowed=[])
    lock.release()
    lock.released_at = _now()
    lock.release_reason = reason[:200]
    lock.save(update_fields=["state", "released_at", "release_reason", "updated_at"])
    emit(
        events.LOCK_RELEASED,
        subject=lock,
        actor=actor,
        resource_type=lock.resource_type,
        resource_id=lock.resource_id,
        reason=reason,
    )
    return lock


@transaction.atomic
def expire_locks() -> int:
    """End the leases that ran out, by the database clock."""
    return _expire(ResourceLock.objects.held().filter(expires_at__lte=Now()))


def _expire(queryset: Any) -> int:
    count = 0
    for lock in queryset.select_for_update(skip_locked=True):
        lock.expire()
        lock.released_at = _now()
        lock.release_reason = "lease expired"
        lock.save(update_fields=["state", "released_at", "release_reason", "updated_at"])
        emit(
            events.LOCK_EXPIRED,
            subject=lock,
            resource_type=lock.resource_type,
            resource_id=lock.resource_id,
        )
        count += 1
    return count


def _now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        row = cursor.fetchone()
    assert row is not None  # noqa: S101  as above
    moment: datetime = row[0]
    return moment
