"""What may be claimed now, for those above who choose who does it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from guardian.authority import Actor
from guardian.errors import Invalid
from phases import claims
from phases.errors import NoCapableAgent
from phases.models import Phase, ReadyTask, Task


@dataclass(frozen=True, slots=True)
class Ready:
    """One claimable task, as far as choosing an agent needs it."""

    task_id: UUID
    ticket_id: UUID
    task_type: str
    capabilities: list[str]
    priority: int
    ready_at: datetime
    reserved_for: UUID | None = None  # whom a claim by anybody else would not find it for


def ready_tasks(
    *,
    team_id: UUID,
    limit: int = 200,
    capabilities: Iterable[str] | None = None,
    needing: bool = False,
) -> list[Ready]:
    """Up to `limit` tasks that a claim would find, urgent ones first, then the oldest.

    `capabilities`: only tasks that need nothing beyond these, so that work which nobody here can
    do never hides work that somebody can; `needing`: only tasks that need some.
    A task whose next column is full is left out: starting it would only fill the board.
    """
    next_column = F("ticket__phase__next_column__wip_limit")
    rows = ReadyTask.objects.filter(team_id=team_id, not_before__lte=Now()).filter(
        Q(rework=True)
        | Q(ticket__phase__next_column=None)
        | Q(ticket__phase__next_column=F("ticket__column"))
        | Q(ticket__phase__next_column__wip_limit=None)
        | Q(ticket__phase__next_column__admitted_count__lt=next_column)
    )
    if capabilities is not None:
        rows = rows.filter(capabilities__contained_by=sorted(capabilities))
    if needing:
        rows = rows.exclude(capabilities=[])
    now = timezone.now()
    return [
        Ready(
            r.task_id,
            r.ticket_id,
            r.task.task_type,
            r.capabilities,
            r.priority,
            r.ready_at,
            r.reserved_for if r.reserved_until and r.reserved_until > now else None,
        )
        for r in rows.select_related("task").order_by("priority", "ready_at")[:limit]
    ]


@transaction.atomic
def weigh_anew(*, workflow_id: UUID) -> None:
    """Let waiting tasks be ordered by the weights that their workflow has now."""
    claims.weigh_anew(workflow_id=workflow_id)


def claimable_tasks(
    *,
    actor: Actor,
    capabilities: list[str] | None = None,
    phase: str | None = None,
    limit: int = 10,
) -> list[tuple[Task, float]]:
    """(task, score) of what a claim would find now, best first; nothing is taken.

    Without capabilities: for whoever could do them. Budgets and locks are asked by the claim.
    """
    found = claims.claimable(actor=actor, capabilities=capabilities, phase=phase, limit=limit)
    rows = Task.objects.select_related("phase", "holder", "last_holder")
    tasks = rows.in_bulk([pk for pk, _ in found])
    return [(tasks[pk], score) for pk, score in found if pk in tasks]


def teams_with_work() -> list[UUID]:
    """Teams that have a task somebody could claim now."""
    rows = ReadyTask.objects.filter(not_before__lte=Now()).order_by("team_id")
    return list(rows.values_list("team_id", flat=True).distinct())


def require_phase(*, team_id: UUID, key: str | None, path: str) -> None:
    """Whoever asks for work of a phase that no workflow has would wait for ever. Raises Invalid."""
    if key and not Phase.objects.filter(team_id=team_id, key=key).exists():
        raise Invalid(path=path, reason=f"{key!r} is no phase of any workflow of this team")


def waiting_without_agent(
    *, team_id: UUID, capabilities: Iterable[str], limit: int = 200
) -> list[UUID]:
    """Tasks that need more than all of these together and do not say so yet."""
    rows = (
        ReadyTask.objects.filter(team_id=team_id, not_before__lte=Now())
        .exclude(capabilities__contained_by=sorted(capabilities))
        .exclude(task__dispatch_note=NoCapableAgent.code)
    )
    return list(rows.order_by("priority", "ready_at").values_list("task_id", flat=True)[:limit])


def note_why_waiting(*, task_id: UUID, code: str) -> bool:
    """Keep why nobody was given this task; False when that was known already."""
    waiting = Task.objects.filter(pk=task_id, status__in=["pending", "needs_work"])
    return bool(waiting.exclude(dispatch_note=code).update(dispatch_note=code))
