"""Several cards at once, and what one decides in the panel, in Chromium."""

import re

import pytest
from playwright.sync_api import expect

from phases import services
from phases.models import Phase, Task, Ticket, Workflow
from tests import factories
from tests.browser.conftest import card, column

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

FLOW = "software_development"
BOARD = f"/board/{FLOW}"


def open_ticket(actor, title, **options) -> Ticket:
    return services.open_ticket(actor=actor, title=title, workflow=FLOW, **options)


def test_many_are_moved_by_keyboard_and_what_is_refused_stays_with_its_reason(visit, lead):
    for title in ("First", "Second"):
        open_ticket(lead, title, phase="PHASE_BACKLOG")
    open_ticket(lead, "Third")
    services.move_card(
        actor=lead,
        ticket_id=Ticket.objects.get(number=3).pk,
        column="blocked",
        version=None,
        reason="The vendor has not answered.",
    )
    page = visit(lead, BOARD)

    page.keyboard.press("j")
    page.keyboard.press("Shift+J")
    card(column(page, "Blocked"), "Third").click(modifiers=["Control"], position={"x": 60, "y": 50})
    expect(page.get_by_role("toolbar", name="Chosen tickets")).to_contain_text("3 tickets chosen")
    page.keyboard.press("m")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Move 3 tickets")
    dialog.get_by_label("Testing").check()
    dialog.get_by_role("button", name="Move", exact=True).click()
    expect(dialog).to_contain_text("0 of 3 moved to Testing")
    expect(dialog).to_contain_text("LEM-1 First")
    dialog.get_by_role("button", name="Close").last.click()
    page.keyboard.press("m")
    page.get_by_role("dialog").get_by_label("Analyzing").check()
    page.keyboard.press("Control+Enter")

    expect(page.get_by_role("toolbar", name="Chosen tickets")).to_be_hidden()
    for title in ("First", "Second", "Third"):
        expect(card(column(page, "Analyzing"), title)).to_be_visible()


