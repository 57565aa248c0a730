"""The read model of a ticket's panel: overview, tasks, evidence, timeline in one go."""

from typing import Any

from django.conf import settings
from django.utils import timezone

from guardian.authority import MONITOR, Actor
from guardian.stops import stop_of
from phases.board import cards
from phases.gate_facts import authors_of
from phases.gates import Evaluation, evaluate
from phases.models import Phase, PhaseGateArtifact, Task, Ticket
from phases.panel_evidence import report_of, told_artifact, told_gate
from phases.panel_rounds import reviews_of, rounds, told_reviews
from phases.timeline import ended, timeline
from phases.why import is_for_its_source, why

_TONES = {
    "completed": "ok",
    "failed": "bad",
    "blocked": "bad",
    "running": "info",
    "assigned": "info",
    "needs_work": "warn",
}


def panel(ticket: Ticket, actor: Actor) -> dict[str, Any]:
    """What the panel's template shows; `ticket` comes with its phases prefetched."""
    tasks = list(
        Task.objects.filter(ticket=ticket)
        .select_related("phase", "holder", "last_holder")
        .order_by("phase__sequence_order", "id")[:200]
    )
    artifacts = list(
        PhaseGateArtifact.objects.filter(ticket=ticket)
        .select_related("phase", "collected_by", "verified_by", "rejected_by")
        .order_by("-recorded_at", "-id")[:50]
    )
    # A blocked ticket is asked again by the gate it was stopped at.
    stopped = ticket.is_blocked and ticket.previous_phase is not None
    asked_by = ticket.previous_phase if stopped else ticket.phase
    gate = evaluate(ticket, asked_by)
    shut = asked_by or ticket.phase
    authors = authors_of(Task.objects.of_visit(ticket, shut))
    may_write = actor.has_scope("tickets:write") and actor.can_write
    may_retry = may_write and actor.authority >= MONITOR
    # Out of Blocked, the ticket's own retry puts its failed tasks up again.
    retries = may_retry and not ticket.is_blocked
    reviews = reviews_of(tasks)
    shown = [
        _task(task, ticket, retries)
        | told_reviews(task, reviews.get(task.pk, []), actor)
        | {"may_stop": _may_stop(task, ticket, actor, may_write)}
        for task in tasks
    ]
    return {
        "ticket": ticket,
        "card": cards([ticket.pk])[0],
        "steps": _steps(ticket),
        "why": why(
            ticket,
            tasks,
            gate,
            now=timezone.now(),
            stopped=stop_of(ticket.team_id),
            ended=ended(ticket),
        ),
        "tasks": [task for task in shown if not task["is_of_before"]],
        "tasks_of_before": [task for task in shown if task["is_of_before"]],
        **_count(ticket, tasks),
        "gate": told_gate(shut, ticket.workflow, gate, artifacts, actor=actor, authors=authors)
        | {"open": ticket.is_open and ticket.phase.kind == Phase.Kind.WORK},
        "artifacts": [told_artifact(a, ticket) for a in artifacts],
        "report": report_of(ticket, artifacts),
        "timeline": timeline(ticket, tasks),
        **rounds(ticket, tasks, actor),
        "tabs": settings.PANEL_TABS,
        "may_edit": may_write and ticket.is_open,
        "may_fail": may_retry and ticket.is_open,
        "on_to": _on_to(ticket, tasks, gate),
        "retry_to": _retry_to(ticket) if may_write else None,
        "source_is_the_cause": is_for_its_source(ticket, tasks, gate),
        "may_write": may_write,
        "may_cancel": may_write
        and ticket.is_open
        and (ticket.created_by_id == actor.id or actor.authority >= MONITOR),
        "may_replace": may_write
        and ticket.is_blocked
        and ticket.is_open
        and ticket.workflow.asks_source,
        "may_reopen": may_write
        and ticket.status in {Ticket.Status.FAILED, Ticket.Status.CANCELLED}
        and actor.authority >= MONITOR,
        "is_mine": ticket.assignee_id == actor.id,
    }


def _on_to(ticket: Ticket, tasks: list[Task], gate: Evaluation) -> Phase | None:
    """The next phase, where nothing but a person's word keeps the ticket from it."""
    here = ticket.phase
    busy = any(task.is_open and task.phase_id == here.pk for task in tasks)
    if busy or not gate.passed or not ticket.is_approved or here.kind != Phase.Kind.WORK:
        return None
    ahead = (
        phase
        for phase in ticket.workflow.phases.all()
        if phase.key in here.allowed_transitions
        and phase.kind != Phase.Kind.BLOCKED
        and phase.sequence_order > here.sequence_order
    )
    return min(ahead, key=lambda phase: phase.sequence_order, default=None)


def _may_stop(task: Task, ticket: Ticket, actor: Actor, may_write: bool) -> bool:  # noqa: FBT001  a private helper
    owns = ticket.created_by_id == actor.id or actor.authority >= MONITOR
    return may_write and owns and task.is_open and task.cancel_deadline is None


def _steps(ticket: Ticket) -> list[dict[str, str]]:
    """The way from the first phase to done; Blocked marks the step it was thrown out of."""
    phases = sorted(ticket.workflow.phases.all(), key=lambda p: p.sequence_order)
    blocked = ticket.phase.kind == Phase.Kind.BLOCKED
    at = ticket.previous_phase if blocked and ticket.previous_phase else ticket.phase
    first = next(p for p in phases if p.key == ticket.workflow.initial_phase)
    begins = min(first.sequence_order, at.sequence_order)
    steps = []
    for phase in phases:
        if phase.kind == Phase.Kind.BLOCKED or phase.sequence_order < begins:
            continue
        state = "ahead"
        if phase.sequence_order < at.sequence_order or ticket.status == "completed":
            state = "passed"
        elif phase.pk == at.pk:
            state = "stuck" if blocked and ticket.is_open else "here"
        steps.append({"name": phase.name, "state": state})
    return steps


def _count(ticket: Ticket, tasks: list[Task]) -> dict[str, int]:
    """As the card counts them: without those called off and those of before a restart."""
    of_now = [t for t in tasks if t.visit >= ticket.fresh_from_visit]
    counted = [t.status for t in of_now if t.status not in {"cancelled", "duplicated"}]
    return {"tasks_done": counted.count("completed"), "tasks_counted": len(counted)}


def _task(task: Task, ticket: Ticket, may_retry: bool) -> dict[str, Any]:  # noqa: FBT001  a private helper
    is_of_before = task.visit < ticket.fresh_from_visit
    return {
        "row": task,
        "tone": "" if is_of_before else _TONES.get(task.status, ""),
        "word": task.get_status_display().replace("_", " "),
        "person": task.holder or task.last_holder,
        "percent": round(task.progress * 100),
        "is_of_before": is_of_before,
        "summary": str(task.result.get("summary", "")) if isinstance(task.result, dict) else "",
        "may_retry": may_retry and not is_of_before and task.status in {"failed", "cancelled"},
    }


def _retry_to(ticket: Ticket) -> Phase | None:
    if ticket.is_open and ticket.phase.kind == Phase.Kind.BLOCKED:
        return ticket.previous_phase
    return None
