"""Asking a gate: what completed tasks handed in is taken first, the answer is always stored."""

from typing import Any
from uuid import UUID

from django.db import DataError, transaction

from guardian import metrics
from guardian.authority import Actor
from guardian.errors import NotFound
from guardian.outbox import emit
from phases import events
from phases.gates import Evaluation, evaluate, inputs_digest
from phases.models import Phase, PhaseGateResult, Task, Ticket
from phases.results import fault_in_artifact
from phases.services.evidence import store, tell


def harvest(ticket: Ticket) -> list[str]:
    """Take the artifacts that completed tasks of this phase handed in, each once.

    Returns in plain words what could not be taken: one odd item must not hold up a ticket.
    """
    left: list[str] = []
    done = Task.objects.of_visit(ticket, ticket.phase).filter(status=Task.Status.COMPLETED)
    for task in done.select_related("last_holder", "phase").order_by("completed_at", "id"):
        found = task.result.get("artifacts") if isinstance(task.result, dict) else None
        for number, item in enumerate(found if isinstance(found, list) else [], start=1):
            if reason := _take(ticket, task, item):
                left.append(f"Artifact {number} of “{task.title}” was left out: {reason}.")
    return left


def _take(ticket: Ticket, task: Task, item: Any) -> str:
    """Store one item; the reason where that cannot be."""
    if fault := fault_in_artifact(item):
        return " ".join(part for part in fault if part)
    if task.last_holder is None:
        return "nobody is known to have handed it in"
    try:
        with transaction.atomic():
            artifact, new = store(
                ticket=ticket,
                # Kept by name even where the holder has left the team since.
                collector=task.last_holder,
                kind=item["type"],
                path=item.get("path", ""),
                content=item.get("content"),
                task=task,
            )
    except DataError:
        return "the database cannot keep it"
    if new:
        tell(artifact, None)
    return ""


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
        keys = ticket.workflow.phases.order_by("sequence_order").values_list("key", flat=True)
        raise NotFound(f"There is no such phase; this workflow has {', '.join(keys)}.")
    left = harvest(ticket)
    # Taken first: a change during the evaluation then counts as one after it.
    inputs = inputs_digest(ticket, asked)
    outcome = evaluate(ticket, asked)
    outcome.notes.extend(left)
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
            "notes": outcome.notes,
        },
        blocking_reasons=outcome.reasons,
        validated_by=actor.user,
    )
    metrics.GATE_RESULTS.on_commit(phase=asked.key, result=outcome.evaluation)
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


def renew_answer(*, actor: Actor, ticket: Ticket, asks_first: bool) -> None:
    """Ask the gate of the ticket's phase again where what it was asked about has changed.

    So the card, which shows the stored answer, agrees with the panel, which asks afresh. Where the
    gate was not asked in this visit yet, only `asks_first` does; a phase that demands nothing has
    no gate.
    """
    answers = PhaseGateResult.objects.filter(ticket=ticket, phase=ticket.phase, visit=ticket.visit)
    last = answers.order_by("-id").first()
    if last is None:
        asks = asks_first and (
            ticket.phase.requirements.exists() or bool(ticket.phase.expected_outputs)
        )
    else:
        known = last.validation_result.get("inputs")
        asks = known != inputs_digest(ticket, ticket.phase)
    if asks:
        validate_gate(actor=actor, ticket_id=ticket.pk)
