"""The operators' first page: each number is that of its list, on both sides of every border."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from guardian import links, relay
from guardian import services as guardian
from guardian.models import Budget, Event, ResourceLock
from orchestrator.models import PatternRun
from phases import services as phases
from phases.models import GateRequirement, Task
from tests import factories
from tests.orchestrator.pattern_factories import make_pattern_row, make_run_row

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(admin):
    client = Client()
    client.force_login(admin.user)
    return client


def quietly(sql: str, *values) -> None:
    """Put a row where only time or a long way would bring it."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(sql, values)
        cursor.execute("SET LOCAL session_replication_role = origin")


@pytest.fixture
def rows(team, admin, agent, outsider):
    """For each tile some rows it counts, some just beyond its border, and some of another team."""
    phases.seed_team(team=team)
    ticket = phases.open_ticket(actor=admin, title="Ship", workflow="software_development")
    tasks = [
        phases.create_task(actor=admin, ticket=ticket, task_type="look", title=f"Look {n}")
        for n in range(4)
    ]
    for task in tasks[:2]:  # one silent, one alive
        phases.claim_tasks(actor=agent, task_id=task.pk, capabilities=[], lease_seconds=600)
    past = timezone.now() - timedelta(seconds=1)
    quietly("UPDATE phases_task SET lease_expires_at = %s WHERE id = %s", past, tasks[0].pk)
    [claim] = phases.claim_tasks(actor=agent, task_id=tasks[2].pk, capabilities=[])
    phases.fail_task(
        actor=agent, task_id=tasks[2].pk, fence=claim.task.fence, code="x", message="y",
        permanent=True,
    )  # fmt: skip
    pattern = make_pattern_row(admin)
    for hours in (23, 25):
        run = make_run_row(admin, pattern)
        quietly(
            "UPDATE orchestrator_patternrun SET state = 'failed', error_code = 'x',"
            " finished_at = %s WHERE id = %s",
            timezone.now() - timedelta(hours=hours), run.pk,
        )  # fmt: skip
    for number, spent in enumerate(("9.99", "10", "11")):
        Budget.objects.create(
            team=team, scope_type="ticket", scope_id=str(number), limit=Decimal(10),
            spent=Decimal(spent),
        )  # fmt: skip
    guardian.acquire_lock(actor=agent, resource_type="dock", resource_id="1")
    guardian.acquire_lock(actor=admin, resource_type="dock", resource_id="1")
    done = guardian.acquire_lock(actor=agent, resource_type="dock", resource_id="2")
    guardian.break_lock(actor=admin, lock_id=done.lock_id, reason="not needed any more")
    guardian.acquire_lock(actor=outsider, resource_type="dock", resource_id="9")
    ask_for(ticket, "survey")
    for actor, kind in ((agent, "survey"), (admin, "survey_of_mine"), (agent, "note")):
        phases.add_artifact(actor=actor, ticket_id=ticket.pk, artifact_type=kind, content="x" * 20)
    return ticket


def ask_for(ticket, *kinds) -> None:
    """Make the gate of the ticket's phase want these, confirmed."""
    for kind in kinds:
        GateRequirement.objects.create(
            team=ticket.team, phase=ticket.phase, key=kind, kind="artifact",
            parameters={"artifact_type": kind, "rules": {"present": True}},
        )  # fmt: skip


def tiles_of(answer) -> dict[str, dict[str, Any]]:
    return {tile["title"]: tile for tile in answer.context["headlines"]}


def test_each_headline_counts_exactly_the_rows_of_its_list(browser, rows):
    tiles = tiles_of(browser.get(reverse("admin:index")))

    counts = {title: tile["count"] for title, tile in tiles.items()}
    assert counts == {
        "Stuck tasks": 2, "Failed runs, 24 h": 1, "Budgets over": 2, "Waiting for you": 1,
        "Queue": 2, "Locks": 1, "Health": counts["Health"],
    }  # fmt: skip
    for title, tile in tiles.items():
        if title not in {"Waiting for you", "Health"}:
            listed = browser.get(tile["url"])
            assert listed.context["cl"].queryset.count() == tile["count"], title
    waiting = browser.get(tiles["Waiting for you"]["url"])
    assert waiting.context["total"] == sum(
        browser.get(section["url"]).context["cl"].queryset.count()
        for section in waiting.context["sections"]
    ) == 1  # fmt: skip
    parts = browser.get(tiles["Health"]["url"]).context["parts"]
    unwell = [part for part in parts if not part["ok"] and not part["optional"]]
    assert len(unwell) == tiles["Health"]["count"]


def test_the_queue_and_the_stuck_are_those_of_the_table(browser, rows):
    tiles = tiles_of(browser.get(reverse("admin:index")))

    stuck = browser.get(tiles["Stuck tasks"]["url"]).context["cl"].result_list
    assert {task.title for task in stuck} == {"Look 0", "Look 2"}
    assert Task.objects.filter(status="assigned").count() == 2, "the other holder is not silent"
    failed = browser.get(tiles["Failed runs, 24 h"]["url"]).context["cl"].result_list
    assert PatternRun.objects.filter(state="failed").count() == len(failed) + 1


