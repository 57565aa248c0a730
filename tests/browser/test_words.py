"""What people read and choose in Chromium: reasons in full, drafts thrown away, one theme."""

import pytest
from playwright.sync_api import expect

from phases import services
from phases.models import Ticket
from tests.browser.conftest import card, column

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

BOARD = "/board/software_development"
LONG = (
    "This needs isolation level “container”, which no host offers now: there is no sandbox image."
    " The best at hand is “none”. Start a worker on a host with a container engine."
)


def open_ticket(actor, title) -> Ticket:
    return services.open_ticket(actor=actor, title=title, workflow="software_development")


def block(actor, ticket, reason) -> None:
    services.transition(actor=actor, ticket_id=ticket.pk, to_phase="PHASE_BLOCKED", reason=reason)


class TestReasonOnACard:
    def test_opens_where_it_stands_by_mouse_and_keyboard(self, visit, lead):
        block(lead, open_ticket(lead, "Check it"), LONG)
        page = visit(lead, BOARD)
        reason = card(column(page, "Blocked"), "Check it").get_by_role("group")
        cut = reason.bounding_box()["height"]

        reason.locator("summary").click()
        expect(reason).to_have_attribute("open", "")
        assert reason.bounding_box()["height"] > 1.5 * cut
        assert page.url.endswith(BOARD), "reading a reason opens no ticket"

        reason.locator("summary").press("Enter")
        expect(reason).not_to_have_attribute("open", "")

    def test_stays_open_when_its_card_is_drawn_anew(self, visit, lead):
        ticket = open_ticket(lead, "Check it")
        block(lead, ticket, LONG)
        page = visit(lead, BOARD)
        reason = card(column(page, "Blocked"), "Check it").get_by_role("group")
        reason.locator("summary").click()

        services.update_ticket(
            actor=lead, ticket_id=ticket.pk, version=None, changes={"title": "Check it again"}
        )

        again = card(column(page, "Blocked"), "Check it again").get_by_role("group")
        expect(again).to_have_attribute("open", "")


def test_missing_evidence_is_counted_on_the_card_as_soon_as_the_gate_was_asked(visit, lead):
    open_ticket(lead, "Retry storm")
    page = visit(lead, f"{BOARD}/tickets/1?tab=evidence")
    shown = card(column(page, "Analyzing"), "Retry storm")

    page.get_by_role("button", name="Validate").click()

    expect(shown).to_contain_text("evidence missing: 1")
    expect(page.get_by_role("heading", name="Gate to Design")).to_be_visible()


def test_a_ticket_whose_work_is_done_without_evidence_asks_for_a_person(visit, lead, agent):
    open_ticket(lead, "Retry storm")
    page = visit(lead, BOARD)
    shown = card(column(page, "Analyzing"), "Retry storm")
    task = services.claim_tasks(actor=agent, capabilities=["analysis"])[0].task

    services.complete_task(actor=agent, task_id=task.pk, fence=task.fence, result={})

    expect(shown).to_contain_text("evidence missing: 1")
    expect(page.get_by_role("button", name="Needs you · 1")).to_be_visible()


class TestDraft:
    def test_discard_throws_it_away(self, visit, lead):
        page = visit(lead, "/board/repo_checkup")
        new = page.get_by_role("banner").get_by_role("button", name="New ticket")
        dialog = page.get_by_role("dialog", name="New ticket")
        new.click()
        dialog.get_by_label("Choose a file").set_input_files(
            {"name": "pkg-1.0.zip", "mimeType": "application/zip", "buffer": b"PK"}
        )
        expect(dialog.get_by_label("Title")).to_have_value("Check pkg-1.0")

        dialog.get_by_role("button", name="Discard").click()
        new.click()

        expect(dialog.get_by_label("Title")).to_have_value("")
        expect(dialog).to_contain_text("Choose a file, or drop it here")

    def test_closing_keeps_it(self, visit, lead):
        page = visit(lead, BOARD)
        new = page.get_by_role("banner").get_by_role("button", name="New ticket")
        dialog = page.get_by_role("dialog", name="New ticket")
        new.click()
        dialog.get_by_label("Title").fill("Half a thought")

        page.keyboard.press("Escape")
        new.click()

        expect(dialog.get_by_label("Title")).to_have_value("Half a thought")


def ground(page) -> str:
    """Whether the page's ground is dark or light, as it is painted."""
    return page.evaluate(
        """() => {
          const shown = [document.body, document.documentElement]
            .map((element) => getComputedStyle(element).backgroundColor)
            .find((colour) => colour !== "rgba(0, 0, 0, 0)");
          const canvas = document.createElement("canvas").getContext("2d");
          canvas.fillStyle = shown;
          canvas.fillRect(0, 0, 1, 1);
          const [red, green, blue] = canvas.getImageData(0, 0, 1, 1).data;
          return red + green + blue < 384 ? "dark" : "light";
        }"""
    )


class TestTheme:
    def test_chosen_on_the_board_holds_in_admin_api_docs_and_login(self, visit, site, admin):
        page = visit(admin, BOARD, color_scheme="light")
        assert ground(page) == "light"

        page.get_by_role("button", name="You, theme, help").click()
        page.get_by_role("button", name="Dark").click()

        assert ground(page) == "dark"
        for address in ("/admin/", "/api/docs", "/docs/errors", "/nowhere"):
            page.goto(site + address)
            expect(page.get_by_role("link").first).to_be_visible()
            assert ground(page) == "dark", address

    def test_chosen_in_the_admin_holds_on_the_board_and_in_its_open_window(
        self, visit, site, admin
    ):
        page = visit(admin, BOARD, color_scheme="light")
        other = page.context.new_page()
        other.goto(f"{site}/admin/")

        other.evaluate("Alpine.$data(document.documentElement).adminTheme = 'dark'")

        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        other.goto(site + BOARD)
        assert ground(other) == "dark"
        other.get_by_role("button", name="You, theme, help").click()
        expect(other.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
        other.get_by_role("button", name="System").click()
        expect(page.locator("html")).not_to_have_attribute("data-theme", "dark")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_pages_about_errors(visit, site, lead, theme):
    from axe_playwright_python.sync_playwright import Axe

    page = visit(lead, BOARD, color_scheme=theme)

    for address in ("/docs/errors", "/docs/errors/isolation_unavailable", "/nowhere"):
        page.goto(site + address)
        assert Axe().run(page).response["violations"] == [], address


def test_axe_finds_nothing_on_a_card_with_a_long_reason(visit, lead):
    from axe_playwright_python.sync_playwright import Axe

    block(lead, open_ticket(lead, "Check it"), LONG)
    page = visit(lead, BOARD)
    card(column(page, "Blocked"), "Check it").locator("summary").click()

    assert Axe().run(page).response["violations"] == []
