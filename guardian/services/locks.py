"""Who gets a lock on a resource. The exclusion constraint decides; these verbs only ask."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now
from psycopg.types.json import Jsonb

from guardian import events, holders, lock_sql
from guardian.authority import Actor
from guardian.errors import AlreadyExists, LockDeadlock, LockHeld
from guardian.models import LockRequest, ResourceLock, uuid7
from guardian.outbox import PRIORITIES, emit, teller
from guardian.prepared import run_prepared
from guardian.redaction import redact_text
from guardian.services.lock_leases import Lease, extend, told_holders
from guardian.services.lock_queue import (
    Place,
    database_time_in,
    enter,
    enter_known,
    give,
    hold_off,
    hurry,
    is_alone,
    key_named,
    place_of,
    settle,
)
from guardian.services.lock_waits import circle_of, one_at_a_time, refuse_circle

TRIES = 20  # each is lost only to somebody who took or freed the lock in that very moment


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for, and how long they would wait for it."""

    place: Place
    priority: int
    wait: bool
    wait_seconds: int


def acquire_lock(
    *,
    actor: Actor,
    resource_type: str,
    resource_id: str,
    mode: str = "exclusive",
    lease_seconds: int = 3600,
    priority: str = "normal",
    wait: bool = True,
    wait_seconds: int = 3600,
    task_id: UUID | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Lease | LockRequest:
    """A lease on the resource, or a place in its line.

    The same holder's lock for the same task in the same mode is renewed. For a task: it must be
    the actor's, and with it the lock ends. Raises LockHeld (without `wait`), LockDeadlock,
    AlreadyExists (waiting in another mode), and for a task NotFound, LeaseLost.
    """
    place = Place(
        team_id=actor.team_id,
        resource_type=resource_type,
        resource_id=resource_id,
        key=0,
        mode=mode,
        holder_id=actor.id,
        task_id=task_id,
        instance_id=None,
        lease_seconds=lease_seconds,
        metadata=dict(metadata or {}),
    )
    if is_alone() and mode == "exclusive" and task_id is None:
        lease = _take_at_once(actor, place)
        if lease is not None:
            return lease
    wish = Wish(place, PRIORITIES[priority], wait, wait_seconds)
    return _acquire(actor, wish)


def _take_at_once(actor: Actor, place: Place) -> Lease | None:
    """One statement for the usual case, a free resource that nobody waits for."""
    arguments = {
        "lock": uuid7(),
        "team": place.team_id,
        "type": place.resource_type,
        "id": place.resource_id,
        "holder": place.holder_id,
        "seconds": place.lease_seconds,
        "metadata": Jsonb(place.metadata),
        "event": uuid7(),
        "told_type": place.resource_type,
        "told_id": redact_text(place.resource_id),
    }
    rows = run_prepared(lock_sql.take_statement(), {**arguments, **teller(actor)})
    return Lease(*rows[0]) if rows else None


@transaction.atomic
def _acquire(actor: Actor, wish: Wish) -> Lease | LockRequest:
    place = replace(wish.place, instance_id=holders.instance_of(actor))
    if place.task_id is not None:
        holders.check_task(actor, place.task_id)
    key = enter(
        team_id=place.team_id,
        resource_type=place.resource_type,
        resource_id=place.resource_id,
    )
    wish = replace(wish, place=replace(place, key=key))
    moved_ahead = hurry(wish.place, wish.priority)
    settle(key)
    if moved_ahead:  # those it passes wait for it now
        refuse_circle(team_id=place.team_id, party=(place.holder_id, place.task_id))
    for _ in range(TRIES):
        found = _renewed(wish.place) or _taken(actor, wish)
        if found is not None:
            return found
        if not wish.wait:
            raise lock_held(wish.place)
        request = _in_line(wish) or _queued(actor, wish)
        if request is not None:
            return request
    raise lock_held(wish.place)


def _renewed(place: Place) -> Lease | None:
    mine = (
        ResourceLock.objects.on_key(place.key)
        .filter(holder_id=place.holder_id, task_id=place.task_id, mode=place.mode)
        .filter(expires_at__gt=Now())
        .first()
    )
    if mine is None:
        return None
    lease = extend(
        lock_id=mine.pk,
        team_id=mine.team_id,
        holder_id=mine.holder_id,
        fence=mine.fence,
        seconds=place.lease_seconds,
    )
    return replace(lease, renewed=True) if lease else None


def _taken(actor: Actor, wish: Wish) -> Lease | None:
    """The lock, where nobody of the same or a higher priority waits and no holder is in the way."""
    place = wish.place
    line = LockRequest.objects.in_line(place.key)
    if line.filter(priority__lte=wish.priority).exists():
        return None
    if ResourceLock.objects.on_key(place.key).filter(hold_off(place.mode)).exists():
        return None
    lock = give(place, contended=line.exists())
    if lock is None:
        return None
    if lock.contended:  # those of a lower priority wait for this lock now
        refuse_circle(team_id=place.team_id, party=(place.holder_id, place.task_id))
    emit(
        events.LOCK_ACQUIRED,
        subject=lock,
        actor=actor,
        resource_type=lock.resource_type,
        resource_id=lock.resource_id,
        mode=lock.mode,
        fence=lock.fence,
    )
    return Lease(lock.pk, lock.fence, lock.expires_at)


def _in_line(wish: Wish) -> LockRequest | None:
    """The place this requester has already; it waits on from now."""
    place = wish.place
    mine = (
        LockRequest.objects.in_line(place.key)
        .filter(requester_id=place.holder_id, task_id=place.task_id)
        .first()
    )
    if mine is None:
        return None
    if mine.mode != place.mode:
        raise AlreadyExists(
            f"You wait for this resource already, for a lock that is {mine.mode}.",
            remedy=f"Cancel that request first: DELETE /api/v1/locks/requests/{mine.pk}.",
            request=str(mine.pk),
        )
    mine.wait_until = database_time_in(wish.wait_seconds)
    mine.save(update_fields=["wait_until", "updated_at"])
    return mine


def _queued(actor: Actor, wish: Wish) -> LockRequest | None:
    """A new place in the line; None where what it would wait for ended at this moment."""
    place = wish.place
    # Who gives a lock back without looking into the line waits here, and then looks.
    holding = ResourceLock.objects.on_key(place.key).select_for_update(no_key=True).order_by("id")
    held = [lock.pk for lock in holding]
    line = LockRequest.objects.in_line(place.key)
    blocked = ResourceLock.objects.filter(pk__in=held).filter(hold_off(place.mode)).exists()
    if not blocked and not line.filter(priority__lte=wish.priority).exists():
        return None
    ResourceLock.objects.filter(pk__in=held).update(contended=True)
    one_at_a_time(team_id=place.team_id)
    number, now = run_prepared("SELECT guardian_next_fence(), clock_timestamp()", {})[0]
    request = LockRequest(
        team_id=place.team_id,
        resource_type=place.resource_type,
        resource_id=place.resource_id,
        key=place.key,
        mode=place.mode,
        requester_id=place.holder_id,
        task_id=place.task_id,
        instance_id=place.instance_id,
        priority=wish.priority,
        number=number,
        lease_seconds=place.lease_seconds,
        queued_at=now,
        wait_until=database_time_in(wish.wait_seconds),
        metadata=place.metadata,
    )
    request.save(force_insert=True)
    if circle := circle_of(request):
        raise LockDeadlock(cycle=circle)
    position, length = place_of(request=request)
    emit(
        events.LOCK_QUEUED,
        subject=request,
        actor=actor,
        resource_type=place.resource_type,
        resource_id=place.resource_id,
        mode=place.mode,
        line_priority=wish.priority,
        position=position,
        queue_length=length,
    )
    return request


def lock_held(place: Place) -> LockHeld:
    """The refusal for a resource that others hold or wait for, naming the holders."""
    return LockHeld(
        f"{place.resource_type} {place.resource_id} is locked.",
        resource_type=place.resource_type,
        resource_id=place.resource_id,
        holders=told_holders(place.key),
        queue_length=LockRequest.objects.in_line(place.key).count(),
    )


@transaction.atomic
def acquire_locks(
    *,
    actor: Actor,
    task_id: UUID | None,
    wanted: Iterable[Mapping[str, Any]],
    lease_seconds: int = 3600,
) -> list[ResourceLock]:
    """All of the wanted locks {resource_type, resource_id, mode} or none, without waiting.

    For whoever has just claimed the task in this transaction. Raises LockHeld with the holders.
    """
    instance_id = holders.instance_of(actor)
    places = [
        Place(
            team_id=actor.team_id,
            resource_type=str(want["resource_type"]),
            resource_id=str(want["resource_id"]),
            key=0,
            mode=str(want.get("mode", "exclusive")),
            holder_id=actor.id,
            task_id=task_id,
            instance_id=instance_id,
            lease_seconds=lease_seconds,
            metadata={},
        )
        for want in wanted
    ]
    keyed = [
        replace(place, key=key_named(place.team_id, place.resource_type, place.resource_id))
        for place in places
    ]
    for key in enter_known(place.key for place in keyed):
        settle(key)
    return [_all_or_none(actor, place) for place in keyed]


def _all_or_none(actor: Actor, place: Place) -> ResourceLock:
    wish = Wish(place, PRIORITIES["normal"], wait=False, wait_seconds=0)
    lease = _renewed(place) or _taken(actor, wish)
    if lease is None:
        raise lock_held(place)
    return ResourceLock.objects.get(pk=lease.lock_id)