class TestWaitingForYou:
    @pytest.fixture
    def ticket(self, team, admin):
        phases.seed_team(team=team)
        made = phases.open_ticket(actor=admin, title="Ship", workflow="software_development")
        ask_for(made, "survey")
        return made

    def told(self, actor) -> int:
        client = Client()
        client.force_login(actor.user)
        tiles = tiles_of(client.get(reverse("admin:index")))
        return tiles["Waiting for you"]["count"]

    def hand_in(self, actor, ticket, kind="survey", content="x"):
        return phases.add_artifact(
            actor=actor, ticket_id=ticket.pk, artifact_type=kind, content=content
        )

    def test_counts_what_another_reported_for_the_gate(self, admin, lead, ticket):
        self.hand_in(lead, ticket)

        assert self.told(admin) == 1

    def test_leaves_out_ones_own_and_what_no_gate_asks_for(self, admin, lead, ticket):
        self.hand_in(admin, ticket)
        self.hand_in(lead, ticket, kind="note")

        assert self.told(admin) == 0

    def test_leaves_out_what_a_later_piece_replaced_and_phases_left_behind(
        self, admin, lead, ticket
    ):
        self.hand_in(lead, ticket)
        self.hand_in(lead, ticket, content="newer")
        assert self.told(admin) == 1

        phases.transition(
            actor=admin, ticket_id=ticket.pk, to_phase="PHASE_DESIGN", override=True,
            reason="nobody needs the survey",
        )  # fmt: skip

        assert self.told(admin) == 0

    def test_is_nothing_for_whoever_may_not_decide(self, team, lead, ticket):
        author = factories.make_actor(team, "aud", role="author")
        self.hand_in(lead, ticket)

        assert self.told(author) == 0


def test_health_says_ok_or_how_many_parts_are_not_well(browser, monkeypatch):
    def at(*names):
        shown = [{"name": name, "ok": False, "optional": False, "note": ""} for name in names]
        monkeypatch.setattr("guardian.parts.state_of_parts", lambda request: shown)
        return browser.get(reverse("admin:index")).content.decode()

    assert "<strong>OK</strong>" in at()
    text = at("Relay", "Disk")
    assert "<strong>2</strong><small>Not well: Relay, Disk</small>" in text


def test_an_empty_home_says_so_in_words(browser):
    text = browser.get(reverse("admin:index")).content.decode()

    for said in ("Every open task can go on", "No run failed", "Nothing asks for a decision"):
        assert said in text
    assert "Nothing waits for you" in browser.get(reverse("operators-waiting")).content.decode()


def test_asks_at_most_twenty_questions(browser, rows, django_assert_max_num_queries):
    browser.get(reverse("admin:index"))

    with django_assert_max_num_queries(20):
        browser.get(reverse("admin:index"))


@pytest.mark.parametrize("name", ["operators-waiting", "operators-health"])
def test_the_pages_are_for_operators(viewer, name):
    client = Client()
    assert client.get(reverse(name)).status_code == 302
    client.force_login(viewer.user)
    assert client.get(reverse(name)).status_code == 302


class TestRowsRead:
    def test_a_lock_shows_its_holder_and_its_line(self, browser, rows, agent, admin):
        lock = ResourceLock.objects.get(resource_id="1")

        held, line = browser.get(links.page_of(lock)).context["tables"]

        assert [row[0].text for row in held.rows] == [agent.user.username]
        assert [(row[0].text, row[1].text) for row in line.rows] == [("1", admin.user.username)]
        assert browser.get(line.rows[0][1].url).status_code == 200

    def test_an_event_shows_what_changed_and_whom_it_reached(self, browser, team, admin, lead):
        membership = lead.user.memberships.get()
        guardian.change_role(
            actor=admin, membership_id=membership.pk, role="operator", authority=3, reason="less"
        )
        event = Event.objects.filter(kind="guardian.membership.changed").latest("id")
        relay.run_once()

        changed, deliveries, *_ = browser.get(links.page_of(event)).context["tables"]

        told = {row[0].text: (row[1].text, row[2].text, row[1].tone) for row in changed.rows}
        assert told["authority"] == ("4", "3", "del")
        assert told["role"] == ("operator", "operator", "")
        assert deliveries.title == "Deliveries"
        assert len(deliveries.rows) == event.deliveries.count()

    def test_an_event_leads_to_those_of_the_same_request(self, browser, rows, admin):
        from guardian.models import Team

        client = Client(headers={"X-Request-ID": "one-and-the-same"})
        client.force_login(admin.user)
        url = reverse("admin:guardian_team_make", args=["found"])
        client.post(url, {"name": "Reef", "slug": "reef", "reason": "a second harbour"})
        reef = Team.objects.get(slug="reef")
        event = Event.objects.filter(team=reef, request_id="one-and-the-same").earliest("id")

        page = browser.get(links.page_of(event))

        same = next(t for t in page.context["tables"] if t.title == "In the same request")
        listed = browser.get(page.context["ways_up"]["Same request"]).context["cl"].queryset
        assert len(same.rows) + 1 == listed.count() >= 2
