"""The board in Chromium, by role and name, as a person uses it."""

import re

import pytest
from playwright.sync_api import expect

from phases import services
from phases.models import BoardColumn, Ticket
from tests.browser.conftest import card, column, dragged, live
from tests.e2e.processes import story
from tests.tools.archives import PASSING, tar_gz
from tests.tools.conftest import demand, sandbox_image  # noqa: F401  a fixture

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

FLOW = "software_development"
BOARD = f"/board/{FLOW}"
DOCUMENT = "# Scope\n" + "what is asked for " * 30 + "\n# Acceptance criteria\nit works\n"


def open_ticket(actor, title, **options) -> Ticket:
    return services.open_ticket(actor=actor, title=title, workflow=FLOW, **options)


def test_makes_a_ticket_with_an_upload_whose_card_appears_everywhere(visit, lead, viewer):
    source_archive = tar_gz(PASSING)
    page, other = visit(lead, "/"), visit(viewer, "/board/repo_checkup")
    expect(page.get_by_role("heading", name="No ticket yet")).to_be_visible()

    page.keyboard.press("c")
    dialog = page.get_by_role("dialog", name="New ticket")
    dialog.get_by_label("Choose a file").set_input_files(
        {"name": "pkg-1.0.tar.gz", "mimeType": "application/gzip", "buffer": source_archive}
    )
    expect(dialog.get_by_label("Title")).to_have_value("Check pkg-1.0")
    dialog.get_by_label("Labels").fill("nightly, small")
    page.keyboard.press("Control+Enter")

    made = card(column(page, "Intake"), "Check pkg-1.0")
    expect(made).to_contain_text("waiting for an agent")
    expect(made.get_by_role("link")).to_be_focused()
    expect(card(column(other, "Intake"), "Check pkg-1.0")).to_contain_text("nightly")
    expect(column(other, "Intake")).to_contain_text("1 / 5")
    source = Ticket.objects.get().context["source"]
    assert source["kind"] == "archive"
    answer = page.request.get(f"{page.url.split('/board')[0]}/api/v1/files/{source['file_id']}")
    assert answer.body() == source_archive


@pytest.mark.bwrap
@pytest.mark.timeout(300)
def test_an_uploaded_archive_goes_to_done_before_ones_eyes(
    visit,
    lead,
    team,
    crew,
    processes,
    sandbox_image,  # noqa: F811  the imported fixture
):
    """Without a reload; its evidence and report are there as soon as it is done."""
    demand("bwrap")
    processes.start("worker", LEMNOS_UNTRUSTED_LEVEL="bwrap")
    page = visit(lead, "/board/repo_checkup")
    page.evaluate("document.body.dataset.loaded = 'once'")

    page.get_by_role("banner").get_by_role("button", name="New ticket").click()
    dialog = page.get_by_role("dialog", name="New ticket")
    dialog.get_by_label("Choose a file").set_input_files(
        {"name": "pkg-1.0.tar.gz", "mimeType": "application/gzip", "buffer": tar_gz(PASSING)}
    )
    dialog.get_by_role("button", name="Create ticket").click()
    page.get_by_role("link", name="Check pkg-1.0").click()

    panel = page.get_by_role("complementary", name="Ticket")
    done, blocked = (card(column(page, name), "Check pkg-1.0") for name in ("Done", "Blocked"))
    done.or_(blocked).wait_for(timeout=200_000)
    assert done.is_visible(), story(team) + processes.logs()
    expect(done).to_contain_text("3/3")
    expect(panel.get_by_role("heading", name="Checkup: Check pkg-1.0")).to_be_visible()
    expect(panel).to_contain_text("1 of 1 tests passed")
    page.keyboard.press("3")
    expect(panel.get_by_role("tabpanel")).to_contain_text("total 1 · passed 1 · failed 0")
    page.keyboard.press("4")
    expect(panel.get_by_role("tabpanel")).to_contain_text("moved it on from Report to Done")
    assert page.evaluate("document.body.dataset.loaded") == "once"


