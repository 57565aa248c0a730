"""Evidence: what somebody reports, what our own runs observed, what a second person confirmed."""

import hashlib
import json
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from guardian.authority import Actor
from guardian.errors import Invalid, NotFound
from guardian.models import User
from guardian.outbox import emit
from phases import events
from phases.clock import database_now
from phases.errors import TicketClosed
from phases.gate_facts import Facts
from phases.gate_kinds import BY_KEY
from phases.models import PhaseGateArtifact, Task, Ticket
from phases.part import require_part
from phases.results import RESERVED_REMEDY, fault_in_content, reserved_type


def digest(content: Any) -> str:
    """SHA-256 over UTF-8 text, or over canonical JSON (sorted keys, no spaces)."""
    if isinstance(content, str):
        return hashlib.sha256(content.encode()).hexdigest()
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@transaction.atomic
def add_artifact(
    *,
    actor: Actor,
    ticket_id: UUID,
    artifact_type: str,
    path: str = "",
    content: Any = None,
    task: Task | None = None,
) -> tuple[PhaseGateArtifact, bool]:
    """Evidence that somebody reports: (artifact, new). The same bytes again are known.

    Raises NotFound, NotYours, TicketClosed, Invalid.
    """
    ticket = (
        # Locked, so that it does not close between this look and the row.
        Ticket.objects.select_for_update(of=("self",), no_key=True)
        .select_related("phase")
        .filter(pk=ticket_id, team=actor.team)
        .first()
    )
    if ticket is None:
        raise NotFound("There is no such ticket.")
    if not ticket.is_open:
        raise TicketClosed(status=ticket.status)
    require_part(actor=actor, ticket=ticket)
    if artifact_type in BY_KEY:
        raise Invalid(
            path="artifact_type", reason=reserved_type(artifact_type), remedy=RESERVED_REMEDY
        )
    artifact, new = store(
        ticket=ticket,
        collector=actor.user,
        kind=artifact_type,
        path=path,
        content=content,
        task=task,
    )
    if new or report_again(artifact, ticket=ticket, collector=actor.user, task=task):
        tell(artifact, actor)
    return artifact, new


@transaction.atomic
def record_evidence(
    *,
    actor: Actor,
    ticket_id: UUID,
    artifact_type: str,
    content: Any,
    observation: dict[str, Any],
    task_id: UUID | None = None,
    phase_id: UUID | None = None,
    visit: int | None = None,
    path: str = "",
) -> PhaseGateArtifact:
    """Evidence that our own run observed; only the orchestrator may say so.

    It belongs to the phase and visit of its task, or to those named: a run for a gate has no task.
    `observation`: execution_id, exit_code, isolation, sha256, observed_at.
    Raises NotFound, Invalid.
    """
    tasks = Task.objects.select_related("ticket__team", "ticket__phase", "phase")
    task = tasks.filter(pk=task_id, team=actor.team).first() if task_id else None
    if task_id and (task is None or task.ticket_id != ticket_id):
        raise NotFound("There is no such task.")
    ticket = (
        task.ticket
        if task
        else Ticket.objects.select_related("team", "phase")
        .filter(pk=ticket_id, team=actor.team)
        .first()
    )
    if ticket is None:
        raise NotFound("There is no such ticket.")
    seen = {**observation, "sha256": digest(content)}
    artifact, new = store(
        ticket=ticket,
        phase_id=phase_id,
        visit=visit,
        collector=actor.user,
        kind=artifact_type,
        path=path,
        content=content,
        task=task,
        source=PhaseGateArtifact.Source.SANDBOX,
        observation=seen,
    )
    if not new:
        _observe_again(artifact, actor=actor, task=task, observation=seen)
    tell(artifact, actor)
    return artifact


def store(
    *,
    ticket: Ticket,
    collector: User,
    kind: str,
    path: str,
    content: Any,
    task: Task | None,
    source: str = PhaseGateArtifact.Source.REPORTED,
    observation: dict[str, Any] | None = None,
    phase_id: UUID | None = None,
    visit: int | None = None,
    recorded_at: datetime | None = None,
) -> tuple[PhaseGateArtifact, bool]:
    """One piece under its phase, visit, type, path and digest: (it, new). Raises Invalid."""
    if reason := fault_in_content(content):
        raise Invalid(path="content", reason=reason)
    return PhaseGateArtifact.objects.get_or_create(
        ticket=ticket,
        phase_id=phase_id or (task.phase_id if task else ticket.phase_id),
        # A run that goes on after its ticket began anew observes what the ticket was about before.
        visit=visit or (task.visit if task else ticket.visit),
        artifact_type=kind,
        artifact_path=path,
        sha256=digest(content),
        defaults={
            "team": ticket.team,
            "artifact_content": content,
            "task": task,
            "collected_by": collector,
            "source": source,
            "observation": observation,
            "recorded_at": recorded_at or database_now(),
        },
    )


def _observe_again(
    artifact: PhaseGateArtifact, *, actor: Actor, task: Task | None, observation: dict[str, Any]
) -> None:
    """Our own run saw these bytes, again or for the first time: it is the newest that we know."""
    artifact.source = PhaseGateArtifact.Source.SANDBOX
    artifact.observation = observation
    artifact.collected_by, artifact.verified_by = actor.user, None
    artifact.rejected_by, artifact.rejected_note = None, ""
    artifact.task = task
    artifact.recorded_at = database_now()
    artifact.save(update_fields=_WRITTEN)


_WRITTEN = (
    "source", "observation", "collected_by", "verified_by", "rejected_by", "rejected_note", "task",
    "recorded_at", "updated_at",
)  # fmt: skip


def report_again(
    artifact: PhaseGateArtifact,
    *,
    ticket: Ticket,
    collector: User,
    task: Task | None,
    at: datetime | None = None,
) -> bool:
    """The same bytes are handed in again; whether that is news, as of `at`.

    It is where newer code made them stale, and where others of their type came after them: who
    goes back to an earlier version means it. Then it is said anew, so what others confirmed of it
    is confirmed anew too. What our own run observed of what is there now gets no fresher by words.
    """
    facts = Facts(ticket, artifact.phase)
    if artifact.rejected_by_id and not facts.is_before_newest_code(artifact):
        return False  # saying it once more does not answer who said no
    if facts.is_fresh(artifact):
        if artifact.source == PhaseGateArtifact.Source.SANDBOX or not _has_newer(artifact):
            return False
    elif artifact.visit != ticket.visit:
        return False
    artifact.source = PhaseGateArtifact.Source.REPORTED
    artifact.observation = artifact.verified_by = artifact.rejected_by = None
    artifact.rejected_note = ""
    artifact.collected_by, artifact.task = collector, task
    artifact.recorded_at = at or database_now()
    artifact.save(update_fields=_WRITTEN)
    return True


def _has_newer(artifact: PhaseGateArtifact) -> bool:
    newer = PhaseGateArtifact.objects.filter(
        ticket_id=artifact.ticket_id,
        phase_id=artifact.phase_id,
        visit=artifact.visit,
        artifact_type=artifact.artifact_type,
        recorded_at__gt=artifact.recorded_at,
    )
    return newer.exists()


def tell(artifact: PhaseGateArtifact, actor: Actor | None) -> None:
    emit(
        events.ARTIFACT_ADDED,
        subject=artifact,
        actor=actor,
        reason=artifact.rejected_note,
        ticket_id=str(artifact.ticket_id),
        artifact_type=artifact.artifact_type,
        origin="rejected" if artifact.rejected_by_id else artifact.source,
    )
