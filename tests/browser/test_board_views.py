"""The board's further views and commands in Chromium: table, graph, Ctrl+K, density."""

import csv
import io
import re

import pytest
from playwright.sync_api import expect

from phases import services
from phases.models import Task, Ticket
from tests.browser.conftest import card, column

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

BOARD = "/board/software_development"


def open_ticket(actor, title, **options) -> Ticket:
    return services.open_ticket(
        actor=actor, title=title, workflow="software_development", **options
    )


def titles(page) -> list[str]:
    return page.get_by_role("rowheader").all_inner_texts()


class TestTable:
    def test_sorts_by_any_column_keeps_it_in_the_address_and_follows_the_board(self, visit, lead):
        open_ticket(lead, "Beta", priority=3)
        open_ticket(lead, "Alpha", priority=1)
        open_ticket(lead, "Gamma", priority=4)
        page = visit(lead, BOARD)

        page.keyboard.press("g")
        page.keyboard.press("t")
        page.get_by_role("button", name="Priority").click()

        assert titles(page) == ["Alpha", "Beta", "Gamma"]
        head = page.get_by_role("columnheader", name="Priority")
        expect(head).to_have_attribute("aria-sort", "ascending")
        page.get_by_role("button", name="Priority").click()
        assert titles(page) == ["Gamma", "Beta", "Alpha"]
        page.reload()
        expect(page.get_by_role("rowheader")).to_have_text(["Gamma", "Beta", "Alpha"])
        open_ticket(lead, "Delta", priority=2)
        expect(page.get_by_role("rowheader")).to_have_text(["Gamma", "Beta", "Delta", "Alpha"])

    def test_saves_what_is_shown_as_csv_that_no_spreadsheet_runs(self, visit, lead):
        open_ticket(lead, '=HYPERLINK("http://x")', labels=["api"])
        open_ticket(lead, "Kept, with a comma", labels=["api"])
        open_ticket(lead, "Left out")
        page = visit(lead, f"{BOARD}?view=table&label=api&sort=number")

        with page.expect_download() as download:
            page.get_by_role("button", name="Save as CSV").click()

        with open(download.value.path(), encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(io.StringIO(file.read())))
        assert [row["Ticket"] for row in rows] == ["LEM-1", "LEM-2"]
        assert rows[0]["Title"] == '\'=HYPERLINK("http://x")'
        assert rows[1]["Title"] == "Kept, with a comma"

    def test_opens_a_ticket_beside_it(self, visit, lead):
        open_ticket(lead, "Retry storm")
        page = visit(lead, f"{BOARD}?view=table")

        page.get_by_role("link", name="Retry storm").click()

        expect(page.get_by_role("heading", name="Retry storm")).to_be_focused()
        expect(page).to_have_url(re.compile(r"/tickets/1\?view=table$"))


class TestGraph:
    def test_draws_what_waits_for_what_and_tells_the_same_as_a_list(self, visit, lead):
        ticket, other = open_ticket(lead, "Parser"), open_ticket(lead, "Release")
        first = Task.objects.get(ticket=ticket)
        services.create_task(
            actor=lead,
            ticket=other,
            task_type="publish",
            title="Publish it",
            depends_on=[first.pk],
        )
        page = visit(lead, f"{BOARD}?view=graph")

        listed = page.get_by_role("list", name="The same as a list")
        row = listed.get_by_role("listitem").filter(has_text="Publish it")
        expect(row).to_contain_text("waits for Analyse the requirements")
        drawing = page.get_by_role("group", name="Tasks and what they wait for")
        expect(drawing.locator(".graph-edge")).to_have_count(1)
        drawing.focus()
        page.keyboard.press("+")
        expect(page.get_by_role("status").filter(has_text="percent")).to_have_count(1)
        row.get_by_role("button").press("Enter")
        expect(page.get_by_role("heading", name="Release")).to_be_visible()

    def test_leaves_out_what_the_filters_leave_out(self, visit, lead):
        open_ticket(lead, "With label", labels=["api"])
        open_ticket(lead, "Without")
        page = visit(lead, f"{BOARD}?view=graph&label=api")

        expect(page.locator(".graph-lane")).to_have_text(["LEM-1"])


