"""Leases that are held: kept by renewing them, given back, or found to be lost."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from guardian import lock_sql
from guardian.authority import Actor
from guardian.errors import LeaseLost, NotFound, NotYours
from guardian.models import ResourceLock, uuid7
from guardian.outbox import teller
from guardian.prepared import run_prepared
from guardian.services.lock_queue import end_lock, enter_known, is_alone, key_of, settle


@dataclass(frozen=True, slots=True)
class Lease:
    """What a holder needs to know of a lock."""

    lock_id: UUID
    fence: int
    expires_at: datetime
    renewed: bool = False


def renew_lock(
    *, actor: Actor, lock_id: UUID, fence: int, lease_seconds: int | None = None
) -> Lease:
    """Hold on for another lease, by default as long as the last. Raises LeaseLost, NotFound,
    NotYours."""
    lease = extend(
        lock_id=lock_id,
        team_id=actor.team_id,
        holder_id=actor.id,
        fence=fence,
        seconds=lease_seconds,
    )
    if lease is None:
        raise _lost(actor, lock_id)
    return replace(lease, renewed=True)


def extend(
    *, lock_id: UUID, team_id: UUID, holder_id: UUID, fence: int, seconds: int | None
) -> Lease | None:
    arguments = {
        "lock": lock_id,
        "team": team_id,
        "holder": holder_id,
        "fence": fence,
        "seconds": seconds,
    }
    rows = run_prepared(lock_sql.RENEW if is_alone() else lock_sql.RENEW_WITH_ALL, arguments)
    return Lease(*rows[0]) if rows else None


def renew_locks_of_task(*, task_id: UUID, seconds: int) -> None:
    """A heartbeat of a task holds its locks for another lease, too; what is lost stays lost."""
    run_prepared(lock_sql.RENEW_OF_TASK, {"task": task_id, "seconds": seconds})


def release_lock(*, actor: Actor, lock_id: UUID, fence: int) -> list[ResourceLock]:
    """Give a lock back; who waited for it has it in the same transaction. Returns what was granted.

    Raises LeaseLost, NotFound, NotYours.
    """
    if is_alone():
        arguments = {
            "lock": lock_id,
            "team": actor.team_id,
            "holder": actor.id,
            "fence": fence,
            "event": uuid7(),
        }
        if run_prepared(lock_sql.RELEASE, {**arguments, **teller(actor)}):
            return []
    return _release(actor, lock_id, fence)


@transaction.atomic
def _release(actor: Actor, lock_id: UUID, fence: int) -> list[ResourceLock]:
    lock = ResourceLock.objects.filter(pk=lock_id, team_id=actor.team_id).first()
    if lock is None or lock.holder_id != actor.id:
        raise _lost(actor, lock_id)
    key = key_of(lock)
    enter_known([key])
    held = (
        ResourceLock.objects.select_for_update(no_key=True)
        .held()
        .filter(pk=lock_id, fence=fence, expires_at__gt=Now())
        .first()
    )
    if held is None:
        raise _lost(actor, lock_id)
    end_lock(held, reason="released", actor=actor)
    return settle(key)


def _lost(actor: Actor, lock_id: UUID) -> NotFound | NotYours | LeaseLost:
    lock = ResourceLock.objects.filter(pk=lock_id, team_id=actor.team_id).first()
    if lock is None:
        return NotFound("There is no such lock.")
    if lock.holder_id != actor.id:
        return NotYours(
            "Only its holder renews or releases a lock.",
            remedy=f"Ask the holder, or break it: POST /api/v1/locks/{lock_id}/break.",
        )
    return lease_lost(key_of(lock), detail=_why_lost(lock))


def _why_lost(lock: ResourceLock) -> str:
    if lock.state == ResourceLock.State.RELEASED:
        return f"This lock was given back: {lock.release_reason}."
    if lock.state == ResourceLock.State.EXPIRED or lock.expires_at <= lock.updated_at:
        return "The lease of this lock ran out."
    # Only its holder comes this far.
    return f"You hold this lock at fence {lock.fence}; this call brought another."


def lease_lost(key: int, *, detail: str | None = None) -> LeaseLost:
    """The refusal for an old fence, naming who holds the resource now."""
    held = told_holders(key)
    return LeaseLost(detail, holder=held[0] if held else None)


def holders_of(key: int) -> list[dict[str, Any]]:
    held = ResourceLock.objects.on_key(key).filter(expires_at__gt=Now()).select_related("holder")
    return [
        {
            "id": str(lock.holder_id),
            "name": lock.holder.name,
            "mode": lock.mode,
            "task_id": str(lock.task_id) if lock.task_id else None,
            "expires_at": lock.expires_at,
        }
        for lock in held.order_by("acquired_at", "id")
    ]


def told_holders(key: int) -> list[dict[str, Any]]:
    return [{**held, "expires_at": held["expires_at"].isoformat()} for held in holders_of(key)]
