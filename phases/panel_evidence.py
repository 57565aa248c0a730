"""What the panel shows of gates and evidence: requirements, who observed them, their figures."""

import json
from typing import Any
from uuid import UUID

from guardian.authority import Actor
from phases.gate_kinds import CHECKS
from phases.gates import Criterion, Evaluation
from phases.models import GateRequirement, Phase, PhaseGateArtifact, Ticket, Workflow

CONTENT_SHOWN = 40_000
THIN_SPACE = "\u202f"  # groups digits and never breaks the line
# Figures are told in this order, others behind them by name.
_FIRST = ("files", "bytes", "total", "passed", "failed", "errors", "skipped", "exit_code")


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


def told_gate(
    phase: Phase,
    workflow: Workflow,
    gate: Evaluation,
    artifacts: list[PhaseGateArtifact],
    *,
    actor: Actor,
    authors: set[UUID],
) -> dict[str, Any]:
    """`authors` did the phase's work: they are not offered to confirm it."""
    by_id = {str(a.pk): a for a in artifacts}
    rows = [_criterion(c, by_id.get(c.artifact_id or ""), actor, authors) for c in gate.criteria]
    return {
        "rows": rows,
        "to": _leads_to(phase, workflow),
        "verified": sum(r["met"] and r["level"] == "verified" for r in rows),
        "reported": sum(r["level"] == "reported" for r in rows),
        "passed": gate.passed,
    }


def _criterion(
    criterion: Criterion, artifact: PhaseGateArtifact | None, actor: Actor, authors: set[UUID]
) -> dict[str, Any]:
    level = "stale" if criterion.stale else criterion.level
    badge = level
    asks = criterion.kind == GateRequirement.Kind.MANUAL and bool(criterion.artifact_id)
    refused = criterion.check is not None and criterion.check["state"] == "refused"
    if not criterion.met and level not in {"reported", "stale"}:
        level, badge = "none", "missing" if criterion.missing else "not met"
    may_confirm = (
        artifact is not None
        and not asks
        and artifact.artifact_type not in CHECKS
        and not artifact.is_verified
        and artifact.collected_by_id != actor.id
        and actor.id not in authors
        and actor.has_scope("approvals:decide")
    )
    return {
        "name": criterion.key.replace("_", " "),
        "question": criterion.question,
        "awaited": "" if criterion.met or refused else _AWAITED.get(criterion.waits_for, ""),
        "may_answer": asks
        and not criterion.met
        and actor.is_human
        and actor.can_write
        and actor.has_scope("approvals:decide"),
        "required": criterion.required,
        "met": criterion.met,
        "level": level,
        "badge": badge,
        "tone": {"verified": "ok", "reported": "warn", "stale": "warn"}.get(level, ""),
        "reason": criterion.reason,
        "observer": observer(artifact) if artifact else "",
        "facts": facts(artifact) if artifact else "",
        "artifact_id": criterion.artifact_id,
        "may_confirm": may_confirm,
        "may_reject": may_confirm and artifact is not None and artifact.rejected_by_id is None,
    }


# What lacks and comes by others or by itself.
_AWAITED = {
    "check": "being checked by a run of ours",
    "review": "waits for a review",
    "answer": "waits for a person's answer",
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
    if artifact.rejected_by is not None:
        note = f": {artifact.rejected_note}" if artifact.rejected_note else ""
        by = f"rejected by {artifact.rejected_by.name}{note}"
        return f"reported by {artifact.collected_by.name}, {by}"
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


def told_artifact(artifact: PhaseGateArtifact, ticket: Ticket) -> dict[str, Any]:
    level = "verified" if artifact.is_verified else "reported"
    if artifact.rejected_by_id:
        level = "rejected"
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


def report_of(ticket: Ticket, artifacts: list[PhaseGateArtifact]) -> str:
    """The text a finished ticket was for; not one about what it was about before it restarted."""
    if ticket.status != Ticket.Status.COMPLETED:
        return ""
    of_now = [a for a in artifacts if a.visit >= ticket.fresh_from_visit]
    reports = [a for a in of_now if a.artifact_type == "report"]
    # What Lemnos observed comes before what somebody said, however late.
    found = max(reports, key=lambda a: (a.is_verified, a.recorded_at), default=None)
    content = found.artifact_content if found else ""
    return content[:CONTENT_SHOWN] if isinstance(content, str) else ""
