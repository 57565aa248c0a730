"""Tasks: made, claimed under a lease, beaten, completed, failed, given back, taken back."""

import random
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from guardian import services as guardian
from guardian.authority import MONITOR, Actor, require_level, service_actor
from guardian.errors import (
    DomainError,
    IllegalTransition,
    Invalid,
    KillSwitchOn,
    LeaseLost,
    NotFound,
)
from guardian.models import Budget, Team
from guardian.outbox import emit
from phases import claims, events
from phases.errors import CancelRequested, TaskNotClaimable, TicketClosed, TooManyLeases
from phases.models import Phase, Task, TaskDependency, Ticket

MAX_HELD = 10
LOST_LEASES_UNTIL_FAILED = 3
# What a run may cost when nothing is known: 5,000 tokens, half and half, default price, times 1.2.
DEFAULT_ESTIMATE = Decimal("0.054")
# Texts that mean another try would end the same way.
PERMANENT_WORDS = (
    "permission denied",
    "unauthorized",
    "forbidden",
    "invalid",
    "not found",
    "syntax error",
    "duplicate key",
    "not supported",
    "quota exhausted",
)


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


def create_entry_task(*, actor: Actor, ticket: Ticket, phase: Phase) -> Task | None:
    """The phase's entry task, unless one of this phase is open already."""
    entry = phase.entry_task
    if not entry or Task.objects.still_open().filter(ticket=ticket, phase=phase).exists():
        return None
    return create_task(
        actor=actor,
        ticket=ticket,
        phase=phase,
        task_type=entry["task_type"],
        title=entry["title"],
        required_capabilities=entry.get("required_capabilities", []),
        timeout_seconds=entry.get("timeout_seconds"),
    )


@transaction.atomic
def create_task(
    *,
    actor: Actor,
    ticket: Ticket,
    task_type: str,
    title: str,
    phase: Phase | None = None,
    description: str = "",
    required_capabilities: list[str] | None = None,
    required_locks: list[dict[str, str]] | None = None,
    timeout_seconds: int | None = None,
    max_retries: int = 3,
    depends_on: list[UUID] | None = None,
) -> Task:
    """One task of an open ticket, ready at once unless it waits for others.

    Raises TicketClosed, Invalid for a dependency that is not of this team.
    """
    if not ticket.is_open:
        raise TicketClosed
    wanted = sorted(set(depends_on or []))
    found = {t.pk: t for t in Task.objects.filter(team=ticket.team, pk__in=wanted)}
    if len(found) != len(wanted):
        raise Invalid(path="depends_on", reason="names a task that does not exist")
    open_deps = [t for t in found.values() if t.status != Task.Status.COMPLETED]
    task = Task.objects.create(
        team=ticket.team,
        ticket=ticket,
        phase=phase or ticket.phase,
        task_type=task_type,
        title=title,
        description=description,
        priority=ticket.priority,
        required_capabilities=sorted(
            {c.strip().lower() for c in required_capabilities or [] if c.strip()}
        ),
        required_locks=required_locks or [],
        timeout_seconds=timeout_seconds,
        max_retries=max_retries,
        deps_left=len(open_deps),
    )
    # A task is new, so nothing depends on it yet: an edge from it cannot close a cycle.
    TaskDependency.objects.bulk_create(
        TaskDependency(
            team=ticket.team,
            task=task,
            depends_on=other,
            satisfied=other.status == Task.Status.COMPLETED,
        )
        for other in found.values()
    )
    emit(
        events.TASK_CREATED,
        subject=task,
        actor=actor,
        ticket_id=str(ticket.pk),
        task_type=task_type,
    )
    make_ready([task.pk])
    return task


def make_ready(task_ids: list[UUID]) -> None:
    """Bring the queue up to date and tell of those that became claimable."""
    fresh = claims.refresh(task_ids)
    for task in Task.objects.filter(pk__in=fresh).order_by("id"):
        emit(events.TASK_READIED, subject=task, ticket_id=str(task.ticket_id))


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
    if guardian.kill_switch_is_on(team=actor.team):
        raise KillSwitchOn
    held = Task.objects.held().filter(holder=actor.user).count()
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
    if not Budget.objects.filter(team=actor.team).exists():
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


