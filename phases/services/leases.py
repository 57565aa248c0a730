"""Who holds a task: claimed under a lease with a fence, kept by heartbeats."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction

from guardian import services as guardian
from guardian.authority import Actor
from guardian.errors import DomainError, KillSwitchOn, LeaseLost, NotFound
from guardian.outbox import emit
from phases import claims, events
from phases.errors import TaskNotClaimable, TooManyLeases
from phases.models import Task

MAX_HELD = 10
# What a run may cost when nothing is known: 5,000 tokens, half and half, default price, times 1.2.
DEFAULT_ESTIMATE = Decimal("0.054")


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claimed task with its score and the fences of the locks it got."""

    task: Task
    score: float
    locks: list[Any]


@dataclass(frozen=True, slots=True)
class Beat:
    """What a heartbeat answers: until when the lease holds, and whether to stop."""

    task: Task
    cancel_reason: str | None


@transaction.atomic
def claim_tasks(
    *,
    actor: Actor,
    capabilities: list[str],
    limit: int = 1,
    lease_seconds: int = 60,
    phase: str | None = None,
    ticket_id: UUID | None = None,
    task_id: UUID | None = None,
) -> list[Claimed]:
    """Take up to `limit` ready tasks under a lease of `lease_seconds`, best first.

    An empty list means there is no work. Raises KillSwitchOn, TooManyLeases, and for a named
    task TaskNotClaimable, BudgetExceeded or LockHeld.
    """
    standing = guardian.standing_of(team_id=actor.team_id)
    if standing.kill_switch:
        raise KillSwitchOn
    held = claims.held_by(actor.id)
    if held >= MAX_HELD:
        raise TooManyLeases(held=held, limit=MAX_HELD)
    want: dict[str, Any] = {
        "team_id": actor.team_id,
        "holder_id": actor.id,
        "capabilities": [c.strip().lower() for c in capabilities],
        "lease_seconds": lease_seconds,
        "phase": phase,
        "ticket_id": ticket_id,
        "task_id": task_id,
    }
    limit = min(limit, MAX_HELD - held)
    taken: list[tuple[UUID, float, list[Any]]] = []
    # Most tickets have neither budget nor lock: one statement takes them all.
    if not standing.has_budgets:
        taken = [(pk, score, []) for pk, score in claims.take(**want, limit=limit)]
    if len(taken) < limit:
        taken += _claim_checked(actor, want, limit - len(taken), lease_seconds)
    if task_id is not None and not taken:
        raise TaskNotClaimable(task_id=str(task_id))
    by_id = {
        t.pk: t
        for t in Task.objects.select_related("ticket", "ticket__phase", "phase").filter(
            pk__in=[pk for pk, _, _ in taken]
        )
    }
    for pk, _, _ in taken:
        emit(
            events.TASK_CLAIMED,
            subject=by_id[pk],
            actor=actor,
            ticket_id=str(by_id[pk].ticket_id),
            fence=by_id[pk].fence,
            holder=actor.name,
        )
    return [Claimed(by_id[pk], score, locks) for pk, score, locks in taken]


def _claim_checked(
    actor: Actor, want: dict[str, Any], limit: int, lease_seconds: int
) -> list[tuple[UUID, float, list[Any]]]:
    """One at a time: a refusal of purse or locks undoes the claim of that task alone."""
    taken: list[tuple[UUID, float, list[Any]]] = []
    refused: dict[UUID, DomainError] = {}
    while len(taken) < limit and len(refused) < claims.HEADS:
        try:
            with transaction.atomic():
                got = claims.take(**want, limit=1, exclude=list(refused), with_locks=True)
                if not got:
                    break
                taken.append((*got[0], _reserve(actor, got[0][0], lease_seconds)))
        except _RefusedError as refusal:
            refused[refusal.task_id] = refusal.error
    for pk, error in refused.items():
        Task.objects.filter(pk=pk).update(dispatch_note=error.code)
    if want["task_id"] in refused and not taken:
        raise refused[want["task_id"]]
    return taken


class _RefusedError(Exception):
    def __init__(self, task_id: UUID, error: DomainError) -> None:
        self.task_id, self.error = task_id, error
        super().__init__(str(error))


def _reserve(actor: Actor, task_id: UUID, lease_seconds: int) -> list[Any]:
    task = Task.objects.get(pk=task_id)
    try:
        locks = guardian.acquire_locks(
            actor=actor,
            task_id=task.pk,
            wanted=task.required_locks,
            lease_seconds=max(lease_seconds, 3600),
        )
        guardian.reserve_budget(
            team=actor.team,
            scopes={
                "ticket": str(task.ticket_id),
                "phase": str(task.phase_id),
                "agent": str(actor.id),
            },
            estimate=DEFAULT_ESTIMATE,
            task_id=task.pk,
            ticket_id=task.ticket_id,
        )
    except DomainError as error:
        raise _RefusedError(task_id, error) from error
    return locks


@transaction.atomic
def extend_lease(
    *,
    actor: Actor,
    task_id: UUID,
    fence: int,
    lease_seconds: int = 60,
    progress: float | None = None,
    note: str | None = None,
) -> Beat:
    """A heartbeat: the first one starts the task, each one extends the lease.

    Raises LeaseLost, NotFound.
    """
    before = (
        Task.objects.filter(pk=task_id, team=actor.team).values_list("status", flat=True).first()
    )
    row = claims.beat(
        task=task_id,
        team=actor.team_id,
        holder=actor.id,
        fence=fence,
        lease=lease_seconds,
        progress=progress,
        note=note,
    )
    if row is None:
        raise lease_lost(actor=actor, task_id=task_id)
    task = Task.objects.select_related("ticket").get(pk=task_id)
    if before == Task.Status.ASSIGNED:
        emit(events.TASK_STARTED, subject=task, actor=actor, ticket_id=str(task.ticket_id))
    return Beat(task, row[2] if row[1] is not None else None)


def lease_lost(*, actor: Actor, task_id: UUID) -> DomainError:
    """The refusal for a fence that no longer holds, naming who does; NotFound for a foreign id."""
    task = Task.objects.select_related("holder").filter(pk=task_id, team=actor.team).first()
    if task is None:
        return NotFound("There is no such task.")
    holder = {"id": str(task.holder_id), "name": task.holder.name} if task.holder else None
    return LeaseLost(
        holder=holder,
        current_fence=task.fence,
        lease_expires_at=task.lease_expires_at.isoformat() if task.lease_expires_at else None,
    )