def test_says_at_the_field_what_is_wrong_and_makes_nothing(visit, lead):
    page = visit(lead, "/board/repo_checkup")
    page.get_by_role("banner").get_by_role("button", name="New ticket").click()
    dialog = page.get_by_role("dialog", name="New ticket")

    dialog.get_by_role("button", name="Create ticket").click()
    expect(dialog.get_by_label("Title")).to_have_accessible_description("Give it a title.")
    expect(dialog.get_by_label("Title")).to_be_focused()
    expect(dialog).to_contain_text("Choose the archive to check.")

    dialog.get_by_label("Title").fill("x" * 400)
    dialog.get_by_label("Labels").fill("l" * 60)
    dialog.get_by_label("Lemnos itself").check()
    dialog.get_by_role("button", name="Create ticket").click()
    expect(dialog).to_contain_text("no more than 50 characters")

    dialog.get_by_role("button", name="Discard").click()
    expect(page.get_by_role("banner").get_by_role("button", name="New ticket")).to_be_focused()
    assert not Ticket.objects.exists()


def test_a_dragged_card_moves_and_a_second_window_follows(visit, lead, viewer):
    open_ticket(lead, "Webhook secrets", phase="PHASE_BACKLOG")
    page, other = visit(lead, BOARD), visit(viewer, BOARD)

    with dragged(page, card(column(page, "Backlog"), "Webhook secrets"), column(page, "Analyzing")):
        expect(column(page, "Testing")).to_contain_text("Empty")

    expect(card(column(page, "Analyzing"), "Webhook secrets")).to_be_visible()
    expect(card(column(other, "Analyzing"), "Webhook secrets")).to_be_visible()
    expect(column(other, "Analyzing")).to_contain_text("1 / 5")
    assert Ticket.objects.get().phase.key == "PHASE_REQUIREMENTS"


def test_an_illegal_drag_springs_back_and_says_why(visit, lead):
    open_ticket(lead, "Retry storm")
    page = visit(lead, BOARD)

    with dragged(page, card(column(page, "Analyzing"), "Retry storm"), column(page, "Testing")):
        expect(column(page, "Testing")).to_contain_text("does not lead to Testing")

    expect(page.get_by_role("alert")).to_contain_text(
        "LEM-1 stays in Analyzing. A ticket in Requirements Analysis cannot go to Testing."
    )
    expect(page.get_by_role("alert")).to_contain_text("From here it may go to Design, Blocked.")
    expect(card(column(page, "Analyzing"), "Retry storm")).to_be_visible()
    expect(column(page, "Testing").get_by_role("link")).to_have_count(0)
    expect(column(page, "Testing")).not_to_contain_text("does not lead to Testing")


def test_moves_by_keyboard_alone_and_gives_the_focus_back(visit, lead):
    open_ticket(lead, "Retry storm")
    page = visit(lead, BOARD)

    page.keyboard.press("j")
    page.keyboard.press("m")
    dialog = page.get_by_role("dialog", name="Move LEM-1")
    expect(dialog.get_by_label("Testing")).to_be_disabled()
    dialog.get_by_label("Blocked").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Control+Enter")
    expect(dialog).to_contain_text("Give a reason of at least 10 characters.")
    page.keyboard.type("The staging cluster is down.")
    page.keyboard.press("Control+Enter")

    moved = card(column(page, "Blocked"), "Retry storm")
    expect(moved).to_contain_text("The staging cluster is down.")
    expect(moved.get_by_role("link")).to_be_focused()


def test_a_full_column_refuses_and_authority_4_may_exceed_it_with_a_reason(visit, lead, team):
    author = _author(team)
    BoardColumn.objects.filter(workflow__key=FLOW, key="analyzing").update(wip_limit=1)
    open_ticket(lead, "First")
    open_ticket(lead, "Second", phase="PHASE_BACKLOG")
    weak, strong = visit(author, BOARD), visit(lead, BOARD)

    card(column(weak, "Backlog"), "Second").get_by_role("button", name="Move LEM-2").click()
    refused = weak.get_by_role("dialog").get_by_label("Analyzing")
    expect(refused).to_be_disabled()
    expect(weak.get_by_role("dialog")).to_contain_text("Analyzing is full (1 of 1).")

    card(column(strong, "Backlog"), "Second").get_by_role("button", name="Move LEM-2").click()
    dialog = strong.get_by_role("dialog", name="Move LEM-2")
    dialog.get_by_label("Analyzing").check()
    dialog.get_by_label("Reason").fill("the release waits for it")
    dialog.get_by_role("button", name="Move over the limit").click()

    expect(column(strong, "Analyzing")).to_contain_text("1 over the limit")
    expect(column(strong, "Analyzing")).to_contain_text("2 / 1")