@transaction.atomic
def complete_task(
    *, actor: Actor, task_id: UUID, fence: int, result: dict[str, Any]
) -> tuple[Task, list[UUID]]:
    """End a task with its result: (task, tasks that became claimable by it).

    Again with the same fence and result: the same answer, no second effect.
    Raises LeaseLost, CancelRequested, NotFound; an older fence writes nothing.
    """
    done, children = claims.finish(
        task_id=task_id, team_id=actor.team_id, holder_id=actor.id, fence=fence, result=result
    )
    if not done:
        return _completed_before(actor, task_id, fence, result)
    task = Task.objects.select_related("ticket", "phase").get(pk=task_id)
    end_task(task=task, reason="completed")
    make_ready(children)
    unblocked = [str(child) for child in children]
    emit(
        events.TASK_COMPLETED,
        subject=task,
        actor=actor,
        ticket_id=str(task.ticket_id),
        fence=fence,
        unblocked=unblocked,
    )
    return task, children


def _completed_before(
    actor: Actor, task_id: UUID, fence: int, result: dict[str, Any]
) -> tuple[Task, list[UUID]]:
    task = Task.objects.filter(pk=task_id, team=actor.team).first()
    if task is None:
        raise NotFound("There is no such task.")
    same = (task.last_holder_id, task.fence, task.result) == (actor.id, fence, result)
    if same and task.status == Task.Status.COMPLETED:
        return task, []
    if (task.holder_id, task.fence) == (actor.id, fence) and task.cancel_deadline:
        raise CancelRequested
    raise lease_lost(actor=actor, task_id=task_id)


def end_task(*, task: Task, reason: str) -> None:
    """What every end of work does: locks freed, held money settled."""
    guardian.release_locks_of_task(task_id=task.pk, reason=reason)
    guardian.settle_cost(
        task_id=task.pk, reason="settled" if reason == "completed" else "cancelled"
    )


def _held(*, actor: Actor, task_id: UUID, fence: int | None) -> Task:
    """The task, locked, if this fence still holds it; an operator brings no fence."""
    task = (
        Task.objects.select_for_update(of=("self",))
        .select_related("ticket", "phase")
        .filter(pk=task_id, team=actor.team)
        .first()
    )
    if task is None:
        raise NotFound("There is no such task.")
    if fence is not None and (task.holder_id, task.fence) != (actor.id, fence):
        raise lease_lost(actor=actor, task_id=task_id)
    if fence is None:
        require_level(actor, MONITOR)
    if task.holder_id is None:
        raise IllegalTransition(f"This task is {task.status}, nobody holds it.", allowed=[])
    return task


@transaction.atomic
def fail_task(
    *,
    actor: Actor,
    task_id: UUID,
    fence: int,
    code: str,
    message: str,
    permanent: bool | None = None,
    retry_after_seconds: int | None = None,
) -> Task:
    """Report a failure: the task is tried again later, or failed for good.

    Raises LeaseLost, NotFound.
    """
    task = _held(actor=actor, task_id=task_id, fence=fence)
    final = permanent if permanent is not None else _sounds_permanent(message)
    _end_attempt(task, code=code, message=message, permanent=final, after=retry_after_seconds)
    return task


def _sounds_permanent(message: str) -> bool:
    text = message.lower()
    return any(word in text for word in PERMANENT_WORDS)


def _end_attempt(
    task: Task, *, code: str, message: str, permanent: bool, after: int | None = None
) -> None:
    end_task(task=task, reason="failed")
    task.error_code, task.error_message = code, message[:4000]
    if permanent or task.retry_count >= task.max_retries:
        task.fail()
        task.completed_at = timezone.now()
        task.save()
        emit(
            events.TASK_FAILED,
            subject=task,
            ticket_id=str(task.ticket_id),
            fence=task.fence,
            error_code=code,
            error_message=task.error_message,
        )
        return
    task.retry_count += 1
    # Exponential, at most a minute, ± 25 % so that many do not come back at once.
    seconds = after or min(60.0, 2**task.retry_count * random.uniform(0.75, 1.25))  # noqa: S311
    task.not_before = timezone.now() + timedelta(seconds=seconds)
    task.give_back()
    task.save()
    emit(
        events.TASK_RETRY_SCHEDULED,
        subject=task,
        ticket_id=str(task.ticket_id),
        retry_count=task.retry_count,
        not_before=task.not_before.isoformat(),
    )
    make_ready([task.pk])


