"""How work on a task ends: completed, failed, given back, called off."""

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction

from guardian.authority import MONITOR, Actor, require_level
from guardian.errors import DomainError, IllegalTransition, KillSwitchOn, NotFound
from guardian.outbox import emit
from phases import claims, events
from phases.errors import CompletedBefore, TooManyLeases
from phases.models import Phase, Task
from phases.reports import db_now
from phases.results import check_result
from phases.services.called_off import cancel_as_ordered
from phases.services.deadlocks import again_if_deadlocked
from phases.services.leases import Claimed, claim_tasks, lease_lost, tokens
from phases.services.repeats import completed_before, handed_over_before
from phases.services.settling import end_task
from phases.services.submissions import submit
from phases.services.tasks import make_ready

# Texts that mean another try would end the same way; a phase may bring its own list, in its
# configuration under this key.
OWN_WORDS = "permanent_errors"
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


class Completed(NamedTuple):
    """A task that was told as done, the tasks that wait for nothing more by it, and what became
    of it by that: completed or under_review, also where it is something else by now."""

    task: Task
    unblocked: list[UUID]
    status: str


def complete_task(*, actor: Actor, task_id: UUID, fence: int, result: dict[str, Any]) -> Completed:
    """End a task with its result.

    Where its phase asks for a review it is handed in for one, under_review, and nothing is told
    of it yet. Again with the same fence and result: the same answer, no second effect.
    Raises Invalid, LeaseLost, CancelRequested, NotFound; an older fence writes nothing.
    """
    check_result(result)
    return again_if_deadlocked(lambda: _completed(actor, task_id, fence, result))


@transaction.atomic
def _completed(actor: Actor, task_id: UUID, fence: int, result: dict[str, Any]) -> Completed:
    status, unblocked = _complete(actor, task_id, fence, result)
    if status is None:
        before = completed_before(actor=actor, task_id=task_id, fence=fence, result=result)
        return Completed(before.task, before.unblocked, before.status)
    return Completed(Task.objects.get(pk=task_id), unblocked, status)


@transaction.atomic
def _complete(
    actor: Actor, task_id: UUID, fence: int, result: dict[str, Any]
) -> tuple[str | None, list[UUID]]:
    """(what became of it, dependents freed); None: this fence ends nothing, or did so before."""
    done, unblocked, holds = claims.finish(actor=actor, task_id=task_id, fence=fence, result=result)
    if not done:
        handed_in = submit(actor=actor, task_id=task_id, fence=fence, result=result)
        return (str(Task.Status.UNDER_REVIEW) if handed_in else None), []
    if holds:
        end_task(task_id=task_id, reason="completed")
    return str(Task.Status.COMPLETED), unblocked


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A completed task and the next one claimed; `refused` says why there is no next one.

    Without a next one and without a refusal there is no work now. A completion that was told
    before claims nothing: it names what was claimed with it, while that is held and not begun.
    """

    unblocked: list[UUID]
    claimed: list[Claimed]
    refused: DomainError | None = None
    status: str = str(Task.Status.COMPLETED)


def complete_and_claim(
    *,
    actor: Actor,
    task_id: UUID,
    fence: int,
    result: dict[str, Any],
    capabilities: list[str],
    lease_seconds: int = 60,
    phase: str | None = None,
    ticket_id: UUID | None = None,
    needing: bool = False,
) -> HandedOver:
    """End a task with its result and take the next, in one statement where that is enough.

    `needing`: the next is one that needs some capability.

    The completion stands whatever becomes of the claim: a kill switch, a full purse, too many
    leases only leave out the next task. Raises as complete_task does, and then claims nothing.
    """
    check_result(result)
    want = claims.Want(
        capabilities=tokens(capabilities),
        lease_seconds=lease_seconds,
        phase=phase,
        ticket_id=ticket_id,
        needing=needing,
    )
    done, unblocked, answer = again_if_deadlocked(
        lambda: claims.hand_over(
            actor=actor, task_id=task_id, fence=fence, result=result, want=want
        )
    )
    if answer.taken:
        return HandedOver(unblocked, [Claimed(taken, []) for taken in answer.taken])
    status = str(Task.Status.COMPLETED)
    if not done:
        became, unblocked = again_if_deadlocked(lambda: _complete(actor, task_id, fence, result))
        if became is None:
            before = completed_before(actor=actor, task_id=task_id, fence=fence, result=result)
            again = handed_over_before(actor=actor, before=before)
            none = None if again else CompletedBefore()
            return HandedOver(before.unblocked, again, none, before.status)
        status = became
    # Budgets, locks, or work that this very completion made ready: what one statement cannot see.
    try:
        claimed = claim_tasks(
            actor=actor,
            capabilities=want.capabilities,
            lease_seconds=lease_seconds,
            phase=phase,
            ticket_id=ticket_id,
            needing=needing,
        )
    except (KillSwitchOn, TooManyLeases) as refusal:
        return HandedOver(unblocked, [], refusal, status)
    return HandedOver(unblocked, claimed, None, status)


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

    Where a cancel was asked for, this is its end.
    Raises LeaseLost, NotFound.
    """
    task = _held(actor=actor, task_id=task_id, fence=fence)
    if task.cancel_deadline is not None:
        cancel_as_ordered(task)
        return task
    final = permanent if permanent is not None else _sounds_permanent(message, task.phase)
    end_attempt(task, code=code, message=message, permanent=final, after=retry_after_seconds)
    return task


def _sounds_permanent(message: str, phase: Phase) -> bool:
    own = phase.configuration.get(OWN_WORDS)
    words = PERMANENT_WORDS if not isinstance(own, list) else [w for w in own if _is_word(w)]
    text = message.lower()
    return any(word.strip().lower() in text for word in words)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def end_attempt(
    task: Task, *, code: str, message: str, permanent: bool, after: int | None = None
) -> None:
    end_task(task_id=task.pk, reason="failed")
    task.error_code, task.error_message = code, message[:4000]
    if permanent or task.retry_count >= task.max_retries:
        task.fail()
        task.completed_at = db_now()
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
    seconds = after or min(60.0, 2**task.retry_count * random.uniform(0.75, 1.25))  # noqa: S311  jitter
    task.not_before = db_now() + timedelta(seconds=seconds)
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

    Where a cancel was asked for, this is its end.
    Raises LeaseLost, NotFound, AuthorityTooLow, IllegalTransition.
    """
    task = _held(actor=actor, task_id=task_id, fence=fence)
    if task.cancel_deadline is not None:
        cancel_as_ordered(task)
        return task
    end_task(task_id=task.pk, reason="released")
    task.give_back()
    task.handoff = handoff or task.handoff  # what an earlier one left stays true
    task.save()
    emit(
        events.TASK_RELEASED,
        subject=task,
        actor=actor,
        reason=reason,
        ticket_id=str(task.ticket_id),
        handoff=handoff,
    )
    make_ready([task.pk])
    return task