def _author(team):
    from tests import factories

    return factories.make_actor(team, "anton", role="author")


def test_the_panel_has_an_address_tabs_and_the_way_back(visit, lead):
    ticket = open_ticket(lead, "Retry storm")
    open_ticket(lead, "Second")
    page = visit(lead, BOARD)

    page.get_by_role("link", name="Retry storm").click()
    panel = page.get_by_role("complementary", name="Ticket")
    expect(panel.get_by_role("heading", name="Retry storm")).to_be_focused()
    expect(page).to_have_url(re.compile(r"/tickets/1$"))
    page.keyboard.press("3")
    expect(panel.get_by_role("tab", name="Evidence")).to_have_attribute("aria-selected", "true")
    expect(panel.get_by_role("tabpanel")).to_contain_text("There is no requirements document yet.")
    services.add_artifact(
        actor=lead, ticket_id=ticket.pk, artifact_type="requirements_document", content=DOCUMENT
    )
    services.validate_gate(actor=lead, ticket_id=ticket.pk)
    expect(panel.get_by_role("tabpanel")).to_contain_text("1 verified")

    page.reload()
    live(page)
    expect(panel.get_by_role("tab", name="Evidence")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("]")
    expect(panel.get_by_role("heading", name="Second")).to_be_visible()
    page.go_back()
    expect(panel.get_by_role("heading", name="Retry storm")).to_be_visible()
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(page.get_by_role("link", name="Retry storm")).to_be_focused()


def test_reported_evidence_is_confirmed_by_a_second_person_and_the_ticket_moves(
    visit, lead, admin, agent
):
    ticket = _in_testing(lead, admin, agent)
    page = visit(lead, f"{BOARD}/tickets/{ticket.number}?tab=evidence")
    panel = page.get_by_role("complementary", name="Ticket")

    for _ in range(2):
        expect(panel.get_by_role("button", name="Confirm").first).to_be_enabled()
        before = panel.get_by_role("button", name="Confirm").count()
        panel.get_by_role("button", name="Confirm").first.click()
        expect(panel.get_by_role("button", name="Confirm")).to_have_count(before - 1)
    expect(panel).to_contain_text("3 verified")

    panel.get_by_role("button", name="Move to…").click()
    dialog = page.get_by_role("dialog", name="Move LEM-1")
    dialog.get_by_label("Deploying").check()
    dialog.get_by_role("button", name="Move", exact=True).click()
    expect(card(column(page, "Deploying"), "Retry storm")).to_be_visible()


def _in_testing(lead, admin, agent) -> Ticket:
    """Its tasks done, the results of its tests reported by the agent who ran them."""
    ticket = open_ticket(lead, "Retry storm")
    capabilities = ["analysis", "design", "code", "test"]
    for phase in ("PHASE_DESIGN", "PHASE_IMPLEMENTATION", "PHASE_TESTING", None):
        task = services.claim_tasks(actor=agent, capabilities=capabilities, ticket_id=ticket.pk)[
            0
        ].task
        if phase is None:
            for kind in ("test_results", "test_evidence"):
                content = {"total": 3, "passed": 3, "failed": 0, "errors": 0}
                services.add_artifact(
                    actor=agent, ticket_id=ticket.pk, artifact_type=kind, content=content
                )
        services.complete_task(actor=agent, task_id=task.pk, fence=task.fence, result={})
        if phase is not None:
            services.transition(
                actor=admin,
                ticket_id=ticket.pk,
                to_phase=phase,
                override=True,
                reason="seen in the review",
            )
    return ticket


def test_a_cut_line_says_so_and_afterwards_nothing_is_missing(visit, lead):
    first = open_ticket(lead, "Moved meanwhile", phase="PHASE_BACKLOG")
    page = visit(lead, BOARD)

    page.context.set_offline(True)
    page.evaluate("lemnos.live.cut()")
    expect(page.get_by_role("status").filter(has_text="Offline")).to_be_visible()
    services.move_card(actor=lead, ticket_id=first.pk, column="analyzing", version=None)
    open_ticket(lead, "Made meanwhile")
    page.context.set_offline(False)

    live(page)
    expect(card(column(page, "Analyzing"), "Moved meanwhile")).to_be_visible()
    expect(card(column(page, "Analyzing"), "Made meanwhile")).to_be_visible()
    expect(column(page, "Backlog").get_by_role("link")).to_have_count(0)


def test_filters_and_search_survive_a_reload(visit, lead):
    open_ticket(lead, "Critical thing", priority=1, labels=["api"])
    open_ticket(lead, "Small thing", priority=4)
    page = visit(lead, BOARD)

    page.keyboard.press("/")
    page.keyboard.type("thing")
    page.get_by_role("button", name="Filter", exact=True).click()
    page.get_by_role("combobox", name="Priority").select_option("High or above")
    expect(page.get_by_role("link", name="Small thing")).to_have_count(0)
    page.reload()
    live(page)

    expect(page.get_by_role("searchbox")).to_have_value("thing")
    expect(page.get_by_role("link", name="Critical thing")).to_be_visible()
    expect(page.get_by_role("link", name="Small thing")).to_have_count(0)
    page.get_by_role("searchbox").fill("nothing fits this")
    expect(page.get_by_role("heading", name="No ticket matches")).to_be_visible()
    page.get_by_role("main").get_by_role("button", name="Clear filters").click()
    expect(page.get_by_role("link", name="Small thing")).to_be_visible()


def test_a_phone_shows_one_column_and_a_full_panel(visit, lead):
    open_ticket(lead, "Retry storm")
    page = visit(lead, BOARD, width=390, height=844, has_touch=True, is_mobile=True)

    tab = page.get_by_role("tab", name="Analyzing 1/5")
    expect(tab).to_have_attribute("aria-selected", "true")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name="Move LEM-1").tap()
    dialog = page.get_by_role("dialog", name="Move LEM-1")
    dialog.get_by_label("Blocked").check()
    dialog.get_by_label("Reason").fill("waiting for the customer")
    dialog.get_by_role("button", name="Move", exact=True).tap()
    page.get_by_role("tab", name="Blocked 1").tap()
    page.get_by_role("link", name="Retry storm").tap()
    panel = page.get_by_role("complementary", name="Ticket")
    assert panel.bounding_box()["width"] == 390
    panel.get_by_role("button", name="Retry in Requirements Analysis").tap()
    expect(panel).to_contain_text("is ready and waits for an agent")
    panel.get_by_role("button", name="Close").tap()
    expect(panel).to_be_hidden()


