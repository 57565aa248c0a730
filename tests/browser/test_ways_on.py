"""People move tickets on by phase, also within one column, and see tickets below the fold."""

import pytest
from playwright.sync_api import expect

from phases import services
from phases.models import Ticket
from tests.browser.conftest import card, column
from tests.phases.test_life import REQUIREMENTS

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

FLOW = "software_development"
BOARD = f"/board/{FLOW}"


@pytest.fixture
def analysed(team, lead, agent) -> Ticket:
    """Its requirements are written; nothing but somebody's word keeps it from Design."""
    services.seed_team(team=team)
    ticket = services.open_ticket(actor=lead, title="Retry storm", workflow=FLOW)
    task = services.claim_tasks(actor=agent, capabilities=["analysis"])[0].task
    services.add_artifact(
        actor=agent,
        ticket_id=ticket.pk,
        artifact_type="requirements_document",
        path="docs/requirements.md",
        content=REQUIREMENTS,
    )
    services.complete_task(actor=agent, task_id=task.pk, fence=task.fence, result={})
    return ticket


def test_a_button_leads_on_to_the_next_phase_of_the_same_column(visit, lead, analysed):
    page = visit(lead, f"{BOARD}/tickets/{analysed.number}")
    panel = page.get_by_role("complementary", name="Ticket")

    panel.get_by_role("button", name="Move on to Design").click()

    expect(panel.locator("[aria-current=step]")).to_have_text("Design")
    expect(card(column(page, "Analyzing"), "Retry storm")).to_contain_text("Design")
    expect(panel.get_by_role("button", name="Move on to")).to_have_count(0)
    assert Ticket.objects.get().phase.key == "PHASE_DESIGN"


def test_the_dialog_names_the_phase_and_is_driven_by_keyboard(visit, lead, analysed):
    page = visit(lead, BOARD)
    card(column(page, "Analyzing"), "Retry storm").get_by_role("link").focus()

    page.keyboard.press("m")
    dialog = page.get_by_role("dialog", name="Move LEM-1")
    expect(dialog.get_by_label("Design")).to_be_focused()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")

    expect(card(column(page, "Analyzing"), "Retry storm")).to_contain_text("Design")
    expect(card(column(page, "Analyzing"), "Retry storm").get_by_role("link")).to_be_focused()
    assert Ticket.objects.get().phase.key == "PHASE_DESIGN"


def test_a_ticket_below_the_first_fifty_is_as_alive_as_any(visit, team, lead):
    services.seed_team(team=team)
    for n in range(54):
        services.open_ticket(actor=lead, title=f"Ticket {n}", workflow=FLOW, phase="PHASE_BACKLOG")
    last = Ticket.objects.order_by("-number")[0]
    page = visit(lead, f"{BOARD}/tickets/{last.number}")
    panel = page.get_by_role("complementary", name="Ticket")
    expect(card(column(page, "Backlog"), last.title)).to_have_count(0)

    panel.get_by_role("button", name="Assign me").click()
    expect(panel.get_by_role("button", name="Assign me")).to_have_count(0)
    services.update_ticket(
        actor=lead, ticket_id=last.pk, version=None, changes={"title": "Called otherwise"}
    )
    expect(panel.get_by_role("heading", name="Called otherwise")).to_be_visible()

    panel.get_by_role("button", name="Move to…").click()
    dialog = page.get_by_role("dialog", name=f"Move LEM-{last.number}")
    dialog.get_by_label("Analyzing").check()
    dialog.get_by_role("button", name="Move", exact=True).click()
    expect(card(column(page, "Analyzing"), "Called otherwise")).to_be_visible()
    assert Ticket.objects.get(pk=last.pk).assignee_id == lead.id