@transaction.atomic
def release_task(
    *, actor: Actor, task_id: UUID, fence: int | None, reason: str, handoff: str = ""
) -> Task:
    """Put a held task back in the queue; without a fence an operator (level 3) takes it back.

    Raises LeaseLost, NotFound, AuthorityTooLow, IllegalTransition.
    """
    task = _held(actor=actor, task_id=task_id, fence=fence)
    end_task(task=task, reason="released")
    task.give_back()
    if handoff:
        task.note = handoff[:500]
    task.save()
    emit(
        events.TASK_RELEASED,
        subject=task,
        actor=actor,
        reason=reason,
        ticket_id=str(task.ticket_id),
    )
    make_ready([task.pk])
    return task


@transaction.atomic
def cancel_task(*, actor: Actor, task_id: UUID, reason: str, grace_seconds: int = 10) -> Task:
    """Call a task off: a waiting one at once, a running one hears it with its next heartbeat.

    Raises NotFound, AuthorityTooLow, IllegalTransition.
    """
    task = Task.objects.select_related("ticket").filter(pk=task_id, team=actor.team).first()
    if task is None:
        raise NotFound("There is no such task.")
    if task.ticket.created_by_id != actor.id:
        require_level(actor, MONITOR)
    claims.withdraw([task.pk])
    task = Task.objects.select_for_update(of=("self",)).select_related("ticket").get(pk=task_id)
    if not task.is_open:
        raise IllegalTransition(f"This task is {task.status} already.", allowed=[])
    if task.holder_id is not None and grace_seconds > 0:
        task.cancel_deadline = timezone.now() + timedelta(seconds=grace_seconds)
        task.cancel_reason = reason
        task.save(update_fields=["cancel_deadline", "cancel_reason", "updated_at"])
        return task
    _cancel_now(task, actor=actor, reason=reason)
    return task


def _cancel_now(task: Task, *, actor: Actor | None, reason: str) -> None:
    task.cancel()
    task.completed_at = timezone.now()
    task.save()
    end_task(task=task, reason="cancelled")
    emit(
        events.TASK_CANCELLED,
        subject=task,
        actor=actor,
        reason=reason,
        ticket_id=str(task.ticket_id),
    )


@transaction.atomic
def retry_task(*, actor: Actor, task_id: UUID, reason: str) -> Task:
    """Try a failed or cancelled task once more, counters at zero.

    Raises NotFound, AuthorityTooLow, IllegalTransition.
    """
    require_level(actor, MONITOR)
    task = Task.objects.select_for_update().filter(pk=task_id, team=actor.team).first()
    if task is None:
        raise NotFound("There is no such task.")
    if task.status not in {Task.Status.FAILED, Task.Status.CANCELLED}:
        raise IllegalTransition(f"This task is {task.status}.", allowed=["failed", "cancelled"])
    reset_task(task=task, actor=actor, reason=reason)
    return task


def reset_task(*, task: Task, actor: Actor, reason: str) -> None:
    """Back to pending, with what waited for it."""
    task.retry()
    task.save()
    emit(
        events.TASK_RETRIED,
        subject=task,
        actor=actor,
        reason=reason,
        ticket_id=str(task.ticket_id),
    )
    blocked = Task.objects.select_for_update().filter(
        dependencies__depends_on=task, status=Task.Status.BLOCKED
    )
    for dependent in blocked.order_by("id"):
        dependent.unblock()
        dependent.save()
        emit(events.TASK_UNBLOCKED, subject=dependent, ticket_id=str(dependent.ticket_id))
    make_ready([task.pk])


