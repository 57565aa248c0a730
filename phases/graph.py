"""Tasks as a graph: what waits for what, and what came out of what somebody found."""

from collections import deque
from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from phases.models import Task, TaskDependency, Ticket, Workflow
from phases.models.ticket import OPEN

MOST = 2_000
LABEL_CHARACTERS = 120
WAITS, DONE = "waits for", "waited for"


def ticket_graph(ticket: Ticket) -> dict[str, Any]:
    """{nodes, edges, truncated}: a ticket's tasks and those of others that these wait for."""
    return _graph(Task.objects.filter(ticket=ticket), beyond=True)


def board_graph(flow: Workflow) -> dict[str, Any]:
    """{nodes, edges, truncated}: the tasks of all open tickets of a workflow."""
    rows = Task.objects.filter(team_id=flow.team_id, ticket__workflow=flow, ticket__status__in=OPEN)
    return _graph(rows, beyond=False)


def _graph(rows: "QuerySet[Task]", *, beyond: bool) -> dict[str, Any]:
    """At most 2,000 nodes, the newest ones; in three statements whatever there is."""
    found = list(_read(rows)[: MOST + 1])
    tasks, truncated = found[:MOST], len(found) > MOST
    waits = list(
        TaskDependency.objects.filter(task__in=[task.pk for task in tasks])
        .order_by("id")
        .values_list("depends_on_id", "task_id", "satisfied")
    )
    if beyond:
        own = {task.ticket_id for task in tasks}
        known = {task.pk for task in tasks}
        others = {source for source, _, _ in waits} - known
        more = list(_read(Task.objects.filter(pk__in=others).exclude(ticket__in=own))[: MOST + 1])
        room = MOST - len(tasks)
        truncated = truncated or len(more) > room
        tasks += more[:room]
    shown = {task.pk for task in tasks}
    waits = [edge for edge in waits if edge[0] in shown and edge[1] in shown]
    still_open = {task.pk for task in tasks if task.is_open}
    critical = on_longest_chain(still_open, [(source, target) for source, target, _ in waits])
    return {
        "nodes": [_node(task, critical=task.pk in critical) for task in tasks],
        "edges": [*_dependencies(waits), *_discoveries(tasks, shown)],
        "truncated": truncated,
    }


def _read(rows: "QuerySet[Task]") -> "QuerySet[Task]":
    rows = rows.select_related("ticket", "phase", "holder", "discovery")
    return rows.only(
        "title",
        "task_type",
        "status",
        "phase__key",
        "holder__username",
        "holder__display_name",
        "holder__kind",
        "ticket__number",
        "discovery__source_task_id",
        "discovery__discovery_type",
        "discovery__description",
    ).order_by("-id")


def _node(task: Task, *, critical: bool) -> dict[str, Any]:
    holder = task.holder
    return {
        "id": str(task.pk),
        "label": task.title,
        "type": task.task_type,
        "phase": task.phase.key,
        "status": task.status,
        "holder": None
        if holder is None
        else {"id": str(holder.pk), "name": holder.name, "kind": holder.kind},
        "critical": critical,
        "ticket": {"id": str(task.ticket_id), "number": task.ticket.number},
    }


def _dependencies(waits: Iterable[tuple[UUID, UUID, bool]]) -> list[dict[str, Any]]:
    return [
        {
            "from": str(source),
            "to": str(target),
            "type": "dependency",
            "discovery_type": None,
            "label": DONE if satisfied else WAITS,
        }
        for source, target, satisfied in waits
    ]


def _discoveries(tasks: Iterable[Task], shown: Collection[UUID]) -> list[dict[str, Any]]:
    """From the task somebody worked on to each that came out of it."""
    return [
        {
            "from": str(task.discovery.source_task_id),
            "to": str(task.pk),
            "type": "discovery",
            "discovery_type": task.discovery.discovery_type,
            "label": task.discovery.description[:LABEL_CHARACTERS],
        }
        for task in reversed(list(tasks))
        if task.discovery is not None and task.discovery.source_task_id in shown
    ]


def on_longest_chain(nodes: Collection[UUID], edges: Iterable[tuple[UUID, UUID]]) -> set[UUID]:
    """The nodes on a longest way along the edges; none where no edge joins two of them.

    Nodes on a circle, which the edges' own rules refuse, are left out.
    """
    following: dict[UUID, list[UUID]] = {node: [] for node in nodes}
    before: dict[UUID, list[UUID]] = {node: [] for node in nodes}
    for source, target in edges:
        if source in following and target in following:
            following[source].append(target)
            before[target].append(source)
    up, down = _reach(before, following), _reach(following, before)
    lengths = {node: up[node] + down[node] for node in nodes if node in up and node in down}
    longest = max(lengths.values(), default=0)
    return {node for node, length in lengths.items() if length == longest} if longest else set()


def _reach(inward: dict[UUID, list[UUID]], outward: dict[UUID, list[UUID]]) -> dict[UUID, int]:
    """How many edges lie on the longest way that ends in each node."""
    left = {node: len(sources) for node, sources in inward.items()}
    found = {node: 0 for node, count in left.items() if not count}
    ready = deque(found)
    done: dict[UUID, int] = {}
    while ready:
        node = ready.popleft()
        done[node] = found[node]
        for target in outward[node]:
            found[target] = max(found.get(target, 0), found[node] + 1)
            left[target] -= 1
            if not left[target]:
                ready.append(target)
    return done
