"""In plain words: how a ticket stands, what it waits for and what will happen by itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from guardian.error_book import blames_input, told
from phases.errors import NoCapableAgent
from phases.gates import Evaluation
from phases.models import Phase, Task, Ticket
from phases.waits import ESCALATED

_UNDER_REVIEW = ("under_review", "validating")


@dataclass(frozen=True, slots=True)
class Why:
    """`tone` is ok, info, warn or bad; `until` counts down where it is known."""

    tone: str
    head: str
    text: str
    until: datetime | None = None


def why(
    ticket: Ticket,
    tasks: list[Task],
    gate: Evaluation,
    *,
    now: datetime,
    stopped: Mapping[str, Any] | None = None,
    ended: str = "",
) -> Why:
    """One sentence for a ticket; the first thing that holds it up is the one that is told.

    `stopped` is what the team's kill switch says, while it is on; `ended` who called the ticket
    off and why.
    """
    if not ticket.is_open:
        return _closed(ticket, ended)
    if ticket.is_blocked:
        back = ticket.previous_phase.name if ticket.previous_phase else "where it was"
        text = f"Retry sends it back to {back} once the cause is gone."
        if is_for_its_source(ticket, tasks, gate):
            text = f"Replace the archive to begin anew; Retry does {back} again with this one."
        elif ticket.workflow.asks_source:
            text = f"{text[:-1]}; with another archive it begins anew."
        return Why("bad", "Blocked", f"{ticket.blocked_reason} {text}")
    here = [t for t in tasks if t.phase_id == ticket.phase_id and t.visit == ticket.visit]
    return _queued(ticket) or _tasks(ticket, here, now, stopped) or _stays(ticket, here, gate)


def is_for_its_source(ticket: Ticket, tasks: list[Task], gate: Evaluation) -> bool:
    """Whether a ticket is blocked for its source, so that retrying alone ends the same way.

    So it is where a task was refused for what it was given, or where all work was done and what it
    found is not enough (no tests, say). `gate` is that of the phase it came from.
    """
    back = ticket.previous_phase
    if not (ticket.is_blocked and ticket.workflow.asks_source and back is not None):
        return False
    here = [t for t in tasks if t.phase_id == back.pk and t.visit >= ticket.fresh_from_visit]
    failed = [t.error_code for t in here if t.status == Task.Status.FAILED]
    if failed:
        return any(blames_input(code) for code in failed)
    return bool(here) and all(t.status == "completed" for t in here) and not gate.passed


def _closed(ticket: Ticket, ended: str) -> Why:
    if ticket.status == Ticket.Status.COMPLETED:
        return Why("ok", "Done", "Every phase is behind it.")
    text = "Nothing more happens here unless somebody reopens it."
    return Why("info", ticket.get_status_display().capitalize(), f"{ended} {text}".strip())


def _unapproved(ticket: Ticket) -> Why:
    if ticket.approval_status == Ticket.Approval.REJECTED:
        return Why("bad", "Not approved", "Change what stood in the way and ask again.")
    if ticket.approval_status == Ticket.Approval.TIMED_OUT:
        text = "Nobody answered in time. A person may still approve it, or it is asked for again."
        return Why("warn", "Put aside", text)
    text = "A person other than its author lets it begin."
    return Why("warn", "Needs approval", text, ticket.approval_expires_at)


def _queued(ticket: Ticket) -> Why | None:
    if ticket.admitted_at is not None:
        return None
    if not ticket.is_approved:
        return _unapproved(ticket)
    column = ticket.column
    return Why(
        "warn",
        "Waiting",
        f"{column.name} is full ({column.admitted_count} of {column.wip_limit}). "
        "This ticket is admitted by itself when a place is free.",
    )


def _tasks(
    ticket: Ticket, tasks: list[Task], now: datetime, stopped: Mapping[str, Any] | None
) -> Why | None:
    held = next((t for t in tasks if t.holder is not None), None)
    if held is not None:
        return _held(held, now)
    for task in tasks:
        if stuck := _stuck(task):
            return stuck
    if reviewed := next((t for t in tasks if t.status in _UNDER_REVIEW), None):
        looks = "is being looked at" if reviewed.status == "validating" else "waits for a reviewer"
        return Why("warn", "Review", f"{reviewed.title} is handed in and {looks}.")
    waiting = next((t for t in tasks if t.status in {"pending", "needs_work"}), None)
    if waiting is None:
        return None
    return _stopped(waiting, stopped) if stopped else _waiting(ticket, waiting, now)


def _stuck(task: Task) -> Why | None:
    """What goes on only when somebody does something."""
    if task.status == Task.Status.FAILED:
        text = f"{task.title}: {task.error_message or 'it failed.'} Retry the task to go on."
        return Why("bad", "Failed", text)
    if (task.blocked_reason or "").startswith(ESCALATED):
        said = (task.blocked_reason or "").removeprefix(f"{ESCALATED}: ")
        return Why("bad", "Needs you", f"Decide about {task.title}: {said}")
    if task.status == Task.Status.BLOCKED:
        return Why("bad", "Blocked", f"{task.title}: {task.blocked_reason}")
    return None


def _stopped(task: Task, stop: Mapping[str, Any]) -> Why:
    where = "in every team" if stop["everywhere"] else "in this team"
    text = f"New work is stopped {where} by {stop['by']}: {stop['reason']} “{task.title}” waits"
    return Why("bad", "Stopped", f"{text} until an operator allows new work again.")


def _held(task: Task, now: datetime) -> Why:
    name = task.holder.name if task.holder else ""
    if task.lease_expires_at is not None and task.lease_expires_at <= now:
        return Why(
            "warn",
            "Silent",
            f"{name} stopped answering. {task.title} is taken back within ten seconds.",
        )
    if task.cancel_deadline is not None:
        return Why("warn", "Stopping", f"{name} was asked to stop: {task.cancel_reason}")
    note = f": {task.note}" if task.note else "."
    return Why("info", "Working", f"{name} is at “{task.title}”{note}")


def _waiting(ticket: Ticket, task: Task, now: datetime) -> Why:
    if task.deps_left:
        text = f"“{task.title}” begins by itself when {task.deps_left} other tasks are completed."
        return Why("warn", "Waiting", text)
    if task.not_before is not None and task.not_before > now:
        tries = f"Try {task.retry_count + 1} of {task.max_retries + 1}"
        because = f" after: {task.error_message}" if task.error_message else "."
        return Why("warn", "Trying again", f"{tries}{because}", task.not_before)
    following = ticket.phase.next_column
    if following is not None and following.pk != ticket.column_id and following.is_full:
        text = f"{following.name} is full ({following.admitted_count} of {following.wip_limit}). "
        return Why(
            "warn", "Waiting", f"{text}“{task.title}” begins by itself when a place is free."
        )
    able = ", ".join(capability.replace("_", " ") for capability in task.required_capabilities)
    if task.dispatch_note == NoCapableAgent.code:
        text = f"“{task.title}” waits for an agent with {able}; none that runs here has it."
        return Why("warn", "Waiting", f"{text} {NoCapableAgent.remedy}")
    if task.dispatch_note:
        text = f"“{task.title}” is not taken yet. {told(task.dispatch_note)}"
        return Why("warn", "Waiting", text)
    who = f"an agent that offers {able}" if able else "an agent"
    return Why("warn", "Waiting", f"“{task.title}” is ready and waits for {who}.")


def _stays(ticket: Ticket, tasks: list[Task], gate: Evaluation) -> Why:
    note = ticket.auto_wait or {}
    if note.get("reason") == "wip_full":
        text = f"{note.get('detail')} This ticket moves on by itself when a place is free."
        return Why("warn", "Waiting", text)
    if note.get("reason") == "cancelled":
        text = f"{note.get('detail')} Retry the task, or move the ticket on by hand."
        return Why("warn", "Needs you", text)
    if not gate.passed:
        return Why("warn", "Evidence missing", " ".join(gate.reasons))
    if ticket.phase.kind == Phase.Kind.WORK and not tasks:
        return Why("info", "Ready", "No task is open here. Move it on when it is time.")
    return Why("ok", "Ready", "All work of this phase is done. Move it on.")
