"""Programs at the door: tickets opened, claimed, proved and moved through the REST API alone."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.db import OperationalError
from django.db.models.functions import Now
from django.utils import timezone

from guardian import relay
from guardian import services as guardian
from guardian.models import uuid7
from memory.models import MemoryRecord
from phases import services as phases
from phases.models import ReadyTask, Task, Ticket

REQUIREMENTS = "# Scope\n" + "what is asked for " * 30 + "\n# Acceptance criteria\nit works\n"


@pytest.fixture
def flow(team):
    phases.seed_team(team=team)


@pytest.fixture
def opened(flow, api, lead):
    body = {"title": "Retry storm", "workflow": "software_development"}
    return api(lead).post("/api/v1/tickets", body, format="json")


def claim(client, *capabilities):
    body = {"capabilities": list(capabilities)}
    return client.post("/api/v1/tasks/claim", body, format="json").json()["tasks"]


class TestTickets:
    def test_opens_with_an_etag_and_shows_the_same(self, opened, api, viewer):
        assert opened.status_code == 201
        assert opened["ETag"] == '"v1"'

        shown = api(viewer).get(f"/api/v1/tickets/{opened.json()['id']}")
        assert shown.json() == opened.json()

    @pytest.mark.parametrize(
        ("change", "code", "path"),
        [
            ({"workflow": "nope"}, "invalid", "workflow"),
            ({"extra": 1}, "unknown_field", "extra"),
            ({"priority": "URGENT"}, "invalid", "priority"),
            ({"title": ""}, "invalid", "title"),
            ({"context": {"history": []}}, "invalid", "context.history"),
            ({"assignee": str(uuid7())}, "invalid", "assignee"),
        ],
    )
    def test_bad_input_names_the_field_and_writes_nothing(
        self, flow, api, lead, change, code, path
    ):
        body = {"title": "x", "workflow": "software_development", **change}

        answer = api(lead).post("/api/v1/tickets", body, format="json")

        assert (answer.status_code, answer.json()["code"]) == (400, code)
        assert answer.json()["errors"][0]["path"] == path
        assert not Ticket.objects.exists()

    def test_a_viewer_may_not_open_and_a_foreigner_sees_nothing(
        self, opened, api, viewer, outsider
    ):
        body = {"title": "x"}
        refused = api(viewer).post("/api/v1/tickets", body, format="json")
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")

        url = f"/api/v1/tickets/{opened.json()['id']}"
        stranger = api(outsider)
        assert stranger.get(url).status_code == 404
        assert (
            stranger.post(f"{url}/cancel", {"reason": "it is ours"}, format="json").status_code
            == 404
        )
        assert stranger.get("/api/v1/tickets").json()["results"] == []

    def test_a_repeated_key_opens_one_ticket_and_another_body_is_refused(self, flow, api, lead):
        client = api(lead)
        body = {"title": "once", "workflow": "software_development"}

        first = client.post("/api/v1/tickets", body, format="json", HTTP_IDEMPOTENCY_KEY="k1")
        again = client.post("/api/v1/tickets", body, format="json", HTTP_IDEMPOTENCY_KEY="k1")
        other = client.post(
            "/api/v1/tickets", {**body, "title": "two"}, format="json", HTTP_IDEMPOTENCY_KEY="k1"
        )

        assert again.json() == first.json()
        assert again["Idempotency-Replayed"] == "true"
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        assert Ticket.objects.count() == 1

    def test_editing_needs_the_version_that_was_read(self, opened, api, lead):
        client, url = api(lead), f"/api/v1/tickets/{opened.json()['id']}"

        assert client.patch(url, {"title": "n"}, format="json").status_code == 428
        stale = client.patch(url, {"title": "n"}, format="json", HTTP_IF_MATCH='"v9"')
        assert (stale.status_code, stale.json()["current_etag"]) == (412, '"v1"')
        fresh = client.patch(url, {"title": "n"}, format="json", HTTP_IF_MATCH='"v1"')
        assert (fresh.status_code, fresh["ETag"]) == (200, '"v2"')

    def test_an_unknown_filter_is_refused_by_name(self, api, lead):
        answer = api(lead).get("/api/v1/tickets?colour=red")

        assert (answer.status_code, answer.json()["code"]) == (400, "bad_filter")

    def test_pages_lose_and_double_nothing_while_tickets_are_opened(self, flow, api, lead):
        client = api(lead)
        for number in range(5):
            phases.open_ticket(actor=lead, title=str(number), workflow="software_development")
        first = client.get("/api/v1/tickets?limit=3&total=true").json()
        phases.open_ticket(actor=lead, title="meanwhile", workflow="software_development")
        second = client.get("/api/v1/tickets", {"limit": 3, "cursor": first["next"]}).json()

        titles = [t["title"] for t in first["results"] + second["results"]]
        assert titles == ["4", "3", "2", "1", "0"]
        assert (first["total"], second["next"]) == (5, None)
        assert client.get("/api/v1/tickets?cursor=forged").json()["code"] == "bad_cursor"


class TestWork:
    def test_an_agent_carries_a_ticket_through_its_first_gate(self, opened, api, agent):
        client, ticket = api(agent), opened.json()["id"]
        task = claim(client, "analysis")[0]
        assert task["prompt"]["phase_prompt"]
        assert set(task["memory"]) >= {"similar", "cautions", "patterns", "recommendations"}
        url = f"/api/v1/tasks/{task['id']}"
        fence = task["lease"]["token"]

        beat = client.post(f"{url}/heartbeat", {"fence": fence, "progress": 0.5}, format="json")
        assert (beat.json()["status"], beat.json()["cancel"]) == ("running", None)
        artifact = {"type": "requirements_document", "path": "docs/r.md", "content": REQUIREMENTS}
        result = {"summary": "Retries storm after failover", "artifacts": [artifact]}
        done = client.post(f"{url}/complete", {"fence": fence, "result": result}, format="json")
        assert done.json() == {"status": "completed", "unblocked": []}
        gate = client.post(f"/api/v1/tickets/{ticket}/validate-gate", {}, format="json").json()
        assert (gate["gate_status"], gate["status"]) == ("passed", "ready")
        moved = client.post(
            f"/api/v1/tickets/{ticket}/transition", {"to_phase": "PHASE_DESIGN"}, format="json"
        )

        assert moved.json()["current_phase"] == "PHASE_DESIGN"
        assert [t["task_type"] for t in claim(client, "design")] == ["design_solution"]

    def test_a_finished_task_is_remembered_once(self, opened, api, agent):
        client = api(agent)
        task = claim(client, "analysis")[0]
        body = {"fence": task["lease"]["token"], "result": {"summary": "Retries storm"}}
        client.post(f"/api/v1/tasks/{task['id']}/complete", body, format="json")

        relay.run_once()
        relay.run_once()

        record = MemoryRecord.objects.get()
        assert (record.kind, str(record.task_id), record.success) == ("task", task["id"], True)

    def test_an_old_fence_hears_lease_lost_and_who_holds_it(self, opened, api, agent, lead):
        client = api(agent)
        task = claim(client, "analysis")[0]
        phases.release_task(actor=lead, task_id=task["id"], fence=None, reason="stuck")

        body = {"fence": task["lease"]["token"], "result": {}}
        late = client.post(f"/api/v1/tasks/{task['id']}/complete", body, format="json")

        assert late.status_code == 409
        assert late.json()["code"] == "lease_lost"
        assert late.json()["current_fence"] == 2
        assert late.json()["remedy"]["text"] == "stop; claim again"

    def test_a_phase_that_nobody_has_is_refused_instead_of_waited_for(self, opened, api, agent):
        client = api(agent)
        refused = client.post("/api/v1/tasks/claim", {"phase": "PHASE_FOO"}, format="json")

        assert refused.status_code == 400
        assert refused.json()["errors"][0]["path"] == "phase"
        wish = {"capabilities": ["analysis"], "phase": "PHASE_REQUIREMENTS"}
        [held] = client.post("/api/v1/tasks/claim", wish, format="json").json()["tasks"]
        done = client.post(
            f"/api/v1/tasks/{held['id']}/complete",
            {"fence": held["lease"]["token"], "claim_next": {"phase": "PHASE_FOO"}},
            format="json",
        )
        assert (done.status_code, done.json()["errors"][0]["path"]) == (400, "claim_next.phase")
        assert Task.objects.get(pk=held["id"]).status == "assigned"

    def test_a_foreign_task_is_404(self, opened, api, agent, outsider):
        task = claim(api(agent), "analysis")[0]
        answer = api(outsider).post(
            f"/api/v1/tasks/{task['id']}/heartbeat", {"fence": 1}, format="json"
        )

        assert answer.status_code == 404


class TestBoard:
    def test_shows_columns_with_counts_and_cards(self, opened, api, viewer, agent):
        claim(api(agent), "analysis")

        board = api(viewer).get("/api/v1/board?workflow=software_development").json()

        column = next(c for c in board["columns"] if c["key"] == "analyzing")
        assert (column["admitted"], column["wip_limit"], column["total"]) == (1, 5, 1)
        card = column["cards"][0]
        assert card["title"] == "Retry storm"
        assert card["holder"]["name"] == "coder-1"
        assert card["tasks"] == {"done": 0, "total": 1, "failed": 0, "blocked": 0}

    def test_costs_the_same_queries_at_any_size(
        self, flow, api, lead, django_assert_max_num_queries
    ):
        from phases import board
        from phases.models import Workflow

        for number in range(30):
            phases.open_ticket(actor=lead, title=str(number), workflow="software_development")
        workflow = Workflow.objects.get(key="software_development")

        with django_assert_max_num_queries(5):
            shown = board.snapshot(workflow)
        assert sum(len(c["cards"]) for c in shown["columns"]) == 30
        client = api(lead)
        # The caller's token with its user, membership and team; the workflow; the snapshot.
        with django_assert_max_num_queries(9):
            client.get("/api/v1/board?workflow=software_development")

    def test_moves_a_card_or_says_what_would_allow_it(self, opened, api, lead):
        client, ticket = api(lead), opened.json()["id"]
        want = {"ticket_id": ticket, "column": "building", "version": 1}

        refused = client.post("/api/v1/board/move", want, format="json")
        assert refused.status_code == 409
        assert refused.json()["allowed"] == ["PHASE_DESIGN", "PHASE_BLOCKED"]

        without = client.post(
            "/api/v1/board/move", {"ticket_id": ticket, "column": "blocked"}, format="json"
        )
        assert without.status_code == 428
        body = {**want, "column": "blocked", "reason": "waits for a key"}
        moved = client.post("/api/v1/board/move", body, format="json")
        assert moved.json()["column"] == "blocked"
        assert moved.json()["blocked_reason"] == "waits for a key"


class TestNext:
    def test_the_next_task_comes_with_the_completion(self, flow, api, agent, lead):
        for title in ("first", "second"):
            phases.open_ticket(actor=lead, title=title, workflow="software_development")
        client = api(agent)
        (task,) = claim(client, "analysis")
        body = {
            "fence": task["lease"]["token"],
            "result": {"summary": "done"},
            "claim_next": {"capabilities": ["analysis"]},
        }

        answer = client.post(
            f"/api/v1/tasks/{task['id']}/complete", body, format="json", HTTP_IDEMPOTENCY_KEY="c1"
        )
        again = client.post(
            f"/api/v1/tasks/{task['id']}/complete", body, format="json", HTTP_IDEMPOTENCY_KEY="c1"
        )

        assert (answer.status_code, answer.json()["status"]) == (200, "completed")
        (following,) = answer.json()["next"]["tasks"]
        assert (following["ticket"]["title"], following["status"]) == ("second", "assigned")
        assert following["memory"]["similar"] == []
        assert answer.json()["next"]["refused"] is None
        assert again.json()["next"]["tasks"][0]["lease"] == following["lease"]

    def test_a_claim_is_answered_also_where_memory_fails(self, flow, api, agent, lead, monkeypatch):
        for title in ("first", "second", "third"):
            phases.open_ticket(actor=lead, title=title, workflow="software_development")
        client = api(agent)

        def gone(**_):
            raise RuntimeError("index gone")

        monkeypatch.setattr("memory.services.task_context", gone)

        (first,) = claim(client, "analysis")
        handed_over = client.post(
            f"/api/v1/tasks/{first['id']}/complete",
            {
                "fence": first["lease"]["token"],
                "result": {"summary": "done"},
                "claim_next": {"capabilities": ["analysis"]},
            },
            format="json",
        )
        third = Task.objects.get(ticket__title="third")
        body = {"capabilities": ["analysis"]}
        named = client.post(f"/api/v1/tasks/{third.pk}/claim", body, format="json")

        (second,) = handed_over.json()["next"]["tasks"]
        for task in (first, second, *named.json()["tasks"]):
            assert task["memory"] == {
                "similar": [],
                "cautions": [],
                "patterns": [],
                "recommendations": [],
                "warnings": ["memory_unavailable"],
            }
        assert third.pk == UUID(named.json()["tasks"][0]["id"])

    def test_a_claim_shows_no_memory_whose_use_cannot_be_noted(
        self, flow, api, agent, lead, monkeypatch
    ):
        phases.open_ticket(actor=lead, title="x", workflow="software_development")

        def full(**_):
            raise OperationalError("disk full")

        monkeypatch.setattr("memory.services.record_uses", full)

        (task,) = claim(api(agent), "analysis")

        assert task["status"] == "assigned"
        assert task["memory"]["warnings"] == ["memory_unavailable"]

    def test_a_heartbeat_tells_of_the_kill_switch_and_keeps_the_lease(
        self, flow, api, agent, admin, lead
    ):
        phases.open_ticket(actor=lead, title="x", workflow="software_development")
        client = api(agent)
        (task,) = claim(client, "analysis")
        url = f"/api/v1/tasks/{task['id']}/heartbeat"
        before = client.post(url, {"fence": 1}, format="json").json()
        guardian.set_kill_switch(actor=admin, on=True, reason="stop")

        told = client.post(url, {"fence": 1}, format="json").json()

        assert before["cancel"] is None
        assert "kill switch is on" in told["cancel"]["reason"]
        assert told["lease"]["token"] == 1

    def test_a_kill_switch_is_told_beside_the_completion(self, flow, api, agent, admin, lead):
        phases.open_ticket(actor=lead, title="x", workflow="software_development")
        (task,) = claim(api(agent), "analysis")
        guardian.set_kill_switch(actor=admin, on=True, reason="stop")

        answer = api(agent).post(
            f"/api/v1/tasks/{task['id']}/complete",
            {"fence": 1, "result": {}, "claim_next": {"capabilities": ["analysis"]}},
            format="json",
        )

        assert (answer.status_code, answer.json()["status"]) == (200, "completed")
        assert answer.json()["next"]["tasks"] == []
        assert answer.json()["next"]["refused"]["code"] == "kill_switch_on"

    def test_an_old_fence_claims_nothing(self, flow, api, agent, lead):
        phases.open_ticket(actor=lead, title="x", workflow="software_development")
        (task,) = claim(api(agent), "analysis")

        answer = api(agent).post(
            f"/api/v1/tasks/{task['id']}/complete",
            {"fence": 7, "result": {}, "claim_next": {}},
            format="json",
        )

        assert (answer.status_code, answer.json()["code"]) == (409, "lease_lost")


class TestALostAnswer:
    """The same completion again, without an Idempotency-Key, as after a broken connection."""

    @pytest.fixture
    def tickets(self, flow, lead) -> list[Ticket]:
        return [
            phases.open_ticket(actor=lead, title=title, workflow="software_development")
            for title in ("first", "second", "third")
        ]

    @pytest.fixture
    def client(self, api, agent):
        return api(agent)

    @pytest.fixture
    def repeat(self, tickets, client):
        """Completes the first task with `claim_next`, each time with the very same request."""
        (task,) = claim(client, "analysis")
        body = {
            "fence": task["lease"]["token"],
            "result": {"summary": "done"},
            "claim_next": {"capabilities": ["analysis"]},
        }

        def send():
            answer = client.post(f"/api/v1/tasks/{task['id']}/complete", body, format="json")
            assert answer.status_code == 200
            return answer.json()

        return send

    def test_with_its_score(self, tickets, repeat, lead):
        ticket = tickets[1]
        soon = timezone.now() + timedelta(minutes=5)
        changes = {"priority": 1, "deadline": soon}
        phases.update_ticket(actor=lead, ticket_id=ticket.pk, version=None, changes=changes)
        (entry,) = Task.objects.filter(ticket=ticket)
        phases.create_task(
            actor=lead, ticket=ticket, task_type="x", title="x", depends_on=[entry.pk]
        )

        first, again = repeat(), repeat()

        (task,), (same,) = first["next"]["tasks"], again["next"]["tasks"]
        assert task["id"] == str(entry.pk)
        assert same["score"] == pytest.approx(task["score"], abs=0.001)

    def held(self, agent) -> int:
        return Task.objects.filter(holder=agent.user).count()

    def test_hands_out_again_what_came_with_it(self, repeat, agent):
        first = repeat()

        again = repeat()

        (task,) = again["next"]["tasks"]
        assert again["unblocked"] == first["unblocked"]
        assert task == first["next"]["tasks"][0]
        assert (again["next"]["refused"], self.held(agent)) == (None, 1)

    def test_what_was_begun_is_not_handed_out_again(self, repeat, client, agent):
        (task,) = repeat()["next"]["tasks"]
        fence = task["lease"]["token"]
        client.post(f"/api/v1/tasks/{task['id']}/heartbeat", {"fence": fence}, format="json")

        again = repeat()["next"]

        assert (again["tasks"], again["refused"]["code"]) == ([], "completed_before")
        assert self.held(agent) == 1

    def test_what_another_worker_of_the_same_agent_took_is_not_handed_out(self, repeat, client):
        (task,) = repeat()["next"]["tasks"]
        client.post(
            f"/api/v1/tasks/{task['id']}/release",
            {"fence": task["lease"]["token"], "reason": "not for me"},
            format="json",
        )
        assert claim(client, "analysis")

        again = repeat()["next"]

        assert (again["tasks"], again["refused"]["code"]) == ([], "completed_before")

    def test_a_lease_that_is_over_is_not_handed_out(self, repeat, agent):
        (task,) = repeat()["next"]["tasks"]
        Task.objects.filter(pk=task["id"]).update(lease_expires_at=Now())

        assert repeat()["next"]["refused"]["code"] == "completed_before"

    def test_a_task_with_locks_comes_with_their_fences(self, tickets, client, repeat):
        lock = [{"resource_type": "repo", "resource_id": "mail", "mode": "exclusive"}]
        Task.objects.filter(ticket__in=tickets).update(required_locks=lock)
        ReadyTask.objects.update(has_locks=True)

        first, again = repeat(), repeat()

        assert again["next"]["tasks"][0]["locks"] == first["next"]["tasks"][0]["locks"]
        assert len(again["next"]["tasks"][0]["locks"]) == 1
