"""Results and discoveries are answered by buttons: with a reason, and never one's own result."""

import pytest
from django.test import Client
from django.urls import reverse

from phases import services as phases
from phases.models import TaskDiscovery, Ticket, Workflow, WorkflowResult

REASON = "Looked at it this morning."


@pytest.fixture
def held(team, lead, agent):
    phases.seed_team(team=team)
    flow = Workflow.objects.get(team=team, key="software_development")
    flow.has_result = True
    flow.save()
    phases.open_ticket(actor=lead, title="Find the leak", workflow=flow.key)
    return phases.claim_tasks(actor=agent, capabilities=["analysis"])[0].task


@pytest.fixture
def result(held, agent) -> WorkflowResult:
    return phases.submit_result(actor=agent, ticket_id=held.ticket_id, summary="It is the stern")


@pytest.fixture
def discovery(held, agent) -> TaskDiscovery:
    found, _ = phases.record_discovery(
        actor=agent, source_task=held.pk, discovery_type="bug", description="The pump hums"
    )
    return found


def press(actor, row, verb: str):
    """As a browser does: open the page that asks, then send its form."""
    client = Client()
    client.force_login(actor.user)
    name = f"admin:phases_{row._meta.model_name}_press"
    url = reverse(name, args=[row.pk, verb])
    seen = (client.get(url).context or {}).get("seen", "")
    return client.post(url, {"reason": REASON, "seen": seen}, follow=True)


@pytest.mark.parametrize(
    ("verb", "status", "ticket"),
    [("validate", "validated", "completed"), ("reject", "rejected", "in_progress")],
)
def test_a_result_is_decided_and_may_end_its_ticket(admin, result, verb, status, ticket):
    phases.start_ticket(ticket_id=result.ticket_id)

    press(admin, result, verb)

    result = WorkflowResult.objects.get()
    assert (result.status, result.decided_by_id, result.reason) == (status, admin.id, REASON)
    assert Ticket.objects.get().status == ticket


def test_nobody_decides_about_a_result_of_their_own(admin, held, agent):
    phases.release_task(actor=agent, task_id=held.pk, fence=held.fence, reason="yours now")
    phases.claim_tasks(actor=admin, capabilities=["analysis"])
    own = phases.submit_result(actor=admin, ticket_id=held.ticket_id, summary="Mine")

    press(admin, own, "validate")

    assert WorkflowResult.objects.get().status == "pending_validation"


@pytest.mark.parametrize(("verb", "status"), [("resolve", "resolved"), ("invalidate", "invalid")])
def test_a_discovery_is_settled_once(admin, discovery, verb, status):
    press(admin, discovery, verb)
    again = press(admin, discovery, verb)

    row = TaskDiscovery.objects.get()
    assert (row.resolution_status, row.metadata["resolution"]["note"]) == (status, REASON)
    [told] = [str(message) for message in again.context["messages"]]
    assert "present state" in told


@pytest.mark.parametrize("verb", ["validate", "reject"])
def test_who_may_not_decide_changes_nothing(viewer, outsider, result, verb):
    for stranger in (viewer, outsider):
        assert press(stranger, result, verb).status_code in {403, 404}
    assert WorkflowResult.objects.get().status == "pending_validation"
