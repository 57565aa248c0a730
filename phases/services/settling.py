"""What every end of work on a task sets free: locks, held money, a reviewer."""

from uuid import UUID

from guardian import services as guardian
from phases.models import Review, Task


def end_task(*, task_id: UUID, reason: str) -> None:
    """What every end of work does: locks freed, held money settled. Most tasks have neither."""
    if not guardian.holds_anything(task_id=task_id):
        return
    guardian.release_locks_of_task(task_id=task_id, reason=reason)
    guardian.settle_cost(
        task_id=task_id, reason="settled" if reason == "completed" else "cancelled"
    )


def end_open_review(*, task: Task) -> None:
    """Whoever looks at a task that is called off is free; their round stays as it was asked."""
    if task.status != Task.Status.VALIDATING:
        return
    for review in Review.objects.select_for_update().filter(task=task, status="validating"):
        review.give_back()
        review.save(update_fields=["status", "reviewer", "lease_expires_at", "updated_at"])
