"""What happened to a ticket, as sentences: newest first."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from django.db.models import CharField, Q, QuerySet
from django.db.models.functions import Cast

from guardian.models import Event
from phases import events
from phases.models import (
    PhaseGateArtifact,
    PhaseGateResult,
    Task,
    TaskDiscovery,
    Ticket,
    WorkflowResult,
)

SHOWN = 80
REPLACED_SHOWN = 500
_SILENT = {events.TASK_READIED, events.BOARD_SLOT_FREED, events.TASK_STARTED}
_NAMES = {"admitted_at": "place in the column", "card_facts": "facts"}


def timeline(ticket: Ticket, tasks: list[Task]) -> list[dict[str, Any]]:
    """[{at, who, kind, text, detail, tone}], at most 80."""
    titles = {str(task.pk): task.title for task in tasks}
    names = _phase_names(ticket)
    artifacts = PhaseGateArtifact.objects.filter(ticket=ticket).values_list("pk", flat=True)
    gates = PhaseGateResult.objects.filter(ticket=ticket).values_list("pk", flat=True)
    rows = (
        Event.objects.filter(
            Q(subject_id__in=[str(ticket.pk), *titles, *map(str, artifacts[:200])])
            | Q(
                subject_label="phases.phasegateresult",
                subject_id__in=[str(pk) for pk in gates.order_by("-pk")[:40]],
            ),
            team_id=ticket.team_id,
        )
        .select_related("actor")
        .order_by("-created_at", "-id")[:SHOWN]
    )
    return [row for event in rows if (row := _row(event, titles, names)) is not None]


def events_of(ticket: Ticket) -> QuerySet[Event]:
    """All that was told of a ticket, its tasks, evidence, gates, discoveries and results."""
    own = [
        Ticket.objects.filter(pk=ticket.pk),
        Task.objects.filter(ticket=ticket),
        PhaseGateArtifact.objects.filter(ticket=ticket),
        PhaseGateResult.objects.filter(ticket=ticket),
        TaskDiscovery.objects.filter(source_task__ticket=ticket),
        WorkflowResult.objects.filter(ticket=ticket),
    ]
    first, *others = (rows.order_by().values_list(Cast("pk", CharField())) for rows in own)
    return Event.objects.filter(
        team_id=ticket.team_id, subject_id__in=first.union(*others, all=True)
    ).select_related("actor")


def told(ticket: Ticket, rows: Sequence[Event]) -> list[dict[str, Any]]:
    """These events of a ticket, each with the sentence that the page shows for it."""
    ids = [row.subject_id for row in rows if row.subject_label == "phases.task"]
    tasks = Task.objects.filter(ticket=ticket, pk__in=ids).values_list("pk", "title")
    titles, names = {str(pk): title for pk, title in tasks}, _phase_names(ticket)
    return [_told(row, titles, names) for row in rows]


def _told(event: Event, titles: dict[str, str], names: dict[str, str]) -> dict[str, Any]:
    text, detail, tone = _words(event, titles.get(event.subject_id, "a task"), names)
    who = event.actor
    return {
        "id": str(event.pk),
        "seq": event.seq,
        "kind": event.kind,
        "alias": event.alias,
        "at": event.created_at,
        "actor": None if who is None else {"id": str(who.pk), "name": who.name, "kind": who.kind},
        "subject": {"label": event.subject_label, "id": event.subject_id},
        "text": text,
        "detail": detail,
        "tone": tone,
        "reason": event.reason,
        "data": event.data,
    }


def _phase_names(ticket: Ticket) -> dict[str, str]:
    return {phase.key: phase.name for phase in ticket.workflow.phases.all()}


def ended(ticket: Ticket) -> str:
    """Who called a ticket off or gave it up, and why, as a sentence; nothing of any other."""
    said = _ENDED.get(ticket.status)
    if said is None:
        return ""
    kind, words = said
    event = (
        Event.objects.filter(
            team_id=ticket.team_id,
            subject_label="phases.ticket",
            subject_id=str(ticket.pk),
            kind=kind,
        )
        .select_related("actor")
        .order_by("-id")
        .first()
    )
    if event is None:
        return ""  # archived
    who = event.actor.name if event.actor else "Lemnos"
    because = f": {event.reason.rstrip('.')}." if event.reason else "."
    return f"{who} {words}{because}"


_ENDED: dict[str, tuple[str, str]] = {
    Ticket.Status.CANCELLED: (events.TICKET_CANCELLED, "called it off"),
    Ticket.Status.FAILED: (events.TICKET_FAILED, "gave it up"),
}


def _row(event: Event, titles: dict[str, str], names: dict[str, str]) -> dict[str, Any] | None:
    if event.kind in _SILENT or event.data.get("changed") == ["card_facts"]:
        return None
    text, detail, tone = _words(event, titles.get(event.subject_id, "a task"), names)
    who = event.actor.name if event.actor else event.data.get("holder") or "Lemnos"
    kind = event.actor.kind if event.actor else "service"
    return {
        "at": event.created_at,
        "who": who,
        "kind": kind,
        "text": text,
        "detail": detail,
        "tone": tone,
        "group": _group(event.kind),
    }


def _group(kind: str) -> str:
    """Which of the timeline's filters an event belongs to."""
    if kind in {events.GATE_EVALUATED, events.ARTIFACT_ADDED} or ".result." in kind:
        return "evidence"
    return "work" if kind.startswith(("phases.task.", "phases.discovery.")) else "ticket"


