"""Evidence: what somebody reports, what our own runs observed, what a second person confirmed."""

import hashlib
import json
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from guardian.authority import MONITOR, Actor, require_level
from guardian.errors import Invalid, NotFound, SelfReview
from guardian.models import User
from guardian.outbox import emit
from phases import events
from phases.errors import TicketClosed
from phases.models import PhaseGateArtifact, Task, Ticket
from phases.part import require_part
from phases.results import fault_in_content


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
    artifact, new = store(
        ticket=ticket,
        collector=actor.user,
        kind=artifact_type,
        path=path,
        content=content,
        task=task,
    )
    if new:
        tell(artifact, actor)
    else:
        _report_again(artifact)
    return artifact, new


@transaction.atomic
def record_evidence(
    *,
    actor: Actor,
    ticket_id: UUID,
    task_id: UUID,
    artifact_type: str,
    content: Any,
    observation: dict[str, Any],
    path: str = "",
) -> PhaseGateArtifact:
    """Evidence that our own run observed; only the orchestrator may say so.

    `observation`: execution_id, exit_code, isolation, sha256, observed_at.
    Raises NotFound, Invalid.
    """
    task = (
        Task.objects.select_related("ticket", "phase").filter(pk=task_id, team=actor.team).first()
    )
    if task is None or task.ticket_id != ticket_id:
        raise NotFound("There is no such task.")
    seen = {**observation, "sha256": digest(content)}
    artifact, new = store(
        ticket=task.ticket,
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
) -> tuple[PhaseGateArtifact, bool]:
    if reason := fault_in_content(content):
        raise Invalid(path="content", reason=reason)
    return PhaseGateArtifact.objects.get_or_create(
        ticket=ticket,
        phase=task.phase if task else ticket.phase,
        # A run that goes on after its ticket began anew observes what the ticket was about before.
        visit=task.visit if task else ticket.visit,
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
        },
    )


def _observe_again(
    artifact: PhaseGateArtifact, *, actor: Actor, task: Task, observation: dict[str, Any]
) -> None:
    """Our own run saw these bytes, again or for the first time: it is the newest that we know."""
    artifact.source = PhaseGateArtifact.Source.SANDBOX
    artifact.observation = observation
    artifact.collected_by, artifact.verified_by = actor.user, None
    artifact.task = task
    artifact.recorded_at = timezone.now()
    artifact.save(
        update_fields=[
            "source",
            "observation",
            "collected_by",
            "verified_by",
            "task",
            "recorded_at",
            "updated_at",
        ]
    )


def _report_again(artifact: PhaseGateArtifact) -> None:
    """Who goes back to an earlier version means it; what was observed gets no fresher by words."""
    if artifact.is_verified:
        return
    newer = PhaseGateArtifact.objects.filter(
        ticket_id=artifact.ticket_id,
        phase_id=artifact.phase_id,
        visit=artifact.visit,
        artifact_type=artifact.artifact_type,
        recorded_at__gt=artifact.recorded_at,
    )
    if newer.exists():
        artifact.recorded_at = timezone.now()
        artifact.save(update_fields=["recorded_at", "updated_at"])


def tell(artifact: PhaseGateArtifact, actor: Actor | None) -> None:
    emit(
        events.ARTIFACT_ADDED,
        subject=artifact,
        actor=actor,
        ticket_id=str(artifact.ticket_id),
        artifact_type=artifact.artifact_type,
        origin=artifact.source,
    )


@transaction.atomic
def verify_artifact(
    *, actor: Actor, ticket_id: UUID, artifact_id: UUID, confirm: bool
) -> PhaseGateArtifact:
    """A second person confirms or rejects what somebody reported; agents need level 3 for it.

    Raises NotFound, SelfReview, AuthorityTooLow.
    """
    if not actor.is_human:
        require_level(actor, MONITOR)
    artifact = (
        PhaseGateArtifact.objects.select_for_update(of=("self",))
        .filter(pk=artifact_id, ticket_id=ticket_id, team=actor.team)
        .first()
    )
    if artifact is None:
        raise NotFound("There is no such artifact.")
    if artifact.collected_by_id == actor.id:
        raise SelfReview
    if artifact.source != PhaseGateArtifact.Source.SANDBOX:
        artifact.source = (
            PhaseGateArtifact.Source.REVIEWER if confirm else PhaseGateArtifact.Source.REPORTED
        )
        artifact.verified_by = actor.user if confirm else None
        artifact.save(update_fields=["source", "verified_by", "updated_at"])
        tell(artifact, actor)
    return artifact