def test_a_refused_one_among_many_keeps_its_place_and_its_choice(visit, lead):
    open_ticket(lead, "Goes", phase="PHASE_BACKLOG")
    open_ticket(lead, "Stays")
    page = visit(lead, BOARD)

    for name in ("LEM-1", "LEM-2"):
        page.get_by_role("button", name=f"Choose {name}").click()
    page.get_by_role("toolbar").get_by_role("button", name="Move to…").click()
    dialog = page.get_by_role("dialog", name="Move 2 tickets")
    dialog.get_by_label("Analyzing").check()
    dialog.get_by_role("button", name="Move", exact=True).click()

    expect(page.get_by_role("toolbar", name="Chosen tickets")).to_be_hidden()
    page.get_by_role("button", name="Choose LEM-1").click()
    page.get_by_role("button", name="Choose LEM-2").click()
    page.keyboard.press("m")
    page.get_by_role("dialog").get_by_label("Building").check()
    page.get_by_role("dialog").get_by_role("button", name="Move", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text(re.compile("stays: .*cannot go to"))
    page.get_by_role("dialog").get_by_role("button", name="Close").last.click()
    expect(page.get_by_role("toolbar", name="Chosen tickets")).to_contain_text("2 tickets chosen")


def test_a_reader_chooses_nothing(visit, viewer, lead):
    open_ticket(lead, "Retry storm")
    page = visit(viewer, BOARD)

    page.keyboard.press("j")
    page.keyboard.press("x")

    expect(page.get_by_role("button", name="Choose LEM-1")).to_have_count(0)
    expect(page.get_by_role("toolbar", name="Chosen tickets")).to_have_count(0)


class TestEdit:
    def test_sends_what_was_changed_and_shows_it_everywhere(self, visit, lead, viewer):
        open_ticket(lead, "Retry storm", labels=["api"])
        page, other = visit(lead, f"{BOARD}/tickets/1"), visit(viewer, BOARD)

        page.get_by_role("button", name="Edit…").click()
        dialog = page.get_by_role("dialog", name="Edit LEM-1")
        expect(dialog.get_by_label("Labels")).to_have_value("api")
        dialog.get_by_label("Title").fill("Retry storm after failover")
        dialog.get_by_label("Priority").select_option("CRITICAL")
        dialog.get_by_label("Deadline").fill("2030-01-02T03:04")
        dialog.get_by_role("button", name="Save").click()

        expect(page.get_by_role("heading", name="Retry storm after failover")).to_be_visible()
        shown = card(column(other, "Analyzing"), "Retry storm after failover")
        expect(shown).to_contain_text("Critical")
        ticket = Ticket.objects.get()
        assert (ticket.priority, ticket.labels) == (1, ["api"])
        assert ticket.deadline is not None

    def test_says_that_somebody_was_faster_and_loses_nothing(self, visit, lead, admin):
        ticket = open_ticket(lead, "Retry storm")
        page = visit(lead, f"{BOARD}/tickets/1")
        page.get_by_role("button", name="Edit…").click()
        dialog = page.get_by_role("dialog", name="Edit LEM-1")
        dialog.get_by_label("Description").fill("Mine")
        page.route("**/tickets/1?fragment=1", lambda route: route.abort())

        services.update_ticket(
            actor=admin, ticket_id=ticket.pk, version=None, changes={"title": "Theirs"}
        )
        expect(card(column(page, "Analyzing"), "Theirs")).to_be_visible()
        dialog.get_by_role("button", name="Save").click()
        expect(dialog).to_contain_text("Somebody changed this a moment ago.")

        expect(dialog.get_by_label("Description")).to_have_value("Mine")
        page.unroute("**/tickets/1?fragment=1")
        ticket.refresh_from_db()
        assert (ticket.title, ticket.description) == ("Theirs", "")


def test_a_ticket_waits_for_approval_that_its_author_cannot_give(visit, lead, team):
    Workflow.objects.filter(team=team, key=FLOW).update(approval_required=True)
    other = factories.make_actor(team, "olga", role="operator", authority=3)
    open_ticket(lead, "Delete the old cluster")
    mine, theirs = visit(lead, f"{BOARD}/tickets/1"), visit(other, f"{BOARD}/tickets/1")

    expect(card(column(mine, "Analyzing"), "Delete the old cluster")).to_contain_text(
        "waits for approval"
    )
    expect(mine.get_by_role("button", name="Approve…")).to_have_count(0)
    expect(theirs.get_by_role("button", name="Needs you · 1")).to_be_visible()
    theirs.get_by_role("button", name="Approve…").click()
    theirs.get_by_role("button", name="Approve", exact=True).click()

    expect(card(column(mine, "Analyzing"), "Delete the old cluster")).to_contain_text(
        "waiting for an agent"
    )
    expect(theirs.get_by_role("button", name="Approve…")).to_have_count(0)
    assert Ticket.objects.get().approval_status == "approved"


def test_a_review_is_taken_sent_back_and_read_on_the_task(visit, lead, agent, team):
    Phase.objects.filter(workflow__key=FLOW, key="PHASE_REQUIREMENTS").update(review_required=True)
    open_ticket(lead, "Retry storm")
    [claimed] = services.claim_tasks(actor=agent, capabilities=["analysis"])
    services.complete_task(
        actor=agent,
        task_id=claimed.taken.task_id,
        fence=claimed.taken.fence,
        result={"summary": "Done, I think."},
    )
    page = visit(lead, f"{BOARD}/tickets/1?tab=tasks")
    expect(card(column(page, "Analyzing"), "Retry storm")).to_contain_text("waits for review")

    page.get_by_role("button", name="Review it").click()
    page.get_by_role("button", name="Send back…").click()
    page.get_by_label("What is to be done").fill("Say what is out of scope.")
    page.get_by_role("button", name="Send back", exact=True).click()

    expect(page.get_by_role("tabpanel", name="Tasks")).to_contain_text("Say what is out of scope.")
    assert Task.objects.get().status == "needs_work"


def test_other_apps_tell_runs_cost_and_memory(visit, lead):
    open_ticket(lead, "Retry storm")
    page = visit(lead, f"{BOARD}/tickets/1")

    for key, name, words in (
        ("5", "Runs", "Nothing ran for this ticket yet."),
        ("6", "Cost", "Nothing was held or spent"),
        ("7", "Memory", "Nothing is remembered of this ticket yet."),
    ):
        page.keyboard.press(key)
        expect(page.get_by_role("tabpanel", name=name)).to_contain_text(words)
    page.keyboard.press("4")
    page.get_by_role("button", name="Work", exact=True).click()
    timeline = page.get_by_role("tabpanel", name="Timeline")
    expect(timeline.get_by_text("added the task")).to_be_visible()
    expect(timeline.get_by_text("opened this ticket")).to_be_hidden()


def test_a_card_says_who_has_it_open(visit, lead, viewer):
    open_ticket(lead, "Retry storm")
    page, other = visit(lead, BOARD), visit(viewer, BOARD)

    card(column(other, "Analyzing"), "Retry storm").get_by_role("link").click()

    shown = card(column(page, "Analyzing"), "Retry storm")
    expect(shown).to_contain_text(f"open at {viewer.name}")


def test_a_gate_asks_a_person_who_answers_in_the_panel(visit, lead, team):
    phase = Phase.objects.get(team=team, workflow__key=FLOW, key="PHASE_DESIGN")
    services.add_requirement(
        actor=lead,
        phase_id=phase.pk,
        key="looks_right",
        kind="manual",
        parameters={"question": "Does it look right?"},
    )
    open_ticket(lead, "Retry storm", phase="PHASE_DESIGN")
    page = visit(lead, f"{BOARD}/tickets/1?tab=evidence")

    page.get_by_role("button", name="Validate").click()
    expect(page.get_by_role("tabpanel", name="Evidence")).to_contain_text("Does it look right?")
    page.get_by_role("button", name="No…").click()
    page.get_by_label("Why not").fill("The logo is upside down.")
    page.get_by_role("button", name="No", exact=True).click()
    expect(page.get_by_role("tabpanel", name="Evidence")).to_contain_text("upside down")
    page.get_by_role("button", name="Yes…").click()
    page.get_by_role("button", name="Yes", exact=True).click()

    expect(page.get_by_role("tabpanel", name="Evidence")).to_contain_text("verified")
    expect(page.get_by_role("button", name="Yes…")).to_have_count(0)
