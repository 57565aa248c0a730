"""A person's second step on a ticket, and what they read when somebody else was quicker."""

import pytest
from playwright.sync_api import expect

from phases import services
from phases.models import Ticket
from tests.browser.conftest import card, column
from tests.browser.test_ways_back import GOOD, chosen

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

FLOW = "software_development"


def panel_of(page):
    return page.get_by_role("complementary", name="Ticket")


def give_reason(page, button: str, reason: str) -> None:
    panel_of(page).get_by_role("button", name=button).click()
    page.get_by_role("dialog").get_by_label("Reason").fill(reason)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)


def replace_archive(page) -> None:
    panel_of(page).get_by_role("button", name="Replace archive…").click()
    dialog = page.get_by_role("dialog", name="Replace the archive of")
    dialog.get_by_label("Choose a file").set_input_files(chosen(GOOD))
    page.keyboard.press("Control+Enter")


class TestSecondStep:
    def test_cancels_then_reopens_in_one_panel_while_another_window_follows(
        self, visit, lead, admin
    ):
        ticket = services.open_ticket(actor=lead, title="Retry storm", workflow=FLOW)
        address = f"/board/{FLOW}/tickets/{ticket.number}"
        page, other = visit(lead, address), visit(admin, address)

        give_reason(page, "Cancel…", "not needed")
        give_reason(page, "Reopen…", "it is needed after all")
        expect(panel_of(page).get_by_role("button", name="Cancel…")).to_be_visible()

        expect(panel_of(other).get_by_role("button", name="Cancel…")).to_be_visible()
        give_reason(other, "Cancel…", "not needed, really")
        give_reason(other, "Reopen…", "still needed")
        expect(panel_of(other).get_by_role("button", name="Cancel…")).to_be_visible()
        assert Ticket.objects.get().status == "pending"

    def test_assigns_then_replaces_the_archive_in_one_panel(self, visit, lead, blocked):
        page = visit(lead, f"/board/repo_checkup/tickets/{blocked.number}")
        panel_of(page).get_by_role("button", name="Assign me").click()
        expect(panel_of(page).get_by_role("button", name="Assign me")).to_have_count(0)

        replace_archive(page)

        expect(card(column(page, "Intake"), "Check pkg")).to_be_visible()
        assert Ticket.objects.get().assignee == lead.user


class TestLoggedInAnew:
    """A login in another window makes the token of this page old; no script reads the cookie."""

    def test_the_page_that_stayed_open_goes_on(self, visit, lead):
        ticket = services.open_ticket(actor=lead, title="Retry storm", workflow=FLOW)
        page = visit(lead, f"/board/{FLOW}/tickets/{ticket.number}")
        page.context.clear_cookies(name="csrftoken")
        page.context.new_page().goto(page.url)
        assert "csrftoken" not in page.evaluate("document.cookie")

        give_reason(page, "Cancel…", "not needed")

        expect(panel_of(page).get_by_role("button", name="Reopen…")).to_be_visible()
        assert Ticket.objects.get().status == "cancelled"


class TestConflict:
    """What happens where the news of another's change is not here yet."""

    def test_is_told_in_plain_words_and_done_with_the_second_try(self, visit, lead, blocked):
        page = visit(lead, f"/board/repo_checkup/tickets/{blocked.number}")
        panel_of(page).get_by_role("button", name="Replace archive…").click()
        dialog = page.get_by_role("dialog", name="Replace the archive of")
        dialog.get_by_label("Choose a file").set_input_files(chosen(GOOD))
        page.evaluate("document.querySelector('[data-part=head]').dataset.version = '1'")

        page.keyboard.press("Control+Enter")
        said = dialog.get_by_role("alert").last
        expect(said).to_contain_text("Somebody changed this a moment ago.")
        expect(said).not_to_contain_text("ETag")

        page.keyboard.press("Control+Enter")
        expect(card(column(page, "Intake"), "Check pkg")).to_be_visible()
