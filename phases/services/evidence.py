"""Evidence: what somebody reports, what our own runs observed, what a second person confirmed."""

import hashlib
import json
from typing import Any
from uuid import UUID

from django.db import transaction

from guardian.authority import Actor
from guardian.errors import Invalid, NotFound, SelfReview
from guardian.outbox import emit
from phases import events
from phases.gates import Evaluation, evaluate, inputs_digest
from phases.models import Phase, PhaseGateArtifact, PhaseGateResult, Task, Ticket

CONTENT_LIMIT_BYTES = 256 * 1024


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

    Raises NotFound, Invalid.
    """
    ticket = Ticket.objects.select_related("phase").filter(pk=ticket_id, team=actor.team).first()
    if ticket is None:
        raise NotFound("There is no such ticket.")
    return _store(
        ticket=ticket, actor=actor, kind=artifact_type, path=path, content=content, task=task
    )


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
    artifact, _ = _store(
        ticket=task.ticket,
        actor=actor,
        kind=artifact_type,
        path=path,
        content=content,
        task=task,
        source=PhaseGateArtifact.Source.SANDBOX,
        observation={**observation, "sha256": digest(content)},
    )
    return artifact


def _store(
    *,
    ticket: Ticket,
    actor: Actor,
    kind: str,
    path: str,
    content: Any,
    task: Task | None,
    source: str = PhaseGateArtifact.Source.REPORTED,
    observation: dict[str, Any] | None = None,
) -> tuple[PhaseGateArtifact, bool]:
    if len(json.dumps(content, ensure_ascii=False).encode()) > CONTENT_LIMIT_BYTES:
        raise Invalid(path="content", reason="must be at most 256 KiB")
    artifact, new = PhaseGateArtifact.objects.get_or_create(
        ticket=ticket,
        phase=task.phase if task else ticket.phase,
        visit=ticket.visit,
        artifact_type=kind,
        artifact_path=path,
        sha256=digest(content),
        defaults={
            "team": ticket.team,
            "artifact_content": content,
            "task": task,
            "collected_by": actor.user,
            "source": source,
            "observation": observation,
        },
    )
    if not new and observation is not None and not artifact.is_verified:
        artifact.source, artifact.observation = source, observation
        artifact.save(update_fields=["source", "observation", "updated_at"])
    if new:
        emit(
            events.ARTIFACT_ADDED,
            subject=artifact,
            actor=actor,
            ticket_id=str(ticket.pk),
            artifact_type=kind,
            origin=source,
        )
    return artifact, new


@transaction.atomic
def verify_artifact(
    *, actor: Actor, ticket_id: UUID, artifact_id: UUID, confirm: bool
) -> PhaseGateArtifact:
    """A second person confirms or rejects what somebody reported.

    Raises NotFound, SelfReview.
    """
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
        emit(
            events.ARTIFACT_ADDED,
            subject=artifact,
            actor=actor,
            ticket_id=str(ticket_id),
            artifact_type=artifact.artifact_type,
            origin=artifact.source,
        )
    return artifact


def harvest(ticket: Ticket) -> None:
    """Take the artifacts that completed tasks of this phase handed in, each once."""
    from guardian.authority import actor_for

    done = Task.objects.filter(ticket=ticket, phase=ticket.phase, status=Task.Status.COMPLETED)
    for task in done.select_related("last_holder", "phase").order_by("completed_at", "id"):
        found = task.result.get("artifacts") if isinstance(task.result, dict) else None
        for item in found if isinstance(found, list) else []:
            if isinstance(item, dict) and item.get("type") and task.last_holder is not None:
                _store(
                    ticket=ticket,
                    actor=actor_for(task.last_holder, ticket.team),
                    kind=str(item["type"])[:64],
                    path=str(item.get("path", ""))[:500],
                    content=item.get("content"),
                    task=task,
                )


@transaction.atomic
def validate_gate(
    *, actor: Actor, ticket_id: UUID, phase: str | None = None
) -> tuple[PhaseGateResult, Evaluation]:
    """Ask the gate of the ticket's phase (or of a named one); the answer is always stored.

    Raises NotFound.
    """
    ticket = (
        Ticket.objects.select_related("phase", "workflow", "team")
        .filter(pk=ticket_id, team=actor.team)
        .first()
    )
    if ticket is None:
        raise NotFound("There is no such ticket.")
    asked = (
        Phase.objects.filter(workflow=ticket.workflow, key=phase).first() if phase else ticket.phase
    )
    if asked is None:
        raise NotFound("There is no such phase.")
    harvest(ticket)
    # Taken first: a change during the evaluation then counts as one after it.
    inputs = inputs_digest(ticket, asked)
    outcome = evaluate(ticket, asked)
    result = PhaseGateResult.objects.create(
        team=ticket.team,
        ticket=ticket,
        phase=asked,
        visit=ticket.visit,
        gate_status=outcome.status,
        evaluation=outcome.evaluation,
        validation_result={
            "requirements": [c.as_dict() for c in outcome.criteria],
            "inputs": inputs,
        },
        blocking_reasons=outcome.reasons,
        validated_by=actor.user,
    )
    emit(
        events.GATE_EVALUATED,
        subject=result,
        actor=actor,
        ticket_id=str(ticket.pk),
        phase=asked.key,
        gate_status=outcome.status,
        evaluation=outcome.evaluation,
    )
    return result, outcome
