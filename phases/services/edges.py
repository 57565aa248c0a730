"""What tasks wait for, as a graph without circles: its lock, its originals, its circles."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar
from uuid import UUID

from django.db import connection

from guardian.prepared import run_prepared
from phases.models import Task

T = TypeVar("T")

# All edges that can be reached from %(start)s by going to what a task waits for.
_REACHED = """
WITH RECURSIVE reached AS (
    SELECT task_id, depends_on_id FROM phases_taskdependency WHERE task_id = ANY(%(start)s)
    UNION
    SELECT d.task_id, d.depends_on_id FROM phases_taskdependency d
      JOIN reached r ON d.task_id = r.depends_on_id
)
SELECT task_id, depends_on_id FROM reached
"""


def lock_edges(*, team_id: UUID) -> None:
    """One at a time in a team makes edges: two that close a circle together see each other.

    Taken before any row, so that nobody waits for it with a ticket in hand.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtext('phases edges'), hashtext(%s))", [str(team_id)]
        )


def originals(*, team_id: UUID, task_ids: Iterable[UUID]) -> tuple[dict[UUID, UUID], list[UUID]]:
    """(each of these tasks → itself or what it is a copy of, those that the team does not have)."""
    wanted = list(dict.fromkeys(task_ids))
    found = {pk: pk for pk in wanted}
    missing: list[UUID] = []
    asked = set(wanted)
    copies: dict[UUID, UUID | None] = {}
    while asked:
        rows = Task.objects.filter(team_id=team_id, pk__in=asked)
        copies |= dict(rows.values_list("pk", "duplicate_of_id"))
        asked = {pk for pk in copies.values() if pk is not None} - copies.keys()
    for pk in wanted:
        if pk not in copies:
            missing.append(pk)
            del found[pk]
            continue
        original = pk
        while (copy_of := copies[original]) is not None:
            original = copy_of
        found[pk] = original
    return found, missing


def circle(*, task_id: UUID, depends_on: Iterable[UUID]) -> list[UUID]:
    """The circle that would close if the task waited for these: [task, …, task]; else empty."""
    start = list(depends_on)
    if task_id in start:
        return [task_id, task_id]
    edges: dict[UUID, list[UUID]] = {}
    for waits, other in run_prepared(_REACHED, {"start": start}):
        edges.setdefault(waits, []).append(other)
    for first in start:
        if way := _way(edges, first, task_id):
            return [task_id, *way]
    return []


def _way(edges: Mapping[T, Iterable[T]], start: T, goal: T) -> list[T]:
    """The shortest way along the edges, with both ends; empty where there is none."""
    came_from: dict[T, T] = {}
    queue = deque([start])
    while queue:
        here = queue.popleft()
        if here == goal:
            way = [here]
            while way[-1] != start:
                way.append(came_from[way[-1]])
            return way[::-1]
        for following in edges.get(here, ()):
            if following != start and following not in came_from:
                came_from[following] = here
                queue.append(following)
    return []


def circle_of_refs(edges: Mapping[str, Collection[str]]) -> list[str]:
    """A circle among new tasks by their refs: [a, b, a]; empty where there is none."""
    left = {ref: set(others) for ref, others in edges.items()}
    while free := {ref for ref, others in left.items() if not others}:
        left = {ref: others - free for ref, others in left.items() if ref not in free}
    # Each that is left waits for one that is left: whoever goes on comes by one again.
    way: list[str] = []
    here = next(iter(left), None)
    while here is not None and here not in way:
        way.append(here)
        here = next(other for other in edges[here] if other in left)
    return [*way[way.index(here) :], here] if here is not None else []
