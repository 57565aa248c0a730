"""Asking a gate: what completed tasks handed in is taken first, the answer is always stored."""

from uuid import UUID

from django.db import transaction

from guardian import metrics
from guardian.authority import Actor
from guardian.errors import NotFound
from guardian.outbox import emit
from phases import events
from phases.gate_asks import asks_something
from phases.gates import Evaluation, evaluate, inputs_digest
from phases.models import Phase, PhaseGateResult, Ticket
from phases.services.gate_checks import ask_questions, entered_at, request_checks
from phases.services.harvest import harvest


@transaction.atomic
def validate_gate(
    *, actor: Actor, ticket_id: UUID, phase: str | None = None
) -> tuple[PhaseGateResult, Evaluation]:
    """Ask the gate of the ticket's phase (or of one by key or id); the answer is always stored.

    What it needs of others it asks for: runs of ours, and people's answers. Raises NotFound.
    """
    ticket = (
        Ticket.objects.select_related("phase", "workflow", "team")
        .filter(pk=ticket_id, team=actor.team)
        .first()
    )
    if ticket is None:
        raise NotFound("There is no such ticket.")
    asked = phase_asked(ticket=ticket, phase=phase)
    left = harvest(ticket)
    # Taken first: a change during the evaluation then counts as one after it.
    inputs = inputs_digest(ticket, asked)
    outcome = evaluate(ticket, asked)
    if ask_questions(ticket=ticket, phase=asked, outcome=outcome):
        inputs = inputs_digest(ticket, asked)
        outcome = evaluate(ticket, asked)
    requested = request_checks(actor=actor, ticket=ticket, phase=asked, outcome=outcome)
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
            "will_go_on": outcome.will_go_on or bool(requested.new),
            "entered_at": entered_at(ticket),
            **({"checks_requested": requested.new} if requested.new else {}),
            **({"checks_left": requested.left} if requested.left else {}),
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


def phase_asked(*, ticket: Ticket, phase: str | None) -> Phase:
    """The phase of the ticket's workflow with this key or id, its own without one.

    Raises NotFound with the keys that there are.
    """
    if not phase:
        return ticket.phase
    phases = list(ticket.workflow.phases.order_by("sequence_order"))
    found = next((p for p in phases if phase in {p.key, str(p.pk)}), None)
    if found is None:
        keys = ", ".join(p.key for p in phases)
        raise NotFound(f"There is no such phase; this workflow has {keys}.")
    return found


def is_answered(*, ticket: Ticket, answer: PhaseGateResult | None) -> bool:
    """Whether asking the gate of the ticket's phase again would tell nothing new.

    It would where what it was asked about has changed, and where it left checks to somebody else
    who asked at that moment: that was perhaps about something older.
    """
    if answer is None or answer.validation_result.get("checks_left"):
        return False
    known: str | None = answer.validation_result.get("inputs")
    return known == inputs_digest(ticket, ticket.phase)


def renew_answer(*, actor: Actor, ticket: Ticket, asks_first: bool) -> None:
    """Ask the gate of the ticket's phase again where what it was asked about has changed.

    So the card, which shows the stored answer, agrees with the panel, which asks afresh. Where the
    gate was not asked in this visit yet, only `asks_first` does; a phase that demands nothing has
    no gate.
    """
    answers = PhaseGateResult.objects.filter(ticket=ticket, phase=ticket.phase, visit=ticket.visit)
    last = answers.order_by("-id").first()
    if last is None:
        asks = asks_first and asks_something(ticket.phase)
    else:
        asks = not is_answered(ticket=ticket, answer=last)
    if asks:
        validate_gate(actor=actor, ticket_id=ticket.pk)