def _words(event: Event, task: str, names: dict[str, str]) -> tuple[str, str, str]:
    """(sentence, what is beside it, tone)."""
    if event.kind in _TOLD:
        return _TOLD[event.kind](event, names)
    simple = _SIMPLE.get(event.kind)
    if simple is None:
        return event.kind.removeprefix("phases.").replace(".", " "), event.reason, ""
    text, key, tone = simple
    return text.format(task=f"“{task}”"), str(event.data.get(key) or event.reason or ""), tone


def _updated(event: Event, _: dict[str, str]) -> tuple[str, str, str]:
    changed = [_NAMES.get(name, name) for name in event.data.get("changed", [])]
    return f"changed {', '.join(changed)}", _replaced(event), ""


def _replaced(event: Event) -> str:
    """What the work was about before and is now, so that the old value can be put back."""
    before, after = ((side or {}).get("context") or {} for side in (event.before, event.after))
    pairs = ((key, json.dumps(before.get(key)), json.dumps(after[key])) for key in after)
    return "; ".join(f"{key} from {old} to {new}" for key, old, new in pairs)[:REPLACED_SHOWN]


def _restarted(event: Event, names: dict[str, str]) -> tuple[str, str, str]:
    what = " and ".join(event.data.get("replaced", []))
    where = names.get(str(event.data.get("to_phase")), "")
    return f"replaced the {what}: it begins anew in {where}", "", ""


def _waits(event: Event, _: dict[str, str]) -> tuple[str, str, str]:
    note = event.data.get("auto_wait") or {}
    return "found that it has to wait:", str(note.get("detail", "")), "warn"


def _asked(event: Event, names: dict[str, str]) -> tuple[str, str, str]:
    passed = event.data.get("gate_status") == "passed"
    phase = names.get(str(event.data.get("phase")), "this phase")
    return f"asked the gate of {phase}:", "passed" if passed else "not yet", "ok" if passed else ""


def _attached(event: Event, _: dict[str, str]) -> tuple[str, str, str]:
    kind = str(event.data.get("artifact_type", "evidence")).replace("_", " ")
    if event.data.get("origin") == "rejected":
        return (
            f"rejected the {kind}:" if event.reason else f"rejected the {kind}",
            event.reason,
            "bad",
        )
    seen = {"sandbox": "observed by our own run", "reviewer": "confirmed by a second person"}
    return f"attached {kind},", seen.get(str(event.data.get("origin")), "reported"), ""


