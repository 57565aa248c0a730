"""What whoever claimed a task is told beside the task itself."""

from guardian import services as guardian
from guardian.authority import Actor
from phases.models import Task, TaskDependency

SUMMARY_LENGTH = 500


def results_before(*, task: Task) -> list[dict[str, str]]:
    """What the tasks it waited for gave: [{id, summary of up to 500 characters}], oldest first."""
    edges = TaskDependency.objects.filter(task=task).order_by("depends_on_id")
    found = edges.values_list("depends_on_id", "depends_on__result__summary")[:200]
    return [{"id": str(pk), "summary": _text(said)} for pk, said in found]


def _text(said: object) -> str:
    return said[:SUMMARY_LENGTH] if isinstance(said, str) else ""


def budget_left(*, actor: Actor, task: Task) -> str | None:
    """What may still be spent on it, in usd, by the tightest budget; None: nothing limits it."""
    scopes = {"ticket": str(task.ticket_id), "phase": str(task.phase_id), "agent": str(actor.id)}
    left = guardian.budget_left(team=actor.team, scopes=scopes)
    return None if left is None else str(left)
