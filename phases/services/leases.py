"""Who holds a task: claimed under a lease with a fence, kept by heartbeats."""

from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import Any
from uuid import UUID

from django.db import transaction

from guardian import metrics
from guardian import services as guardian
from guardian.authority import Actor
from guardian.errors import DomainError, KillSwitchOn, LeaseLost, NotFound
from guardian.ledger import told_of
from guardian.outbox import emit
from phases import claims, events
from phases.claim_sql import HEADS
from phases.claims import Taken, Want
from phases.errors import TaskNotClaimable, TooManyLeases
from phases.models import Task
from phases.reports import db_now
from phases.waits import waiting_for

# What a run may cost when nothing is known: 5,000 tokens, half and half, default price, times 1.2.
DEFAULT_ESTIMATE = Decimal("0.054")


@dataclass(frozen=True)
class Claimed:
    """A claimed task with its score and the fences of the locks it got."""

    taken: Taken
    locks: list[Any]

    @property
    def score(self) -> float:
        return self.taken.score

    @cached_property
    def task(self) -> Task:
        """The whole row with its ticket and phases, read when it is asked for."""
        rows = Task.objects.select_related("ticket", "ticket__phase", "phase")
        return rows.get(pk=self.taken.task_id)


@dataclass(frozen=True, slots=True)
class Beat:
    """What a heartbeat answers: until when the lease holds, and whether to stop."""

    task: Task
    cancel_reason: str | None


def claim_tasks(
    *,
    actor: Actor,
    capabilities: list[str],
    limit: int = 1,
    lease_seconds: int = 60,
    phase: str | None = None,
    ticket_id: UUID | None = None,
    task_id: UUID | None = None,
    needing: bool = False,
) -> list[Claimed]:
    """Take up to `limit` ready tasks under a lease of `lease_seconds`, best first.

    `needing`: only tasks that need some capability, none that anybody could do.

    An empty list means there is no work. Raises KillSwitchOn, TooManyLeases, and for a named
    task NotFound, TaskNotClaimable, BudgetExceeded or LockHeld.
    """
    want = Want(
        capabilities=tokens(capabilities),
        limit=limit,
        lease_seconds=lease_seconds,
        phase=phase,
        ticket_id=ticket_id,
        task_id=task_id,
        needing=needing,
    )
    with metrics.TASK_CLAIM_SECONDS.timed():
        if limit > 1:
            with transaction.atomic():
                return _claim(actor, want)
        # One task is one statement, and that needs no transaction around it.
        return _claim(actor, want)


def tokens(capabilities: list[str]) -> list[str]:
    return [c.strip().lower() for c in capabilities]


def _claim(actor: Actor, want: Want) -> list[Claimed]:
    """Most tickets have neither budget nor lock: one statement takes them all."""
    answer = claims.take(actor=actor, want=want)
    refuse(answer)
    claimed = [Claimed(taken, []) for taken in answer.taken]
    left = min(want.limit, claims.MAX_HELD - answer.held) - len(claimed)
    if left > 0:
        claimed += _claim_checked(actor, want, left)
    if want.task_id is not None and not claimed:
        if not Task.objects.filter(pk=want.task_id, team_id=actor.team_id).exists():
            raise NotFound("There is no such task here.")
        raise TaskNotClaimable(task_id=str(want.task_id), waiting=_waiting(want))
    return claimed


def _waiting(want: Want) -> list[dict[str, Any]]:
    rows = Task.objects.select_related(
        "phase", "ticket__phase__next_column", "ticket__column", "last_holder"
    )
    task, now = rows.get(pk=want.task_id), db_now()
    found = waiting_for(task, now=now, capabilities=want.capabilities)
    return [wait.as_dict() for wait in found]


def refuse(answer: claims.Answer) -> None:
    """Raises KillSwitchOn, TooManyLeases."""
    if answer.stopped:
        raise KillSwitchOn
    if answer.held >= claims.MAX_HELD:
        raise TooManyLeases(held=answer.held, limit=claims.MAX_HELD)


