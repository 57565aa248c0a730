"""Ways back for a ticket, on the panel, as a person goes them."""

import pytest
from playwright.sync_api import expect

from phases import services
from phases.models import Task, Ticket
from tests.browser.conftest import BAD, card, column
from tests.tools.archives import PASSING, tar_gz
from tools import services as tools

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

GOOD = tar_gz(PASSING)


def chosen(data: bytes) -> dict[str, object]:
    return {"name": "pkg-1.1.tar.gz", "mimeType": "application/gzip", "buffer": data}


def test_a_blocked_checkup_gets_another_archive_by_keyboard(visit, lead, blocked):
    page = visit(lead, f"/board/repo_checkup/tickets/{blocked.number}")
    panel = page.get_by_role("complementary", name="Ticket")
    panel.get_by_role("button", name="Replace archive…").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Replace the archive of LEM-1")
    field = dialog.get_by_label("Choose a file")
    expect(field).to_be_focused()

    page.keyboard.press("Control+Enter")
    expect(field).to_have_accessible_description("Choose the archive to check.")
    field.set_input_files(chosen(BAD))
    page.keyboard.press("Control+Enter")
    expect(dialog.get_by_role("alert").first).to_contain_text("the archive that was checked")
    dialog.get_by_label("pkg-1.1").set_input_files(chosen(GOOD))
    page.keyboard.press("Control+Enter")

    expect(dialog).to_be_hidden()
    expect(card(column(page, "Intake"), "Check pkg")).to_be_visible()
    expect(panel.get_by_role("heading", name="Check pkg")).to_be_focused()
    expect(panel.get_by_role("button", name="Replace archive…")).to_have_count(0)
    page.keyboard.press("4")
    expect(panel).to_contain_text("replaced the source: it begins anew in Intake")
    source = Ticket.objects.get().context["source"]
    expect(panel).to_contain_text(f'to {{"kind": "archive", "file_id": "{source["file_id"]}"}}')
    assert tools.open_file(team_id=lead.team_id, file_id=source["file_id"])[1] == GOOD


def test_a_cancelled_ticket_is_reopened_with_a_reason(visit, lead, viewer, site):
    ticket = services.open_ticket(actor=lead, title="Retry storm", workflow="software_development")
    services.cancel_ticket(actor=lead, ticket_id=ticket.pk, reason="not needed")
    page, other = (
        visit(who, f"/board/software_development/tickets/{ticket.number}") for who in (lead, viewer)
    )
    panel = page.get_by_role("complementary", name="Ticket")
    expect(panel).to_contain_text("unless somebody reopens it")
    expect(
        other.get_by_role("complementary", name="Ticket").get_by_role("button", name="Reopen…")
    ).to_have_count(0)

    panel.get_by_role("button", name="Reopen…").click()
    dialog = page.get_by_role("dialog", name="Reopen LEM-1")
    dialog.get_by_label("Reason").fill("it is needed after all")
    page.keyboard.press("Control+Enter")

    expect(panel.get_by_role("button", name="Cancel…")).to_be_visible()
    expect(panel).to_contain_text("is ready and waits for an agent")
    assert Task.objects.get(ticket=ticket).status == "pending"
    page.keyboard.press("4")
    expect(panel).to_contain_text("reopened this ticket it is needed after all")


def test_a_cancelled_ticket_in_the_blocked_column_asks_nobody_for_anything(visit, lead, blocked):
    services.cancel_ticket(actor=lead, ticket_id=blocked.pk, reason="not needed")
    page = visit(lead, "/board/repo_checkup")

    shown = card(column(page, "Blocked"), "Check pkg")
    expect(shown).to_contain_text("cancelled")
    expect(shown).not_to_contain_text("This is no archive.")
    expect(page.get_by_role("button", name="Needs you")).to_be_hidden()
    expect(column(page, "Blocked").locator("[data-count]")).to_have_text("0")
    expect(page.locator("#summary")).to_have_text("0 open")


def test_cancelling_asks_for_ten_characters_as_the_api_does(visit, lead, blocked):
    page = visit(lead, f"/board/repo_checkup/tickets/{blocked.number}")
    panel = page.get_by_role("complementary", name="Ticket")
    panel.get_by_role("button", name="Cancel…").click()
    dialog = page.get_by_role("dialog", name="Cancel LEM-1")
    reason = dialog.get_by_label("Reason")
    reason.fill("too short")

    page.keyboard.press("Control+Enter")
    expect(dialog.get_by_role("alert")).to_have_text("Give a reason of at least 10 characters.")
    expect(reason).to_be_focused()
    assert Ticket.objects.get().status == "pending"

    reason.fill("an old wish")
    page.keyboard.press("Control+Enter")
    expect(panel).to_contain_text("unless somebody reopens it")
    assert Ticket.objects.get().status == "cancelled"
