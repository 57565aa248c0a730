"""The operators' pages in Chromium: nothing for axe to find, in both themes, wide and narrow."""

import pytest
from django.urls import reverse

from guardian import links
from guardian import services as guardian
from guardian.models import Event, ResourceLock, Team
from phases import services

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def busy(site, lead, agent) -> None:
    """Something on every tile that can be had in a moment."""
    ticket = services.open_ticket(actor=lead, title="Stuck one", workflow="software_development")
    services.open_ticket(actor=lead, title="Waiting one", workflow="software_development")
    services.transition(
        actor=lead, ticket_id=ticket.pk, to_phase="PHASE_BLOCKED", reason="no tests at all"
    )
    guardian.acquire_lock(actor=agent, resource_type="dock", resource_id="1")
    guardian.acquire_lock(actor=lead, resource_type="dock", resource_id="1")


def violations(page) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    found = Axe().run(page, options={"runOnly": tags}).response["violations"]
    return [
        f"{page.url} {v['id']}: {n['html'][:160]} {n['failureSummary'][:300]}"
        for v in found
        for n in v["nodes"][:3]
    ]


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 390)])
def test_axe_finds_nothing_on_what_lemnos_draws(visit, site, admin, busy, theme, width):
    page = visit(admin, "/board/software_development", width=width, color_scheme=theme)
    team = Team.objects.get(pk=admin.team_id)
    lock = ResourceLock.objects.get()
    event = Event.objects.latest("id")
    found = []
    for path in (
        reverse("admin:index"), reverse("operators-waiting"), reverse("operators-health"),
        links.page_of(lock), links.page_of(event),
        reverse("admin:guardian_team_press", args=[team.pk, "rename"]), "/password",
    ):  # fmt: skip
        page.goto(f"{site}{path}")
        found += violations(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path

    assert found == []


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 390)])
def test_a_kill_switch_is_told_on_an_open_board_and_over_every_form(
    visit, site, admin, busy, theme, width
):
    page = visit(admin, "/board/software_development", width=width, color_scheme=theme)
    told = page.get_by_role("alert").filter(has_text="New work is stopped")
    assert not told.is_visible()

    guardian.set_kill_switch(actor=admin, on=True, reason="it spends too much")
    told.filter(has_text="it spends too much").wait_for()
    found = violations(page)
    for model in ("webhook", "scheduledevent", "budget"):
        page.goto(f"{site}{reverse(f'admin:guardian_{model}_make', args=['make'])}")
        told.filter(has_text="it spends too much").wait_for()
        found += violations(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, model

    page.goto(f"{site}/board/software_development")
    told.wait_for()
    guardian.set_kill_switch(actor=admin, on=False, reason="paid")
    told.wait_for(state="hidden")
    assert found == []


def test_the_sidebar_opens_by_keys_and_one_key_leads_past_it(visit, site, admin, busy):
    page = visit(admin, "/board/software_development")
    page.goto(f"{site}{reverse('admin:index')}")
    part = page.get_by_role("button", name="Money")
    budgets = page.get_by_role("link", name="Budgets", exact=True)

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "lem-skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"

    assert (part.get_attribute("aria-expanded"), budgets.is_visible()) == ("false", False)
    part.focus()
    page.keyboard.press("Enter")
    budgets.wait_for()
    assert part.get_attribute("aria-expanded") == "true"
    assert violations(page) == []
    part.press(" ")
    budgets.wait_for(state="hidden")