def test_a_phone_opens_where_somebody_is_needed_and_leads_back_there(visit, lead):
    open_ticket(lead, "Plain one")
    ticket = open_ticket(lead, "Stuck one")
    services.transition(
        actor=lead, ticket_id=ticket.pk, to_phase="PHASE_BLOCKED", reason="Which customer is it?"
    )
    page = visit(lead, BOARD, width=390, height=844, has_touch=True, is_mobile=True)

    tab = page.get_by_role("tab", name="Blocked 1")
    expect(tab).to_have_attribute("aria-selected", "true")
    expect(tab).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("link", name="Stuck one")).to_be_visible()

    first = page.get_by_role("tab", name="Analyzing")
    first.tap()
    expect(page.get_by_role("link", name="Plain one")).to_be_visible()
    page.get_by_role("button", name="Needs you · 1").tap()
    expect(page.get_by_role("link", name="Stuck one")).to_be_visible()
    expect(tab).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_board_panel_and_dialogs(visit, lead, admin, agent, theme):
    from axe_playwright_python.sync_playwright import Axe

    _in_testing(lead, admin, agent)
    other = open_ticket(lead, "Blocked one", labels=["api"])
    reason = "The staging cluster is down."
    services.move_card(
        actor=lead, ticket_id=other.pk, column="blocked", version=None, reason=reason
    )
    for _ in range(6):
        open_ticket(lead, "Queued", priority=1)
    page = visit(lead, f"{BOARD}/tickets/1?tab=evidence", color_scheme=theme)

    def violations() -> list[str]:
        found = Axe().run(page).response["violations"]
        return [
            f"{v['id']}: {n['html'][:160]} {n['failureSummary'][:300]}"
            for v in found
            for n in v["nodes"][:2]
        ]

    assert violations() == []
    page.keyboard.press("4")
    assert violations() == []
    for key in ("m", "c"):
        page.keyboard.press("Escape")
        page.keyboard.press("j")
        page.keyboard.press(key)
        page.get_by_role("dialog").wait_for()
        assert violations() == []
        page.keyboard.press("Escape")
