"""What programs read about one task: what it waits for and what waits for it."""

from typing import Any

from phases.models import Task, TaskDependency

MOST = 200


def dependency_report(task: Task) -> dict[str, Any]:
    """{dependencies, dependents, deps_left}: up to 200 of each, by id."""
    waits_for = TaskDependency.objects.filter(task=task).select_related("depends_on")
    waiting = TaskDependency.objects.filter(depends_on=task).select_related("task")
    return {
        "dependencies": [
            _edge(edge.depends_on, edge) for edge in waits_for.order_by("depends_on_id")[:MOST]
        ],
        "dependents": [_edge(edge.task, edge) for edge in waiting.order_by("task_id")[:MOST]],
        "deps_left": task.deps_left,
    }


def _edge(other: Task, edge: TaskDependency) -> dict[str, Any]:
    return {
        "id": str(other.pk),
        "ticket": str(other.ticket_id),
        "title": other.title,
        "status": other.status,
        "satisfied": edge.satisfied,
    }