class TestCommands:
    def test_a_ticket_is_found_by_number_or_words_and_a_command_by_its_name(self, visit, lead):
        open_ticket(lead, "Retry storm")
        open_ticket(lead, "Other work")
        page = visit(lead, BOARD)

        page.keyboard.press("Control+k")
        page.keyboard.type("lem-2")
        palette = page.get_by_role("dialog", name="Commands")
        expect(palette.get_by_role("option")).to_have_text([re.compile("LEM-2 Other work")])
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Other work")).to_be_visible()

        page.keyboard.press("Control+k")
        page.keyboard.type("show table")
        page.keyboard.press("Enter")
        expect(page.get_by_role("table")).to_be_visible()
        expect(palette).to_be_hidden()

    def test_a_number_that_is_written_out_is_that_ticket(self, visit, lead):
        open_ticket(lead, "The first", priority=4)
        for n in range(2, 13):
            open_ticket(lead, f"Number {n}", priority=1)
        page = visit(lead, BOARD)

        page.keyboard.press("Control+k")
        page.keyboard.type("LEM-1")
        page.keyboard.press("Enter")

        expect(page.get_by_role("heading", name="The first")).to_be_visible()

    def test_is_told_by_name_what_is_chosen(self, visit, lead):
        page = visit(lead, BOARD)

        page.keyboard.press("Control+k")
        field = page.get_by_role("combobox", name="Command or ticket")
        before = field.get_attribute("aria-activedescendant")
        page.keyboard.press("ArrowDown")

        assert field.get_attribute("aria-activedescendant") != before
        expect(page.get_by_role("option", selected=True)).to_have_count(1)


def test_filters_come_back_to_whoever_comes_without_a_question(visit, lead):
    open_ticket(lead, "Urgent", priority=1)
    open_ticket(lead, "Later", priority=4)
    page = visit(lead, BOARD)

    page.get_by_role("button", name="Filter", exact=True).click()
    page.locator("#filters").get_by_label("Priority").select_option("CRITICAL")
    expect(card(column(page, "Analyzing"), "Later")).to_be_hidden()
    page.goto(page.url.split("?")[0])

    expect(page.get_by_role("button", name="Remove filter Priority: Critical")).to_be_visible()
    expect(card(column(page, "Analyzing"), "Later")).to_be_hidden()


def test_density_and_single_keys_are_kept(visit, lead):
    open_ticket(lead, "Retry storm")
    page = visit(lead, BOARD)

    page.get_by_role("button", name="You, theme, help").click()
    page.get_by_role("button", name="Compact").click()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.get_by_label("Single keys are on").uncheck()
    page.keyboard.press("Escape")
    page.reload()

    expect(page.locator("#app")).to_have_attribute("data-density", "compact")
    page.keyboard.press("c")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_an_empty_board_offers_a_ticket_a_demo_and_an_agent(visit, admin, agent):
    page = visit(admin, BOARD)

    page.get_by_role("button", name="Connect an agent…").click()
    dialog = page.get_by_role("dialog", name="Connect an agent")
    dialog.get_by_label("Whose token").select_option(str(agent.id))
    dialog.get_by_role("button", name="Make the token").click()

    expect(dialog.get_by_label("Commands")).to_contain_text("AGENT_TOKEN=")
    commands = dialog.get_by_label("Commands").inner_text()
    token = re.search(r"AGENT_TOKEN=(\S+)", commands)
    assert token is not None
    answer = page.request.post(
        f"{page.url.split('/board')[0]}/api/v1/tasks/claim",
        headers={"Authorization": f"Bearer {token[1]}", "Content-Type": "application/json"},
        data={"capabilities": ["analysis"]},
    )
    assert answer.status == 200
    dialog.get_by_role("button", name="Close").last.click()
    expect(page.locator("#connect-code")).to_have_text("")
    page.get_by_role("button", name="Load demo").click()
    expect(page).to_have_url(re.compile("/board/repo_checkup"))
    expect(card(column(page, "Intake"), "Check up on Lemnos itself")).to_be_visible()