def _decided(event: Event, _: dict[str, str]) -> tuple[str, str, str]:
    good = event.data.get("verdict") == "validated"
    return f"{'validated' if good else 'rejected'} the result:", event.reason, "ok" if good else ""


def _moved(event: Event, names: dict[str, str]) -> tuple[str, str, str]:
    source = names.get(str(event.data.get("from_phase")), "")
    target = names.get(str(event.data.get("to_phase")), "")
    if event.data.get("move") == "block":
        return f"blocked it in {source}", event.reason, "bad"
    if event.data.get("move") == "result":
        return f"ended it from {source}: its result is found", event.reason, "ok"
    if event.data.get("move") == "restart":
        return f"sent it from {source} back to {target}", "", ""
    by_itself = event.data.get("via") == "auto"
    verb = "moved it on" if by_itself else "moved it"
    return f"{verb} from {source} to {target}", event.reason, ""


# kind → sentence, key of the data to show beside it, tone
_SIMPLE: dict[str, tuple[str, str, str]] = {
    events.TICKET_CREATED: ("opened this ticket", "", ""),
    events.TICKET_STARTED: ("began work", "", ""),
    events.TICKET_COMPLETED: ("completed this ticket", "", "ok"),
    events.TICKET_CANCELLED: ("called this ticket off", "", "bad"),
    events.TICKET_FAILED: ("gave this ticket up", "", "bad"),
    events.TICKET_APPROVAL_REQUESTED: ("asked for approval", "", ""),
    events.TICKET_APPROVED: ("approved this ticket", "", "ok"),
    events.TICKET_REJECTED: ("did not approve this ticket", "", "bad"),
    events.TICKET_APPROVAL_TIMED_OUT: ("put it aside: nobody answered in time", "", "warn"),
    events.TICKET_REOPENED: ("reopened this ticket", "", ""),
    events.DISCOVERY_RECORDED: ("came upon something:", "description", "warn"),
    events.DISCOVERY_BRANCH_CREATED: ("made tasks of what was found", "", ""),
    events.DISCOVERY_RESOLVED: ("answered what was found:", "status", ""),
    events.TASK_DUPLICATED: ("found {task} to be there already", "", ""),
    events.RESULT_SUBMITTED: ("handed in a result:", "summary", ""),
    events.TASK_CREATED: ("added the task {task}", "", ""),
    events.TASK_CLAIMED: ("took {task}", "", ""),
    events.TASK_COMPLETED: ("completed {task}", "", "ok"),
    events.TASK_FAILED: ("failed at {task}", "error_message", "bad"),
    events.TASK_RELEASED: ("gave {task} back", "handoff", ""),
    events.TASK_RETRY_SCHEDULED: ("will try {task} again", "", "warn"),
    events.TASK_LEASE_LOST: ("took {task} back from a silent holder", "", "warn"),
    events.TASK_RESUMED: ("went on with {task} where a lost worker had left it", "", "warn"),
    events.TASK_BLOCKED: ("holds {task} back", "blocked_reason", "bad"),
    events.TASK_UNBLOCKED: ("lets {task} go on", "", ""),
    events.TASK_RETRIED: ("put {task} up again", "", ""),
    events.TASK_CANCEL_REQUESTED: ("asked to stop {task}", "", "warn"),
    events.TASK_CANCELLED: ("called {task} off", "", "bad"),
}

_TOLD: dict[str, Callable[[Event, dict[str, str]], tuple[str, str, str]]] = {
    events.TICKET_PHASE_CHANGED: _moved,
    events.TICKET_UPDATED: _updated,
    events.TICKET_RESTARTED: _restarted,
    events.TICKET_WAITS: _waits,
    events.RESULT_DECIDED: _decided,
    events.GATE_EVALUATED: _asked,
    events.ARTIFACT_ADDED: _attached,
}
