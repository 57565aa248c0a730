"""The board's page as the server sends it: who sees what, in how many queries."""

import json
import re
from html import unescape
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from phases import services
from phases.models import PhaseGateArtifact, Task, Ticket
from tests import factories

FLOW = "software_development"
DOCUMENT = "# Scope\n" + "what is asked for " * 30 + "\n# Acceptance criteria\nit works\n"


@pytest.fixture(autouse=True)
def flow(team, other_team):
    services.seed_team(team=team)
    services.seed_team(team=other_team)


@pytest.fixture
def page():
    """`page(lead, "/board")`: what this person gets."""

    def get(actor, path, **options):
        client = Client()
        if actor is not None:
            client.force_login(actor.user)
        return client.get(path, **options)

    return get


def open_ticket(actor, title="Retry storm", **options) -> Ticket:
    return services.open_ticket(actor=actor, title=title, workflow=FLOW, **options)


def data_of(response):
    text = response.content.decode()
    found = re.search(r'<script id="board-data" type="application/json">(.*?)</script>', text)
    return json.loads(found.group(1))


def cards_of(response):
    return [card for column in data_of(response)["columns"] for card in column["cards"]]


def words(response) -> str:
    """The page's text, spaces joined."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", response.content.decode())).split())


class TestDoor:
    def test_asks_a_stranger_to_log_in_and_leads_back(self, page):
        response = page(None, f"/board/{FLOW}/tickets/3")

        assert response.status_code == 302
        assert response.headers["Location"] == f"/login?next=/board/{FLOW}/tickets/3"

    def test_leads_home_to_the_checkup_and_later_to_the_board_seen_last(self, lead):
        client = Client()
        client.force_login(lead.user)

        assert client.get("/", follow=True).redirect_chain[-1][0] == "/board/repo_checkup"
        client.get(f"/board/{FLOW}")
        assert client.get("/board").headers["Location"] == f"/board/{FLOW}"

    def test_tells_somebody_without_a_team_what_to_do(self, page, db):
        from guardian import services as guardian

        user = guardian.create_user(username="nobody", kind="human", password="x" * 20)
        client = Client()
        client.force_login(user)
        response = client.get(f"/board/{FLOW}")

        assert response.status_code == 403
        assert "An administrator of your team can add you" in words(response)

    def test_knows_no_foreign_or_unknown_board_and_names_its_own(self, page, lead):
        response = page(lead, "/board/nonsense")

        assert response.status_code == 404
        assert "Repository checkup" in words(response)

    def test_never_shows_another_teams_ticket(self, page, lead, outsider):
        for number in range(3):
            open_ticket(outsider, f"Island secret {number}")
        open_ticket(lead, "Own")

        board = page(lead, f"/board/{FLOW}")
        panel = page(lead, f"/board/{FLOW}/tickets/2")

        assert panel.status_code == 404
        for response in (board, panel):
            assert "Island" not in response.content.decode()
            titles = [c["title"] for col in data_of(response)["columns"] for c in col["cards"]]
            assert titles == ["Own"]

    def test_offers_a_viewer_nothing_to_write(self, page, viewer, lead):
        open_ticket(lead)
        response = page(viewer, f"/board/{FLOW}/tickets/1")

        assert data_of(response)["me"]["write"] is False
        for word in ("New ticket", "Move to…", "Cancel…", "Assign me", "Validate"):
            assert word not in words(response)


class TestSafety:
    def test_no_text_of_a_ticket_can_become_markup_or_script(self, page, lead):
        evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
        open_ticket(lead, evil, description=evil, labels=["<b>bold</b>"])
        response = page(lead, f"/board/{FLOW}/tickets/1")
        text = response.content.decode()

        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert data_of(response)["columns"][1]["cards"][0]["title"] == evil

    def test_brings_everything_itself_and_runs_nothing_inline(self, page, lead):
        response = page(lead, f"/board/{FLOW}")
        text = response.content.decode()

        policy = response.headers["Content-Security-Policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"<script(?![^>]*(src=|application/json))", text)
        assert not re.search(r"\son[a-z]+=|\sstyle=", text)
        assert not re.search(r'(src|href)="(https?:)?//', text)

    def test_says_so_when_untrusted_code_may_run_below_a_container(self, page, lead, settings):
        settings.UNTRUSTED_LEVEL = "bwrap"

        assert "below a container" in words(page(lead, f"/board/{FLOW}"))


def test_asks_for_every_module_that_the_page_imports(page, lead):
    folder = Path(settings.BASE_DIR) / "static" / "lemnos" / "board"
    there = {f"{path.stem}" for path in folder.glob("*.js")} - {"main"}
    asked = set(re.findall(r'modulepreload" href="[^"]*/(\w+)\.js"', _text(page, lead)))
    imported = {
        name
        for path in folder.glob("*.js")
        for name in re.findall(r'from "\./(\w+)\.js"', path.read_text())
    }

    assert asked == there == imported


def _text(page, actor) -> str:
    return page(actor, f"/board/{FLOW}").content.decode()


class TestCost:
    def test_the_page_costs_the_same_number_of_queries_at_any_size(
        self, page, lead, agent, django_assert_max_num_queries
    ):
        client = Client()
        client.force_login(lead.user)
        client.get(f"/board/{FLOW}")
        for number in range(40):
            open_ticket(lead, f"T{number}", priority=1 + number % 4)
        services.claim_tasks(actor=agent, capabilities=["analysis"], limit=5)

        # Session, user, membership and team, other teams; workflows, phases; the snapshot's five.
        with django_assert_max_num_queries(12):
            client.get(f"/board/{FLOW}")

    def test_the_panel_costs_the_same_number_of_queries_for_any_history(
        self, page, lead, django_assert_num_queries
    ):
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        ticket = open_ticket(lead)
        client = Client()
        client.force_login(lead.user)
        path = f"/board/{FLOW}/tickets/1?fragment=1"
        with CaptureQueriesContext(
            connection,
        ) as small:
            client.get(path)
        for number in range(20):
            services.create_task(actor=lead, ticket=ticket, task_type="x", title=f"T{number}")
            services.add_artifact(
                actor=lead, ticket_id=ticket.pk, artifact_type="note", content={"n": number}
            )

        with django_assert_num_queries(len(small)):
            client.get(path)

    def test_a_board_of_500_cards_is_sent_in_at_most_300_kib(self, lead):
        for number in range(60):
            open_ticket(lead, f"A title of ordinary length, number {number}")
        client = Client()
        client.force_login(lead.user)
        response = client.get(f"/board/{FLOW}", headers={"Accept-Encoding": "gzip"})

        assert response.headers["Content-Encoding"] == "gzip"
        # 50 of the 60 are sent; 500 would be ten times as much at most.
        assert len(response.content) * 10 < 300 * 1024


class TestMore:
    def test_every_card_of_a_long_column_is_reached_once(self, api, lead):
        for number in range(120):
            open_ticket(lead, f"T{number}", priority=1 + number % 4)
        client = api(lead)
        shown = client.get(f"/api/v1/board?workflow={FLOW}").data["columns"][1]["cards"]
        assert len(shown) == 50

        for _ in range(2):
            path = f"/api/v1/board/cards?workflow={FLOW}&column=analyzing&after={shown[-1]['id']}"
            page = client.get(path).data
            shown += page["cards"]

        assert page["next"] is False
        assert [c["number"] for c in shown] == list(
            Ticket.objects.order_by("priority", "rank", "id").values_list("number", flat=True)
        )

    def test_finished_tickets_begin_with_the_newest(self, api, lead, admin):
        for number in range(3):
            ticket = open_ticket(lead, f"T{number}", priority=3 - number)
            services.move_card(
                actor=admin,
                ticket_id=ticket.pk,
                column="blocked",
                version=None,
                reason="to end it from there",
            )
            _finish(ticket)

        columns = api(lead).get(f"/api/v1/board?workflow={FLOW}").data["columns"]
        done = next(c for c in columns if c["key"] == "done")
        assert [c["title"] for c in done["cards"]] == ["T2", "T1", "T0"]
        after = done["cards"][0]["id"]
        path = f"/api/v1/board/cards?workflow={FLOW}&column=done&after={after}"
        assert [c["title"] for c in api(lead).get(path).data["cards"]] == ["T1", "T0"]

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ("workflow=software_development&column=nonsense&after={}", 404),
            ("workflow=nonsense&column=done&after={}", 404),
            ("workflow=software_development&column=done&after=x", 400),
            ("workflow=software_development&column=done", 400),
            ("workflow=software_development&column=done&after={}&other=1", 400),
        ],
    )
    def test_refuses_what_it_does_not_know(self, api, lead, query, status):
        ticket = open_ticket(lead)

        assert api(lead).get(f"/api/v1/board/cards?{query.format(ticket.pk)}").status_code == status

    def test_never_reaches_into_another_team(self, api, lead, outsider):
        ticket = open_ticket(lead)

        path = f"/api/v1/board/cards?workflow={FLOW}&column=analyzing&after={ticket.pk}"
        assert api(outsider).get(path).status_code == 404


def _finish(ticket: Ticket) -> None:
    """Place a card in Done as a validated result would; the way there is not the point here."""
    from django.utils import timezone

    from phases.models import Phase, PhaseHistory

    row = Ticket.objects.get(pk=ticket.pk)
    done = Phase.objects.get(workflow=row.workflow, key="PHASE_DONE")
    row.phase, row.column, row.rank = done, done.column, timezone.now().timestamp()
    row.is_blocked, row.blocked_reason, row.version = False, "", row.version + 1
    row.save()
    PhaseHistory.objects.create(
        team=row.team,
        ticket=row,
        to_phase=done,
        kind="result",
        via="api",
        transitioned_by=row.created_by,
        ticket_version=row.version,
    )


class TestPanel:
    def test_says_in_one_sentence_what_a_ticket_waits_for(self, page, lead):
        open_ticket(lead)

        text = words(page(lead, f"/board/{FLOW}/tickets/1?fragment=1"))
        assert "is ready and waits for an agent that offers analysis." in text

    def test_names_who_is_at_it_and_what_they_say(self, page, lead, agent):
        open_ticket(lead)
        task = services.claim_tasks(actor=agent, capabilities=["analysis"])[0].task
        services.extend_lease(actor=agent, task_id=task.pk, fence=1, note="reading the code")

        text = words(page(lead, f"/board/{FLOW}/tickets/1?fragment=1"))
        assert "Working coder-1 is at “" in text
        assert "reading the code" in text

    def test_says_that_a_full_column_lets_it_wait(self, page, lead):
        for _ in range(6):
            open_ticket(lead)

        text = words(page(lead, f"/board/{FLOW}/tickets/6?fragment=1"))
        assert "Analyzing is full (5 of 5). This ticket is admitted by itself" in text

    def test_says_why_it_is_blocked_and_offers_the_way_back(self, page, lead):
        ticket = open_ticket(lead)
        services.move_card(
            actor=lead,
            ticket_id=ticket.pk,
            column="blocked",
            version=None,
            reason="The archive is broken.",
        )

        response = page(lead, f"/board/{FLOW}/tickets/1?fragment=1")
        text = words(response)
        assert "Blocked The archive is broken. Retry sends it back to Requirements" in text
        assert "Retry in Requirements Analysis" in text
        assert 'data-state="stuck"' in response.content.decode()
        assert "There is no requirements document yet." in text
        assert "Validate" not in text

    def test_shows_who_observed_each_piece_of_evidence(self, page, lead, agent):
        ticket = open_ticket(lead)
        task = Task.objects.get(ticket=ticket)
        services.update_ticket(
            actor=lead, ticket_id=ticket.pk, version=None, changes={"assignee": agent.id}
        )
        services.record_evidence(
            actor=agent,
            ticket_id=ticket.pk,
            task_id=task.pk,
            artifact_type="test_results",
            content={"total": 3, "passed": 3, "failed": 0},
            observation={"execution_id": "0190aaaabbbb", "exit_code": 0, "isolation": "container"},
        )
        services.add_artifact(
            actor=agent,
            ticket_id=ticket.pk,
            artifact_type="requirements_document",
            content=DOCUMENT,
        )

        text = words(page(lead, f"/board/{FLOW}/tickets/1?fragment=1"))
        assert "observed by Lemnos in a container, exit 0, execution 0190aaaa…" in text
        assert "total 3 · passed 3 · failed 0" in text
        assert "reported by coder-1" in text
        assert "1 of 1 tasks of this phase are not completed." in text

    @pytest.mark.parametrize(
        ("observation", "said"),
        [
            ({"isolation": "container", "ran_the_source": True}, "run by Lemnos in a container"),
            (
                {"isolation": "none", "ran_the_source": False},
                "read by Lemnos, not run, without a sandbox",
            ),
            ({"isolation": "none", "ran_the_source": True}, "run by Lemnos without a sandbox"),
            (
                {"isolation": "container", "composed_from": {}},
                "composed by Lemnos of what its own runs observed",
            ),
        ],
    )
    def test_tells_what_was_run_from_what_was_only_read(self, page, lead, observation, said):
        ticket = open_ticket(lead)
        services.record_evidence(
            actor=lead,
            ticket_id=ticket.pk,
            task_id=ticket.tasks.get().pk,
            artifact_type="inventory",
            content={"files": 3},
            observation={"execution_id": "0190aaaabbbb", **observation},
        )

        assert said in words(page(lead, f"/board/{FLOW}/tickets/1?fragment=1"))

    def test_names_the_phase_its_gate_leads_to_not_the_column(self, page, lead):
        open_ticket(lead)

        assert "Gate to Design" in words(page(lead, f"/board/{FLOW}/tickets/1?fragment=1"))

    @pytest.mark.parametrize(
        ("code", "said"),
        [
            (
                "no_capable_agent",
                "“Analyse the requirements” waits for an agent with analysis; none that runs here",
            ),
            ("kill_switch_on", "is not taken yet. The kill switch is on: nothing new starts."),
            ("budget_exceeded", "A budget does not allow this much more. Raise the limit,"),
        ],
    )
    def test_tells_why_nobody_takes_a_task_without_a_machine_key(self, page, lead, code, said):
        ticket = open_ticket(lead)
        services.note_why_waiting(task_id=ticket.tasks.get().pk, code=code)

        text = words(page(lead, f"/board/{FLOW}/tickets/1?fragment=1"))
        assert said in text
        assert code not in text

    def test_a_card_counts_the_evidence_that_is_missing(self, page, lead):
        ticket = open_ticket(lead)
        services.validate_gate(actor=lead, ticket_id=ticket.pk)

        [card] = cards_of(page(lead, f"/board/{FLOW}"))
        gate = card["gate"]
        assert (gate["total"], gate["met"], gate["missing"]) == (2, 0, 1)

    def test_lets_a_second_person_confirm_but_never_the_author(self, page, lead, admin):
        ticket = open_ticket(lead)
        services.add_artifact(
            actor=lead,
            ticket_id=ticket.pk,
            artifact_type="requirements_document",
            content="too short",
        )
        PhaseGateArtifact.objects.get()

        path = f"/board/{FLOW}/tickets/1?fragment=1"
        own, other = words(page(lead, path)), words(page(admin, path))
        assert "it has 9 characters, 500 are needed" in own
        assert "Confirm" not in own
        assert "Confirm" in other

    def test_tells_the_story_newest_first(self, page, lead, agent):
        ticket = open_ticket(lead)
        services.claim_tasks(actor=agent, capabilities=["analysis"])
        services.update_ticket(
            actor=lead, ticket_id=ticket.pk, version=None, changes={"title": "Calmer"}
        )

        text = words(page(lead, f"/board/{FLOW}/tickets/1?fragment=1"))
        told = [text.index(w) for w in ("changed title", "took “", "opened this ticket")]
        assert told == sorted(told)


class TestTargets:
    def test_says_for_every_phase_whether_and_why_not(self, api, lead, team):
        ticket = open_ticket(lead)
        rows = api(lead).get(f"/api/v1/tickets/{ticket.pk}/transitions").data["results"]
        by_phase = {row["to_phase"]: row for row in rows}

        assert by_phase["PHASE_BLOCKED"]["allowed"] is True
        design = by_phase["PHASE_DESIGN"]
        assert (design["allowed"], design["code"]) == (False, "gate_not_passed")
        assert "There is no requirements document yet." in design["reasons"]
        assert by_phase["PHASE_DONE"]["code"] == "illegal_transition"

    def test_agrees_with_the_move_itself(self, api, lead, admin):
        """What is said to be possible is, and what is refused is refused with the same code."""
        for row in self._rows(api, lead):
            ticket = open_ticket(lead)
            response = api(lead).post(
                f"/api/v1/tickets/{ticket.pk}/transition",
                {"to_phase": row["to_phase"], "reason": "to see whether it may"},
                format="json",
            )
            assert response.data.get("code") == row["code"], row

    def _rows(self, api, lead):
        ticket = open_ticket(lead)
        return api(lead).get(f"/api/v1/tickets/{ticket.pk}/transitions").data["results"]

    def test_is_unknown_to_another_team(self, api, lead, outsider):
        ticket = open_ticket(lead)

        response = api(outsider).get(f"/api/v1/tickets/{ticket.pk}/transitions")
        assert response.status_code == 404


def test_a_second_team_member_is_no_stranger(page, team, lead):
    other = factories.make_actor(team, "otto")
    open_ticket(lead)

    assert page(other, f"/board/{FLOW}/tickets/1").status_code == 200
