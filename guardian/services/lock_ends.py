"""Ends of locks and waits that their holder does not ask for one by one.

A task, an instance or an operator ends many at once: first the turns at all their resources, in
the order everybody takes them, then a fresh look, then the ends, then each line moves up.
"""

from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from guardian.authority import GUARDIAN, Actor, require_level, require_scope
from guardian.errors import IllegalTransition, Invalid, NotFound
from guardian.models import LockRequest, ResourceLock, User
from guardian.services.lock_queue import end_lock, end_waiting, enter_known, key_of, settle


@dataclass(frozen=True, slots=True)
class Freed:
    """How many locks were given back, how many places in lines given up, how many granted."""

    released: int
    cancelled: int
    granted: int


def release_locks_of_task(*, task_id: UUID, reason: str) -> int:
    """Free every lock held for a task, in the transaction that ends its work, and grant the lines.

    Its places in lines are given up. The task's row is locked. Returns how many locks were freed.
    """
    return _free(Q(task_id=task_id), Q(task_id=task_id), reason=reason).released


def release_locks_of_instance(*, instance_id: UUID, reason: str, with_tasks: bool = True) -> int:
    """Free every lock of an instance of an agent, in the transaction that ends or loses it.

    Without `with_tasks` those for tasks stay: they end with their tasks. The instance's row is
    locked. Returns how many locks were freed.
    """
    whose = Q(instance_id=instance_id)
    if not with_tasks:
        whose &= Q(task_id=None)
    return _free(whose, whose, reason=reason).released


def release_locks_of_user(*, user_id: UUID, reason: str, team_id: UUID | None = None) -> int:
    """Free the locks of a user who goes, from one team or from all, and give up their places.

    Those for tasks end with their tasks. Returns how many locks were freed.
    """
    here = Q(task_id=None) if team_id is None else Q(task_id=None, team_id=team_id)
    return _free(
        here & Q(holder_id=user_id), here & Q(requester_id=user_id), reason=reason
    ).released


@transaction.atomic
def release_all(
    *,
    actor: Actor,
    reason: str,
    task_id: UUID | None = None,
    instance_id: UUID | None = None,
    holder_id: UUID | None = None,
) -> Freed:
    """Free all locks of one task, instance or holder of the actor's team, and give up their places.

    Those of others need `locks:break` and level 4: one of them, and nothing is freed without.
    Raises Invalid, NotFound, ScopeMissing, AuthorityTooLow.
    """
    given = [name for name in (task_id, instance_id, holder_id) if name is not None]
    if len(given) != 1:
        raise Invalid("Name one of task_id, instance_id and holder_id.", path="task_id")
    if holder_id is not None and not _is_member(actor, holder_id):
        raise NotFound("There is no such member of this team.")
    locks, requests = Q(team_id=actor.team_id), Q(team_id=actor.team_id)
    if task_id is not None:
        locks, requests = locks & Q(task_id=task_id), requests & Q(task_id=task_id)
    elif instance_id is not None:
        locks &= Q(instance_id=instance_id)
        requests &= Q(instance_id=instance_id)
    else:
        locks, requests = locks & Q(holder_id=holder_id), requests & Q(requester_id=holder_id)
    return _free(locks, requests, reason=reason, actor=actor)


def _is_member(actor: Actor, user_id: UUID) -> bool:
    return User.objects.filter(pk=user_id, memberships__team_id=actor.team_id).exists()


@transaction.atomic
def _free(locks: Q, requests: Q, *, reason: str, actor: Actor | None = None) -> Freed:
    held = ResourceLock.objects.held().filter(locks)
    waiting = LockRequest.objects.waiting().filter(requests)
    keys = {key_of(lock) for lock in held} | set(waiting.values_list("key", flat=True))
    ordered = enter_known(keys)
    # Anew: some were granted or given back while we waited for our turns.
    found = held.select_for_update(no_key=True).order_by("id")
    mine = [lock for lock in found if key_of(lock) in keys]
    places = list(waiting.filter(key__in=ordered).order_by("id"))
    if actor is not None:
        _require_right(actor, mine, places)
    for request in places:
        end_waiting(request, reason=reason, actor=actor)
    for lock in mine:
        end_lock(lock, reason=reason, actor=actor)
    granted = sum(len(settle(key)) for key in ordered)
    return Freed(len(mine), len(places), granted)


def _require_right(actor: Actor, locks: list[ResourceLock], requests: list[LockRequest]) -> None:
    owners = {lock.holder_id for lock in locks} | {r.requester_id for r in requests}
    if owners - {actor.id}:
        require_scope(actor, "locks:break")
        require_level(actor, GUARDIAN)


@transaction.atomic
def break_lock(*, actor: Actor, lock_id: UUID, reason: str) -> ResourceLock:
    """End a lock, one's own or with `locks:break` and level 4 another's; its fence is then stale.

    Who waits for it has it in the same transaction.
    Raises NotFound, ScopeMissing, AuthorityTooLow, IllegalTransition.
    """
    found = ResourceLock.objects.filter(pk=lock_id, team_id=actor.team_id).first()
    if found is None:
        raise NotFound("There is no such lock.")
    _require_right(actor, [found], [])
    key = key_of(found)
    enter_known([key])
    lock = ResourceLock.objects.select_for_update(no_key=True).get(pk=lock_id)
    if lock.state != ResourceLock.State.HELD:
        raise IllegalTransition(f"This lock is {lock.state} already.", allowed=[])
    end_lock(lock, reason=reason, actor=actor)
    settle(key)
    return lock


@transaction.atomic
def cancel_request(*, actor: Actor, request_id: UUID, reason: str = "cancelled") -> LockRequest:
    """Leave the line, one's own place or with `locks:break` and level 4 another's.

    Raises NotFound, ScopeMissing, AuthorityTooLow, IllegalTransition.
    """
    found = LockRequest.objects.filter(pk=request_id, team_id=actor.team_id).first()
    if found is None:
        raise NotFound("There is no such request.")
    _require_right(actor, [], [found])
    enter_known([found.key])
    request = LockRequest.objects.get(pk=request_id)
    if request.state != LockRequest.State.WAITING:
        raise IllegalTransition(f"This request is {request.state} already.", allowed=[])
    end_waiting(request, reason=reason, actor=actor)
    settle(request.key)
    return request
