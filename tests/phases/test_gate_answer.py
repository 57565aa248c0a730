"""The stored answer of a gate: there when all work is done, and as new as the evidence."""

from typing import Any

import pytest

from guardian import relay
from phases import services
from phases.board import cards
from phases.models import PhaseGateArtifact, PhaseGateResult, Task, Ticket

FLOW = "software_development"
DOCUMENT = (
    "# Scope\n" + "what is asked for, word by word " * 30 + "\n# Acceptance criteria\nit works\n"
)


@pytest.fixture
def ticket(team, lead) -> Ticket:
    services.seed_team(team=team)
    return services.open_ticket(actor=lead, title="Retry storm", workflow=FLOW)


def complete(agent) -> None:
    task = services.claim_tasks(actor=agent, capabilities=["analysis"])[0].task
    services.complete_task(actor=agent, task_id=task.pk, fence=task.fence, result={})
    relay.run_once()


def report(actor, ticket: Ticket, content: str = DOCUMENT) -> None:
    services.add_artifact(
        actor=actor,
        ticket_id=ticket.pk,
        artifact_type="requirements_document",
        content=content,
    )
    relay.run_once()


def gate(ticket: Ticket) -> dict[str, Any] | None:
    return cards([ticket.pk])[0]["gate"]


def test_what_is_missing_is_told_when_the_last_task_is_completed(ticket, agent):
    assert gate(ticket) is None

    complete(agent)

    assert Ticket.objects.get().phase.key == "PHASE_REQUIREMENTS"
    assert (gate(ticket)["status"], gate(ticket)["missing"]) == ("failed", 1)


def test_new_evidence_renews_the_answer(ticket, agent, lead):
    complete(agent)

    report(lead, ticket)

    assert gate(ticket)["missing"] == 0


def test_a_confirmed_piece_renews_it_too(ticket, agent, lead, admin):
    complete(agent)
    report(lead, ticket)
    before = gate(ticket)

    services.verify_artifact(
        actor=admin,
        ticket_id=ticket.pk,
        artifact_id=PhaseGateArtifact.objects.get().pk,
        confirm=True,
    )
    relay.run_once()

    assert gate(ticket)["reported"] <= before["reported"]
    assert gate(ticket)["status"] == "passed"


def test_nothing_is_asked_again_while_nothing_changes(ticket, agent):
    complete(agent)
    asked = PhaseGateResult.objects.count()

    services.retry_moves()
    services.retry_moves()

    assert PhaseGateResult.objects.count() == asked == 1


def test_evidence_for_open_work_asks_only_a_gate_that_was_asked_before(ticket, lead):
    report(lead, ticket, "short")
    assert gate(ticket) is None
    services.validate_gate(actor=lead, ticket_id=ticket.pk)
    report(lead, ticket)

    assert Task.objects.get().status == "pending"
    assert PhaseGateResult.objects.count() == 2
