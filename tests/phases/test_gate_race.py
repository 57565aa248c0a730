"""A gate's answer counts for a move only while what it was about stays as it was."""

import pytest
from django.db import transaction

from guardian.authority import service_actor
from guardian.models import Event
from phases import services
from phases.errors import GateNotPassed
from phases.gates import evaluate
from phases.models import (
    BoardColumn,
    GateRequirement,
    Phase,
    PhaseGateResult,
    Task,
    Ticket,
)
from tests import factories
from tests.beside import PATIENCE_SECONDS, Beside

REQUIREMENTS = "# Scope\n" + "what is asked for " * 30 + "\n# Acceptance criteria\nit works\n"

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def lead():
    team = factories.make_team()
    services.seed_team(team=team)
    return factories.make_actor(team, "lena", role="operator", authority=4)


@pytest.fixture
def ready_ticket(lead) -> Ticket:
    """A ticket whose gate passes: its task is completed and its document handed in."""
    agent = factories.make_actor(lead.team, "coder-1", role="agent", kind="agent")
    ticket = services.open_ticket(actor=lead, title="x", workflow="software_development")
    task = services.claim_tasks(actor=agent, capabilities=["analysis"])[0].task
    services.add_artifact(
        actor=agent,
        ticket_id=ticket.pk,
        artifact_type="requirements_document",
        content=REQUIREMENTS,
    )
    services.complete_task(actor=agent, task_id=task.pk, fence=task.fence, result={})
    return Ticket.objects.get(pk=ticket.pk)


def move_while(lead, ticket: Ticket, change) -> Beside:
    """Ask the gate, then `change` the ticket before the mover gets the column's lock."""
    with transaction.atomic():
        BoardColumn.objects.select_for_update().get(pk=ticket.column_id)
        mover = Beside(
            lambda: services.transition(actor=lead, ticket_id=ticket.pk, to_phase="PHASE_DESIGN")
        )
        mover.wait_until_blocked()
        change()
    mover.join(PATIENCE_SECONDS)
    return mover


def test_refuses_the_move_when_a_task_appeared_after_the_gate_was_asked(lead, ready_ticket):
    def add_task() -> None:
        services.create_task(actor=lead, ticket=ready_ticket, task_type="more", title="More")

    mover = move_while(lead, ready_ticket, add_task)

    assert isinstance(mover.refusal, GateNotPassed)
    assert mover.refusal.data["unmet"] == ["1 of 2 tasks of this phase are not completed."]
    assert Ticket.objects.get(pk=ready_ticket.pk).phase.key == "PHASE_REQUIREMENTS"
    answers = PhaseGateResult.objects.order_by("id").values_list("gate_status", flat=True)
    assert list(answers) == ["passed", "failed"]


def test_asks_again_and_moves_when_the_change_leaves_the_gate_passed(lead, ready_ticket):
    def add_note() -> None:
        services.add_artifact(
            actor=lead, ticket_id=ready_ticket.pk, artifact_type="note", content="by the way"
        )

    mover = move_while(lead, ready_ticket, add_note)

    assert mover.refusal is None
    moved = Ticket.objects.get(pk=ready_ticket.pk)
    assert moved.phase.key == "PHASE_DESIGN"
    assert PhaseGateResult.objects.filter(gate_status="passed").count() == 2
    assert Event.objects.filter(kind="phases.ticket.phase_changed").count() == 1
    assert Task.objects.still_open().filter(ticket=moved).exists()


def test_a_check_that_was_left_to_who_asked_about_older_code_is_asked_for_later(lead):
    phase = Phase.objects.get(workflow__key="default", key="PHASE_IMPLEMENTATION")
    GateRequirement.objects.filter(phase=phase).delete()
    Phase.objects.filter(pk=phase.pk).update(
        expected_outputs=[], done_definitions=[], entry_task=None
    )
    services.add_requirement(
        actor=lead, phase_id=phase.pk, key="ok", kind="file_exists", parameters={"path": "a.md"}
    )
    ticket = services.open_ticket(actor=lead, title="x", workflow="default", phase=phase.key)
    service_actor(lead.team)  # made beforehand: both ask by it

    def meanwhile() -> None:
        services.add_artifact(
            actor=lead, ticket_id=ticket.pk, artifact_type="code_changes", content={"n": 2}
        )
        services.advance_ticket(ticket_id=ticket.pk)

    with transaction.atomic():
        services.validate_gate(actor=lead, ticket_id=ticket.pk)
        beside = Beside(meanwhile)
        beside.join(PATIENCE_SECONDS)
        assert not beside.is_alive()

    def asked_for() -> list[str]:
        told = Event.objects.filter(kind="phases.gate.check_requested").order_by("created_at")
        return [check["inputs"] for event in told for check in event.data["checks"]]

    [criterion] = evaluate(Ticket.objects.get(pk=ticket.pk)).criteria
    before = asked_for()
    for _ in range(3):
        services.retry_moves()

    assert len(before) == 1
    assert asked_for() == [*before, criterion.check["inputs"]]
