"""What phases answers when somebody takes a lock for a task."""

from uuid import UUID

from django.db.models.functions import Now

from guardian import holders
from guardian.authority import Actor
from phases.models import Task
from phases.services.leases import lease_lost


@holders.hold_for_task
def hold_for_task(*, actor: Actor, task_id: UUID) -> None:
    """Mark a task that is the actor's now: whoever ends it frees its locks.

    The mark locks the row until the lock is there. A completion that began meanwhile is one
    statement, so it reads the row anew but not the table of locks. Raises NotFound, LeaseLost.
    """
    marked = (
        Task.objects.for_team(actor.team_id)
        .held()
        .filter(pk=task_id, holder_id=actor.id, lease_expires_at__gt=Now())
        .update(holds_locks=True)
    )
    if not marked:
        raise lease_lost(actor=actor, task_id=task_id)