@transaction.atomic
def sweep_leases(*, limit: int = 200) -> int:
    """Take work back from holders whose lease is over and end what outlived its cancel or timeout.

    The database clock decides. Returns how many tasks were taken back.
    """
    silent = list(
        Task.objects.select_for_update(skip_locked=True)
        .held()
        .filter(lease_expires_at__lte=Now())
        .order_by("lease_expires_at")[:limit]
    )
    for task in silent:
        _lose(task)
    overdue = list(
        Task.objects.select_for_update(skip_locked=True)
        .held()
        .filter(cancel_deadline__lte=Now())
        .order_by("id")[:limit]
    )
    for task in overdue:
        _cancel_now(task, actor=None, reason=task.cancel_reason)
    late = [
        task
        for task in Task.objects.select_for_update(skip_locked=True)
        .held()
        .filter(timeout_seconds__isnull=False, claimed_at__isnull=False)
        .order_by("id")[:limit]
        if timezone.now() > task.claimed_at + timedelta(seconds=task.timeout_seconds)
    ]
    for task in late:
        message = f"It ran longer than its {task.timeout_seconds} seconds."
        _end_attempt(task, code="timeout", message=message, permanent=False)
    return len(silent) + len(overdue) + len(late)


def _lose(task: Task) -> None:
    if task.cancel_deadline is not None:
        _cancel_now(task, actor=None, reason=task.cancel_reason)
        return
    held_by, never_began = task.holder_id, task.status == Task.Status.ASSIGNED
    task.lease_losses += 1
    if task.lease_losses >= LOST_LEASES_UNTIL_FAILED:
        message = f"Its holder went silent {task.lease_losses} times."
        _end_attempt(task, code="lease_lost", message=message, permanent=True)
        return
    end_task(task=task, reason="lease lost")
    if never_began:
        task.retry_count += 1
    task.not_before = timezone.now() + timedelta(seconds=2**task.lease_losses)
    task.give_back()
    task.save()
    emit(
        events.TASK_LEASE_LOST,
        subject=task,
        priority="high",
        ticket_id=str(task.ticket_id),
        held_by=str(held_by),
    )
    make_ready([task.pk])


@transaction.atomic
def handle_final_task(*, task_id: UUID) -> None:
    """A failed or cancelled task blocks what waits for it, by name."""
    task = Task.objects.filter(pk=task_id).first()
    if task is None or task.status not in {Task.Status.FAILED, Task.Status.CANCELLED}:
        return
    ids = list(
        Task.objects.filter(
            dependencies__depends_on=task, status__in=["pending", "needs_work"]
        ).values_list("id", flat=True)
    )
    claims.withdraw(ids)
    for dependent in Task.objects.select_for_update().filter(pk__in=ids).order_by("id"):
        if dependent.status not in {Task.Status.PENDING, Task.Status.NEEDS_WORK}:
            continue
        dependent.block()
        dependent.blocked_reason = f"dependency_failed: {task.title} is {task.status}"
        dependent.save()
        emit(
            events.TASK_BLOCKED,
            subject=dependent,
            ticket_id=str(dependent.ticket_id),
            blocked_reason=dependent.blocked_reason,
        )


@transaction.atomic
def start_ticket(*, ticket_id: UUID) -> None:
    """The first claim starts the ticket; hearing it again changes nothing."""
    ticket = Ticket.objects.select_related("column").filter(pk=ticket_id).first()
    if ticket is None or ticket.status != Ticket.Status.PENDING:
        return
    type(ticket.column).objects.select_for_update().get(pk=ticket.column_id)
    ticket = Ticket.objects.select_for_update().get(pk=ticket_id)
    if ticket.status != Ticket.Status.PENDING:
        return
    ticket.start()
    ticket.version += 1
    ticket.save(update_fields=["status", "version", "updated_at"])
    emit(events.TICKET_STARTED, subject=ticket, number=ticket.number)


def system_actor(team: Team) -> Actor:
    """Who acts when Lemnos moves something by itself."""
    return service_actor(team)
