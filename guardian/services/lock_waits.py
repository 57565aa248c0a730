"""Who waits for whom: the graph behind a refused deadlock, and what operators see of it.

A party is a user at one task, or at none: an agent's tasks go on side by side, so one of them may
wait for another. A party waits for those who hold what it wants in a mode that excludes its own,
and for those before it in the line whose mode does.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now

from guardian.errors import LockDeadlock
from guardian.models import LockRequest, ResourceLock, User
from guardian.prepared import run_prepared

Party = tuple[UUID, UUID | None]


@dataclass(frozen=True, slots=True)
class Wait:
    """One party waits for another at a resource, which that one holds or will have first."""

    waiter: Party
    blocker: Party
    request: LockRequest
    holds: bool


def one_at_a_time(*, team_id: UUID) -> None:
    """Two who begin to wait at the same moment would not see each other's place: one goes first.

    Taken last of all, behind the resource itself.
    """
    run_prepared(
        "SELECT pg_advisory_xact_lock(hashtext('lemnos lock waits'), hashtext(%(team)s::text))",
        {"team": str(team_id)},
    )


def waits(*, team_id: UUID) -> list[Wait]:
    """Every wait of a team now, in the order of the lines."""
    line = list(
        LockRequest.objects.for_team(team_id)
        .waiting()
        .filter(wait_until__gt=Now())
        .order_by("key", "priority", "number")
    )
    if not line:
        return []
    held = defaultdict(list)
    open_locks = ResourceLock.objects.for_team(team_id).held().filter(expires_at__gt=Now())
    names = {(request.resource_type, request.resource_id) for request in line}
    for lock in open_locks.filter(_any_of(names)).order_by("acquired_at", "id"):
        held[lock.resource_type, lock.resource_id].append(lock)
    found: list[Wait] = []
    before: list[LockRequest] = []
    for request in line:
        if before and before[0].key != request.key:
            before = []
        holding = held[request.resource_type, request.resource_id]
        found += _waits_of(request, holding, before)
        before.append(request)
    return found


def _any_of(names: Iterable[tuple[str, str]]) -> Q:
    by_type = defaultdict(list)
    for resource_type, resource_id in names:
        by_type[resource_type].append(resource_id)
    wanted = Q()
    for resource_type, ids in by_type.items():
        wanted |= Q(resource_type=resource_type, resource_id__in=ids)
    return wanted


def _waits_of(
    request: LockRequest, holding: Iterable[ResourceLock], before: list[LockRequest]
) -> Iterable[Wait]:
    """Of the line only the nearest who exclude it: those further on are waited for by them."""
    me = (request.requester_id, request.task_id)
    for lock in holding:
        if _exclude(lock.mode, request.mode):
            yield Wait(me, (lock.holder_id, lock.task_id), request, holds=True)
    nearest: str | None = None
    for other in reversed(before):
        if nearest == "exclusive" or (nearest == "shared" and other.mode == "exclusive"):
            return
        if _exclude(other.mode, request.mode):
            nearest = other.mode
            yield Wait(me, (other.requester_id, other.task_id), request, holds=False)


def _exclude(one: str, other: str) -> bool:
    return "exclusive" in {one, other}


def circle_of(request: LockRequest) -> list[dict[str, Any]]:
    """The circle that this place in the line closes, beginning with its requester; or nothing."""
    if _nobody_can_wait_for(request):
        return []
    party = (request.requester_id, request.task_id)
    return circle_through(team_id=request.team_id, party=party)


def refuse_circle(*, team_id: UUID, party: Party) -> None:
    """That nobody waits in a circle for a party which has just passed others. Raises
    LockDeadlock."""
    one_at_a_time(team_id=team_id)
    if circle := circle_through(team_id=team_id, party=party):
        raise LockDeadlock(cycle=circle)


def circle_through(*, team_id: UUID, party: Party) -> list[dict[str, Any]]:
    """The circle of waits that leads from a party back to itself; or nothing."""
    onward = defaultdict(list)
    for wait in waits(team_id=team_id):
        onward[wait.waiter].append(wait)
    path = _path(onward, party)
    return _told(path) if path else []


def _nobody_can_wait_for(request: LockRequest) -> bool:
    """Most who begin to wait hold nothing and pass nobody, so no circle leads back to them."""
    mine = Q(task_id=request.task_id)
    holds = ResourceLock.objects.for_team(request.team_id).held()
    others = LockRequest.objects.for_team(request.team_id).waiting().exclude(pk=request.pk)
    passes = Q(key=request.key) & (
        Q(priority__gt=request.priority) | Q(priority=request.priority, number__gt=request.number)
    )
    return not (
        holds.filter(mine, holder_id=request.requester_id).exists()
        or others.filter(passes | (mine & Q(requester_id=request.requester_id))).exists()
    )


def _path(onward: dict[Party, list[Wait]], start: Party) -> list[Wait]:
    """The shortest way along the waits from a party back to itself."""
    came: dict[Party, Wait] = {}
    edge = [start]
    while edge:
        following: list[Party] = []
        for party in edge:
            for wait in onward.get(party, ()):
                if wait.blocker == start:
                    return [*_way(came, start, party), wait]
                if wait.blocker not in came:
                    came[wait.blocker] = wait
                    following.append(wait.blocker)
        edge = following
    return []


def _way(came: dict[Party, Wait], start: Party, party: Party) -> list[Wait]:
    way: list[Wait] = []
    while party != start:
        way.append(came[party])
        party = came[party].waiter
    return way[::-1]


def _told(path: list[Wait]) -> list[dict[str, Any]]:
    names = names_of(party for wait in path for party in (wait.waiter, wait.blocker))
    return [
        {
            "holder": {"id": str(wait.waiter[0]), "name": names[wait.waiter[0]]},
            "task_id": str(wait.waiter[1]) if wait.waiter[1] else None,
            "waits_for": {
                "resource_type": wait.request.resource_type,
                "resource_id": wait.request.resource_id,
                "mode": wait.request.mode,
            },
            "of": {"id": str(wait.blocker[0]), "name": names[wait.blocker[0]]},
        }
        for wait in path
    ]


def names_of(parties: Iterable[Party]) -> dict[UUID, str]:
    users = User.objects.filter(pk__in={party[0] for party in parties})
    return {user.pk: user.name for user in users}
