"""What a resource, a line and all lines of a team look like now, by the database clock."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from guardian.authority import Actor
from guardian.models import LockRequest, ResourceLock
from guardian.services.lock_leases import holders_of
from guardian.services.lock_queue import database_now, enter_known, key_named, settle
from guardian.services.lock_waits import Party, Wait, names_of, waits

MOST_CONFLICTS = 500


def lock_status(*, actor: Actor, resource_type: str, resource_id: str) -> dict[str, Any]:
    """{state locked or available, mode, holders, expires_at, queue_length} of a resource.

    `expires_at` is when the first of its leases ends.
    """
    key = key_named(actor.team_id, resource_type, resource_id)
    holding = holders_of(key)
    line = LockRequest.objects.in_line(key).filter(wait_until__gt=Now())
    return {
        "resource_type": resource_type,
        "resource_id": resource_id,
        "state": "locked" if holding else "available",
        "mode": holding[0]["mode"] if holding else None,
        "holders": holding,
        "expires_at": min(lock["expires_at"] for lock in holding) if holding else None,
        "queue_length": line.count(),
    }


def refresh_request(*, request: LockRequest) -> LockRequest:
    """The request as it is now: where the clock ended what it waits for, its line moves up first.

    Else whoever only asks would wait for the next sweep.
    """
    if request.state != LockRequest.State.WAITING:
        return request
    with transaction.atomic():
        due = ResourceLock.objects.on_key(request.key).filter(expires_at__lte=Now())
        over = LockRequest.objects.in_line(request.key).filter(wait_until__lte=Now())
        if due.exists() or over.exists():
            enter_known([request.key])
            settle(request.key)
    return LockRequest.objects.select_related("lock", "requester").get(pk=request.pk)


def lock_conflicts(*, actor: Actor) -> list[tuple[LockRequest, list[dict[str, Any]], float]]:
    """(request, those it waits for, seconds it waited) of a team, who waits longest first."""
    by_request: dict[UUID, list[Wait]] = {}
    for wait in waits(team_id=actor.team_id):
        by_request.setdefault(wait.request.pk, []).append(wait)
    names = names_of(w.blocker for found in by_request.values() for w in found)
    now = database_now()
    longest = sorted(by_request.values(), key=lambda found: found[0].request.queued_at)
    return [
        (
            found[0].request,
            [_blocker(wait, names) for wait in found],
            round((now - found[0].request.queued_at).total_seconds(), 3),
        )
        for found in longest[:MOST_CONFLICTS]
    ]


def _blocker(wait: Wait, names: dict[UUID, str]) -> dict[str, Any]:
    user_id, task_id = wait.blocker
    return {
        "id": str(user_id),
        "name": names[user_id],
        "task_id": str(task_id) if task_id else None,
        "holds": wait.holds,
    }


def lock_graph(*, actor: Actor) -> dict[str, Any]:
    """Who waits for whom in a team: {nodes, edges, cycles}; a node is a user at one task or none.

    Circles are refused when somebody asks, so `cycles` is empty unless rows were changed by hand.
    """
    found = waits(team_id=actor.team_id)
    parties = sorted({p for wait in found for p in (wait.waiter, wait.blocker)}, key=_node)
    names = names_of(parties)
    nodes = [
        {
            "id": _node(party),
            "holder": {"id": str(party[0]), "name": names[party[0]]},
            "task_id": str(party[1]) if party[1] else None,
        }
        for party in parties
    ]
    edges = [
        {
            "from": _node(wait.waiter),
            "to": _node(wait.blocker),
            "resource_type": wait.request.resource_type,
            "resource_id": wait.request.resource_id,
            "mode": wait.request.mode,
            "holds": wait.holds,
        }
        for wait in found
    ]
    return {"nodes": nodes, "edges": edges, "cycles": _circles(found)}


def _node(party: Party) -> str:
    return str(party[0]) if party[1] is None else f"{party[0]}/{party[1]}"


def _circles(found: Iterable[Wait]) -> list[list[str]]:
    """Groups of parties of which each waits, over some steps, for every other."""
    onward: dict[str, set[str]] = {}
    for wait in found:
        onward.setdefault(_node(wait.waiter), set()).add(_node(wait.blocker))
        onward.setdefault(_node(wait.blocker), set())
    reach = {node: _reached(onward, node) for node in onward}
    circles = {
        tuple(sorted(other for other in reach[node] if node in reach[other]))
        for node in onward
        if node in reach[node]
    }
    return [list(circle) for circle in sorted(circles)]


def _reached(onward: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    edge = list(onward[start])
    while edge:
        node = edge.pop()
        if node not in seen:
            seen.add(node)
            edge.extend(onward[node])
    return seen