@transaction.atomic
def _claim_checked(actor: Actor, want: Want, limit: int) -> list[Claimed]:
    """One at a time: a refusal of purse or locks undoes the claim of that task alone."""
    claimed: list[Claimed] = []
    refused: dict[UUID, DomainError] = {}
    one = replace(want, limit=1)
    while len(claimed) < limit and len(refused) < HEADS:
        try:
            with transaction.atomic():
                answer = claims.take(actor=actor, want=one, exclude=list(refused), checked=True)
                refuse(answer)
                if not answer.taken:
                    break
                taken = answer.taken[0]
                locks = _reserve(actor, taken.task_id, want.lease_seconds, waits=not claimed)
                claimed.append(Claimed(taken, locks))
        except _RefusedError as refusal:
            refused[refusal.task_id] = refusal.error
        except guardian.PurseBusyError:
            break  # the caller has something, and asks again for more
    for pk, error in refused.items():
        Task.objects.filter(pk=pk).update(dispatch_note=error.code)
    if want.task_id in refused and not claimed:
        raise refused[want.task_id]
    return claimed


class _RefusedError(Exception):
    def __init__(self, task_id: UUID, error: DomainError) -> None:
        self.task_id, self.error = task_id, error
        super().__init__(str(error))


def _reserve(actor: Actor, task_id: UUID, lease_seconds: int, *, waits: bool) -> list[Any]:
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
            waits=waits,
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

    With the kill switch on the holder is told to stop, and may give the task back meanwhile.
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
    if task.holds_locks or task.required_locks:
        guardian.renew_locks_of_task(task_id=task_id, seconds=lease_seconds)
    if before == Task.Status.ASSIGNED:
        emit(events.TASK_STARTED, subject=task, actor=actor, ticket_id=str(task.ticket_id))
    reason = row[2] if row[1] is not None else None
    if reason is None and guardian.standing_of(team_id=actor.team_id).kill_switch:
        reason = str(KillSwitchOn())
    return Beat(task, reason)


@transaction.atomic
def tell_resumed(*, actor: Actor, task_id: UUID) -> None:
    """That a task goes on under the same lease though the worker that began it is gone."""
    task = Task.objects.get(pk=task_id, team=actor.team)
    emit(events.TASK_RESUMED, subject=task, actor=actor, ticket_id=str(task.ticket_id))


def lease_lost(*, actor: Actor, task_id: UUID) -> DomainError:
    """The refusal for a fence that no longer holds, naming who does; NotFound for a foreign id."""
    task = Task.objects.select_related("holder").filter(pk=task_id, team=actor.team).first()
    if task is None:
        return NotFound("There is no such task.")
    holder = {"id": str(task.holder_id), "name": task.holder.name} if task.holder else None
    until = task.lease_expires_at
    yours = task.holder_id == actor.id and until is not None and until > db_now()
    said = f"Your task is at fence {task.fence}; this call brought another." if yours else None
    if not task.is_open:
        said = f"This task is {task.status} already: nothing more is taken for it."
    why = None if yours else _taken_away(actor, task)
    return LeaseLost(
        said,
        holder=holder,
        current_fence=task.fence,
        lease_expires_at=until.isoformat() if until else None,
        **({} if why is None else {"cancel": {"reason": why}}),
    )


def _taken_away(actor: Actor, task: Task) -> str | None:
    """Why somebody else called it off or took it back from the actor, who held it last."""
    if task.last_holder_id != actor.id:
        return None
    if task.status == Task.Status.CANCELLED:
        return task.cancel_reason
    told = told_of(team_id=task.team_id, kind=events.TASK_RELEASED, subject_ids=[task.pk])
    taken_back = told and told[-1].actor_id != actor.id and task.holder_id is None
    return told[-1].reason if taken_back else None
