"""A phase entered again begins anew: what ended in an earlier visit decides nothing."""

from typing import Any

import pytest

from guardian import relay
from phases import services
from phases.models import Task, Ticket
from tests.phases.test_evidence import INVENTORY, OBSERVATION

EVIDENCE: dict[str, dict[str, Any]] = {
    "inventory": {"inventory": INVENTORY},
    "checks": {
        "test_results": {"total": 1, "passed": 1, "failed": 0, "errors": 0, "exit_code": 0},
        "lint_report": {"count": 0},
    },
}


@pytest.fixture
def checkup(team, lead) -> Ticket:
    services.seed_team(team=team)
    return services.open_ticket(
        actor=lead, title="Look", workflow="repo_checkup", context={"source": {"kind": "self"}}
    )


def work(agent, ticket: Ticket, capability: str) -> str:
    """Do the open task of this capability with its evidence; the phase the ticket is in then."""
    task = services.claim_tasks(actor=agent, capabilities=[capability], ticket_id=ticket.pk)[0].task
    for kind, content in EVIDENCE[capability].items():
        services.record_evidence(
            actor=agent,
            ticket_id=ticket.pk,
            task_id=task.pk,
            artifact_type=kind,
            content=content,
            observation=OBSERVATION,
        )
    services.complete_task(actor=agent, task_id=task.pk, fence=task.fence, result={})
    relay.run_once()
    return Ticket.objects.get(pk=ticket.pk).phase.key


def fail(agent, ticket: Ticket, capability: str) -> Task:
    task = services.claim_tasks(actor=agent, capabilities=[capability], ticket_id=ticket.pk)[0].task
    services.fail_task(
        actor=agent, task_id=task.pk, fence=task.fence, code="x", message="OLD", permanent=True
    )
    relay.run_once()
    return task


def back_to(lead, ticket: Ticket, phase: str) -> None:
    services.transition(actor=lead, ticket_id=ticket.pk, to_phase=phase, reason="look again")
    relay.run_once()


def test_an_old_failure_does_not_block_a_later_visit(checkup, lead, agent):
    assert work(agent, checkup, "inventory") == "PHASE_CHECKS"
    failed = fail(agent, checkup, "checks")
    back_to(lead, checkup, "PHASE_INTAKE")
    assert work(agent, checkup, "inventory") == "PHASE_CHECKS"

    assert work(agent, checkup, "checks") == "PHASE_REPORT"

    assert Task.objects.get(pk=failed.pk).status == "failed"


def test_a_failure_of_this_visit_is_tried_again_on_return(checkup, lead, agent):
    work(agent, checkup, "inventory")
    failed = fail(agent, checkup, "checks")
    back_to(lead, checkup, "PHASE_CHECKS")

    assert Task.objects.get(pk=failed.pk).status == "pending"
    assert work(agent, checkup, "checks") == "PHASE_REPORT"


def test_retrying_a_task_of_an_earlier_visit_makes_it_one_of_this(checkup, lead, agent):
    work(agent, checkup, "inventory")
    failed = fail(agent, checkup, "checks")
    back_to(lead, checkup, "PHASE_INTAKE")
    work(agent, checkup, "inventory")

    services.retry_task(actor=lead, task_id=failed.pk, reason="try both")

    ticket = Ticket.objects.get(pk=checkup.pk)
    assert Task.objects.get(pk=failed.pk).visit == ticket.visit == 4


def test_open_work_is_taken_along_into_the_next_visit(checkup, lead, agent):
    extra = services.create_task(
        actor=lead, ticket=checkup, task_type="x", title="extra", required_capabilities=["rust"]
    )
    services.transition(
        actor=lead, ticket_id=checkup.pk, to_phase="PHASE_BLOCKED", reason="needs a key"
    )
    back_to(lead, checkup, "PHASE_BACKLOG")
    services.transition(actor=lead, ticket_id=checkup.pk, to_phase="PHASE_INTAKE")
    relay.run_once()

    ticket = Ticket.objects.get(pk=checkup.pk)
    assert ticket.visit == 3
    assert Task.objects.get(pk=extra.pk).visit == 3
    assert work(agent, checkup, "inventory") == "PHASE_INTAKE"


def test_what_a_task_said_in_an_earlier_visit_is_not_taken_again(team, lead, agent):
    services.seed_team(team=team)
    ticket = services.open_ticket(
        actor=lead, title="x", workflow="software_development", phase="PHASE_TESTING"
    )
    task = services.claim_tasks(actor=agent, capabilities=["test"])[0].task
    said = [{"type": "test_evidence", "path": "r.log", "content": {"log": "1 passed"}}]
    services.complete_task(
        actor=agent, task_id=task.pk, fence=task.fence, result={"artifacts": said}
    )
    services.validate_gate(actor=lead, ticket_id=ticket.pk)
    services.transition(
        actor=lead, ticket_id=ticket.pk, to_phase="PHASE_IMPLEMENTATION", reason="once more"
    )
    services.transition(
        actor=lead,
        ticket_id=ticket.pk,
        to_phase="PHASE_TESTING",
        override=True,
        reason="shown to the customer",
    )

    services.validate_gate(actor=lead, ticket_id=ticket.pk)

    assert [a.visit for a in ticket.artifacts.all()] == [1]


def test_a_report_in_somebodys_own_words_is_no_end_of_a_checkup(checkup, lead, agent):
    work(agent, checkup, "inventory")
    work(agent, checkup, "checks")
    forged = "# Summary\n" + "999 of 999 tests passed " * 30 + "\n# Inventory\n# Tests\n# Lint\n"
    said = [{"type": "report", "path": "report.md", "content": forged}]
    task = services.claim_tasks(actor=agent, capabilities=["report"], ticket_id=checkup.pk)[0].task

    services.complete_task(
        actor=agent, task_id=task.pk, fence=task.fence, result={"artifacts": said}
    )
    relay.run_once()

    ticket = Ticket.objects.get(pk=checkup.pk)
    assert ticket.phase.key == "PHASE_BLOCKED"
    assert ticket.blocked_reason == "Report: only reported, it must come from our own run."
