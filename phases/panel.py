"""The read model of a ticket's panel: overview, tasks, evidence, timeline in one go."""

import json
from typing import Any

from django.conf import settings
from django.utils import timezone

from guardian.authority import MONITOR, Actor
from guardian.stops import stop_of
from phases.gates import Criterion, Evaluation, evaluate
from phases.models import Phase, PhaseGateArtifact, Task, Ticket, Workflow
from phases.panel_rounds import reviews_of, rounds, told_reviews
from phases.timeline import ended, timeline
from phases.why import is_for_its_source, why

CONTENT_SHOWN = 40_000
THIN_SPACE = "\u202f"  # groups digits and never breaks the line
# Figures are told in this order, others behind them by name.
_FIRST = ("files", "bytes", "total", "passed", "failed", "errors", "skipped", "exit_code")
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
        .select_related("phase", "collected_by", "verified_by")
        .order_by("-recorded_at", "-id")[:50]
    )
    # A blocked ticket is asked again by the gate it was stopped at.
    stopped = ticket.is_blocked and ticket.previous_phase is not None
    asked_by = ticket.previous_phase if stopped else ticket.phase
    gate = evaluate(ticket, asked_by)
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
        "gate": _gate(asked_by or ticket.phase, ticket.workflow, gate, artifacts, actor)
        | {"open": ticket.is_open and ticket.phase.kind == Phase.Kind.WORK},
        "artifacts": [_artifact(a, ticket) for a in artifacts],
        "report": _report(ticket, artifacts),
        "timeline": timeline(ticket, tasks),
        **rounds(ticket, tasks, actor),
        "tabs": settings.PANEL_TABS,
        "may_edit": may_write and ticket.is_open,
        "may_fail": may_retry and ticket.is_open,
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


def _leads_to(phase: Phase, workflow: Workflow) -> str:
    """The phase that opens when this one's gate is passed; its column may be the same."""
    ahead = [
        p
        for p in workflow.phases.all()
        if p.key in phase.allowed_transitions
        and p.kind != Phase.Kind.BLOCKED
        and p.sequence_order > phase.sequence_order
    ]
    return min(ahead, key=lambda p: p.sequence_order).name if ahead else ""


def _gate(
    phase: Phase,
    workflow: Workflow,
    gate: Evaluation,
    artifacts: list[PhaseGateArtifact],
    actor: Actor,
) -> dict[str, Any]:
    by_id = {str(a.pk): a for a in artifacts}
    rows = [_criterion(c, by_id.get(c.artifact_id or ""), actor) for c in gate.criteria]
    return {
        "rows": rows,
        "to": _leads_to(phase, workflow),
        "verified": sum(r["met"] and r["level"] == "verified" for r in rows),
        "reported": sum(r["level"] == "reported" for r in rows),
        "passed": gate.passed,
    }


def _criterion(
    criterion: Criterion, artifact: PhaseGateArtifact | None, actor: Actor
) -> dict[str, Any]:
    level = "stale" if criterion.stale else criterion.level
    badge = level
    if not criterion.met and level not in {"reported", "stale"}:
        level, badge = "none", "missing" if criterion.missing else "not met"
    return {
        "name": criterion.key.replace("_", " "),
        "required": criterion.required,
        "met": criterion.met,
        "level": level,
        "badge": badge,
        "tone": {"verified": "ok", "reported": "warn", "stale": "warn"}.get(level, ""),
        "reason": criterion.reason,
        "observer": observer(artifact) if artifact else "",
        "facts": facts(artifact) if artifact else "",
        "artifact_id": criterion.artifact_id,
        "may_confirm": artifact is not None
        and not artifact.is_verified
        and artifact.collected_by_id != actor.id
        and actor.has_scope("approvals:decide"),
    }


def observer(artifact: PhaseGateArtifact) -> str:
    """Who says so, in words."""
    seen = artifact.observation or {}
    if artifact.source == PhaseGateArtifact.Source.SANDBOX:
        parts = [_how(seen)]
        if seen.get("exit_code") is not None:
            parts.append(f"exit {seen['exit_code']}")
        if seen.get("execution_id"):
            parts.append(f"execution {str(seen['execution_id'])[:8]}…")
        return ", ".join(parts)
    if artifact.verified_by is not None:
        return f"reported by {artifact.collected_by.name}, confirmed by {artifact.verified_by.name}"
    return f"reported by {artifact.collected_by.name}"


_WHERE = {
    "container": "in a container",
    "bwrap+": "in bubblewrap with counted limits",
    "bwrap": "in bubblewrap",
    "none": "without a sandbox",
}


def _how(seen: dict[str, Any]) -> str:
    """What our own run did with the source, and what stood between it and the host."""
    if "composed_from" in seen:
        return "composed by Lemnos of what its own runs observed"
    where = _WHERE.get(str(seen.get("isolation")), "at an unknown isolation level")
    ran = seen.get("ran_the_source")
    if ran is None:
        return f"observed by Lemnos {where}"
    return f"run by Lemnos {where}" if ran else f"read by Lemnos, not run, {where}"


def facts(artifact: PhaseGateArtifact) -> str:
    """The figures of a piece of evidence in one line."""
    content = artifact.artifact_content
    if isinstance(content, str):
        return f"{len(content):,} characters".replace(",", THIN_SPACE)
    if not isinstance(content, dict):
        return ""
    plain = [
        f"{name.replace('_', ' ')} {_figure(value)}"
        for name, value in sorted(content.items(), key=_rank)
        if isinstance(value, (int, float, str, bool)) and len(str(value)) <= 40
    ]
    return " · ".join(plain[:6])


def _rank(item: tuple[str, Any]) -> tuple[int, str]:
    name = item[0]
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)


def _figure(value: float | str | bool) -> str:  # noqa: FBT001  a value to show
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}".replace(",", THIN_SPACE) if isinstance(value, int) else str(value)


def _artifact(artifact: PhaseGateArtifact, ticket: Ticket) -> dict[str, Any]:
    level = "verified" if artifact.is_verified else "reported"
    if artifact.visit < ticket.fresh_from_visit:
        level = "stale"  # about what the ticket was about before
    content = artifact.artifact_content
    text = content if isinstance(content, str) else json.dumps(content, indent=2)
    return {
        "row": artifact,
        "name": artifact.artifact_type.replace("_", " "),
        "observer": observer(artifact),
        "facts": facts(artifact),
        "level": level,
        "tone": "ok" if level == "verified" else "warn",
        "is_prose": isinstance(content, str),
        "text": text[:CONTENT_SHOWN],
        "cut": len(text) > CONTENT_SHOWN,
    }


def _report(ticket: Ticket, artifacts: list[PhaseGateArtifact]) -> str:
    """The text a finished ticket was for; not one about what it was about before it restarted."""
    if ticket.status != Ticket.Status.COMPLETED:
        return ""
    of_now = [a for a in artifacts if a.visit >= ticket.fresh_from_visit]
    reports = [a for a in of_now if a.artifact_type == "report"]
    # What Lemnos observed comes before what somebody said, however late.
    found = max(reports, key=lambda a: (a.is_verified, a.recorded_at), default=None)
    content = found.artifact_content if found else ""
    return content[:CONTENT_SHOWN] if isinstance(content, str) else ""


def _retry_to(ticket: Ticket) -> Phase | None:
    if ticket.is_open and ticket.phase.kind == Phase.Kind.BLOCKED:
        return ticket.previous_phase
    return None
