"""What a task waits for, as codes that programs tell apart (specification of tasks, K-15)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q

from guardian.error_book import told
from guardian.errors import BudgetExceeded, LockHeld
from guardian.models import ResourceLock
from guardian.stops import stop_of
from phases.errors import NoCapableAgent
from phases.models import ReadyTask, Review, Task, TaskDependency, Ticket
from phases.models.task import WAITING

# Begin the reason for which a task stands blocked: a task it waits for ended badly, or reviews
# sent it back as often as its phase allows and a person decides.
DEPENDENCY_FAILED = "dependency_failed"
ESCALATED = "review_escalated"

# Somebody may just be about to take it: only then nobody can is worth telling.
NO_AGENT_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Wait:
    """One reason: a code, a sentence, the rows it is about, and until when if that is known."""

    code: str
    detail: str
    refs: list[dict[str, Any]] = field(default_factory=list)
    until: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        until = self.until.isoformat() if self.until else None
        return {"code": self.code, "detail": self.detail, "refs": self.refs, "until": until}


def waiting_for(
    task: Task, *, now: datetime, capabilities: Sequence[str] | None = None
) -> list[Wait]:
    """Everything that stands between a task and its claim; empty where it can be claimed.

    `capabilities` are those of whoever asks for it.
    """
    ticket = task.ticket
    if task.status not in WAITING:
        return list(_blocked(task)) or [_state(task)]
    return [
        *_of_ticket(task, ticket),
        *_of_task(task, ticket, now),
        *_capable(task, now, capabilities),
        *_held_up(task, now),
    ]


def _state(task: Task) -> Wait:
    state = task.get_status_display().lower()
    return Wait("state", f"“{task.title}” is {state}.", until=task.lease_expires_at)


def _blocked(task: Task) -> Iterator[Wait]:
    reason = task.blocked_reason or ""
    if task.status in {Task.Status.UNDER_REVIEW, Task.Status.VALIDATING}:
        review = Review.objects.filter(task=task).order_by("-iteration").first()
        if review is not None:
            yield _review(task, review)
    elif reason.startswith(ESCALATED):
        review = Review.objects.filter(task=task).order_by("-iteration").first()
        refs = [_ref("review", review.pk, iteration=review.iteration)] if review else []
        yield Wait("review", f"“{task.title}” needs a person: {reason}", refs)
    elif reason.startswith(DEPENDENCY_FAILED):
        ended = _edges(task).filter(depends_on__status__in=["failed", "cancelled"])
        yield Wait(DEPENDENCY_FAILED, f"“{task.title}” is blocked: {reason}", _refs_of(ended))


def _review(task: Task, review: Review) -> Wait:
    by = review.reviewer.name if review.reviewer else None
    text = f"{by} reviews it." if by else "Nobody reviews it yet."
    refs = [_ref("review", review.pk, iteration=review.iteration)]
    return Wait(
        "review", f"“{task.title}” waits for a review. {text}", refs, review.lease_expires_at
    )


def _of_ticket(task: Task, ticket: Ticket) -> Iterator[Wait]:
    here = [_ref("ticket", ticket.pk, number=ticket.number)]
    if not ticket.is_open:
        yield Wait("ticket_closed", f"Its ticket is {ticket.get_status_display().lower()}.", here)
        return
    if not ticket.is_approved:
        asked = ticket.get_approval_status_display().lower()
        text = f"Its ticket needs a person's approval: it is {asked}."
        yield Wait("approval", text, here, ticket.approval_expires_at)
    elif ticket.admitted_at is None:
        column = ticket.column
        text = f"{column.name} is full ({column.admitted_count} of {column.wip_limit})."
        yield Wait("wip_full", text, [_ref("column", column.pk, key=column.key)])
    if ticket.is_blocked:
        yield Wait("ticket_blocked", f"Its ticket is blocked: {ticket.blocked_reason}", here)
    elif task.phase.sequence_order > ticket.phase.sequence_order:
        text = f"It is for {task.phase.name}; its ticket is in {ticket.phase.name}."
        yield Wait("later_phase", text, [_ref("phase", task.phase_id, key=task.phase.key)])
    if stop := stop_of(ticket.team_id):
        where = "in every team" if stop["everywhere"] else "in this team"
        yield Wait("paused", f"New work is stopped {where} by {stop['by']}: {stop['reason']}")


def _of_task(task: Task, ticket: Ticket, now: datetime) -> Iterator[Wait]:
    if task.deps_left:
        others = "another task is" if task.deps_left == 1 else f"{task.deps_left} other tasks are"
        text = f"“{task.title}” begins by itself when {others} completed."
        yield Wait("dependency", text, _refs_of(_edges(task)))
    if task.not_before is not None and task.not_before > now:
        tries = f"Try {task.retry_count + 1} of {task.max_retries + 1}"
        because = f" after: {task.error_message}" if task.error_message else "."
        yield Wait("backoff", f"{tries}{because}", until=task.not_before)
    following = ticket.phase.next_column
    elsewhere = following is not None and following.pk != ticket.column_id
    if elsewhere and following is not None and following.is_full and task.status == "pending":
        text = f"{following.name} is full ({following.admitted_count} of {following.wip_limit})."
        yield Wait("wip_next_full", text, [_ref("column", following.pk, key=following.key)])
    ready = ReadyTask.objects.filter(task=task, reserved_until__gt=now).first()
    if ready is not None:
        text = f"It was sent back; {task.last_holder} has it first."
        refs = [_ref("user", ready.reserved_for, name=str(task.last_holder))]
        yield Wait("reserved", text, refs, ready.reserved_until)


def _capable(task: Task, now: datetime, capabilities: Sequence[str] | None) -> Iterator[Wait]:
    lacking = sorted(set(task.required_capabilities) - set(capabilities or ()))
    if capabilities is not None and lacking:
        text = f"It needs {', '.join(lacking)}, which this claim does not offer."
        yield Wait(NoCapableAgent.code, text)
    elif task.dispatch_note == NoCapableAgent.code:
        long_enough = task.ready_at is None or now - task.ready_at >= NO_AGENT_AFTER
        if long_enough or capabilities is None:
            able = ", ".join(task.required_capabilities)
            text = f"“{task.title}” waits for an agent with {able}; none that runs here has it."
            yield Wait(NoCapableAgent.code, f"{text} {NoCapableAgent.remedy}")


def _held_up(task: Task, now: datetime) -> Iterator[Wait]:
    """By locks as they are now, and by what the last try to place it met."""
    held = _locks(task)
    if held:
        names = ", ".join(f"{lock.resource_type} {lock.resource_id}" for lock in held)
        ends = [lock.expires_at for lock in held]
        refs = [
            _ref("lock", lock.pk, resource=f"{lock.resource_type} {lock.resource_id}")
            for lock in held
        ]
        yield Wait("lock", f"It needs {names}, held by {held[0].holder}.", refs, min(ends))
    if task.dispatch_note == BudgetExceeded.code:
        yield Wait("budget", f"“{task.title}” is not taken yet. {told(task.dispatch_note)}")
    known = {"", NoCapableAgent.code, BudgetExceeded.code, LockHeld.code}
    if task.dispatch_note not in known:
        text = f"“{task.title}” is not taken yet. {told(task.dispatch_note)}"
        yield Wait(task.dispatch_note, text)


def _locks(task: Task) -> list[ResourceLock]:
    """Locks of others that stand in the way of those that the task needs."""
    wanted = Q(pk=None)
    for want in task.required_locks:
        one = Q(resource_type=want["resource_type"], resource_id=want["resource_id"])
        if want.get("mode", "exclusive") == "shared":
            one &= Q(mode="exclusive")
        wanted |= one
    if not task.required_locks:
        return []
    rows = ResourceLock.objects.filter(wanted, team_id=task.team_id, released_at=None)
    return list(rows.exclude(task_id=task.pk).select_related("holder").order_by("id")[:20])


def _edges(task: Task) -> Any:
    rows = TaskDependency.objects.filter(task=task, satisfied=False)
    return rows.select_related("depends_on").order_by("depends_on_id")


def _refs_of(edges: Iterable[TaskDependency]) -> list[dict[str, Any]]:
    others = [edge.depends_on for edge in edges]
    return [_ref("task", other.pk, title=other.title, status=other.status) for other in others]


def _ref(kind: str, pk: Any, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "id": str(pk), **more}
