"""Refusals that any request can meet, each raised by a real one; a crash tells nothing."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection, connections
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from guardian.error_book import kinds
from guardian.errors import PackNotFound
from guardian.idempotency import _lock_of
from guardian.models import ApiToken
from guardian.services import create_token, revoke_token, set_kill_switch
from guardian.services.actions import AlreadyReverted
from orchestrator import agent_schema
from orchestrator import services as orchestrator
from orchestrator.agent_schema import DefinitionInvalid
from phases import services
from phases.api import TicketViewSet
from phases.models import Phase, Ticket
from tests.orchestrator.pattern_factories import make_pattern_row, make_run_row
from tools import services as tools
from tools.errors import HandlerMissing
from tools.models import Tool
from tools.services.executions import handler_of

TICKETS = "/api/v1/tickets"


@pytest.fixture
def flow(team):
    services.seed_team(team=team)


@pytest.fixture
def bearer(lead):
    """A token of the lead's, and a client that sends it."""
    token, text = create_token(actor=lead, name="t", scopes=["tickets:read", "tickets:write"])
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return token, client


def code(answer) -> tuple[int, str]:
    body = answer.json()
    assert answer["Content-Type"] == "application/problem+json"
    assert body["remedy"]["text"]
    return answer.status_code, body["code"]


@pytest.mark.django_db
class TestCredentials:
    def test_expired(self, bearer):
        token, client = bearer
        ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now() - timedelta(1))

        assert code(client.get(TICKETS)) == (401, "token_expired")

    def test_revoked(self, bearer, lead):
        token, client = bearer
        revoke_token(actor=lead, token_id=token.pk, reason="lost")

        assert code(client.get(TICKETS)) == (401, "token_revoked")

    def test_from_elsewhere(self, bearer):
        token, client = bearer
        ApiToken.objects.filter(pk=token.pk).update(allowed_ips=["10.0.0.0/8"])

        assert code(client.get(TICKETS)) == (401, "ip_not_allowed")
        assert client.get(TICKETS, REMOTE_ADDR="10.2.3.4").status_code == 200

    @pytest.mark.parametrize(
        "headers",
        [{"Authorization": "Bearer"}, {"Authorization": "Basic eDp5"}, {"Authorization": "x"}],
    )
    def test_not_understood(self, db, headers):
        assert code(APIClient().get(TICKETS, headers=headers)) == (401, "unauthorized")

    def test_never_in_an_address_or_a_cookie(self, bearer, lead):
        _, client = bearer
        text = client._credentials["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
        stranger = APIClient()
        stranger.cookies["token"] = stranger.cookies["Authorization"] = text

        for name in ("token", "access_token", "authorization", "api_key"):
            assert code(stranger.get(TICKETS, {name: text})) == (401, "unauthorized")

    def test_a_page_without_its_token(self, lead):
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(lead.user)

        answer = browser.post(TICKETS, "{}", content_type="application/json")

        assert code(answer) == (403, "csrf_failed")


@pytest.mark.django_db
class TestRequests:
    def test_a_form_of_answer_that_there_is_not(self, bearer):
        assert code(bearer[1].get(TICKETS, HTTP_ACCEPT="text/csv")) == (406, "not_acceptable")

    def test_a_change_without_the_version_it_is_of(self, bearer, flow, lead):
        ticket = services.open_ticket(actor=lead, title="x")

        answer = bearer[1].patch(f"{TICKETS}/{ticket.pk}", {"title": "y"}, format="json")

        assert code(answer) == (428, "version_required")

    @pytest.mark.parametrize("form", ["text/plain", "application/x-www-form-urlencoded", "a/b"])
    def test_a_body_of_another_type(self, bearer, form):
        answer = bearer[1].generic("POST", TICKETS, b"title=x", content_type=form)

        assert code(answer) == (415, "unsupported_media_type")


@pytest.mark.django_db(transaction=True)
def test_a_key_whose_request_still_runs(bearer):
    token, client = bearer
    held, done = threading.Event(), threading.Event()

    def hold():
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_lock_of(str(token.pk), "k")])
            held.set()
            done.wait(20)
        connections.close_all()

    other = threading.Thread(target=hold)
    other.start()
    held.wait(20)
    try:
        answer = client.post(TICKETS, {"title": "x"}, format="json", HTTP_IDEMPOTENCY_KEY="k")
    finally:
        done.set()
        other.join()

    assert code(answer) == (409, "idempotency_in_progress")
    assert answer["Retry-After"] == "1"
    assert not Ticket.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_database_that_went_away(bearer):
    _, client = bearer
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [pid] = cursor.fetchone()
    killer = connections["default"].copy()
    with killer.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    killer.close()

    answer = client.get(TICKETS)

    assert code(answer) == (503, "database_unavailable")
    assert answer["Retry-After"] == "2"
    connection.close()
    assert client.get(TICKETS).status_code == 200


@pytest.mark.django_db
class TestRules:
    """Refusals of the apps, met from outside."""

    def test_a_lock_that_would_close_a_circle(self, api, lead, admin):
        first, second = api(lead), api(admin)

        def acquire(client, name):
            body = {"resource_type": "dock", "resource_id": name}
            return client.post("/api/v1/locks/acquire", body, format="json")

        acquire(first, "a")
        acquire(second, "b")
        acquire(first, "b")

        assert code(acquire(second, "a")) == (409, "lock_deadlock")

    def test_evidence_judged_by_who_brought_it(self, api, lead, flow):
        ticket = services.open_ticket(actor=lead, title="x")
        artifact, _ = services.add_artifact(
            actor=lead, ticket_id=ticket.pk, artifact_type="note", path="", content="x"
        )

        answer = api(lead).post(
            f"{TICKETS}/{ticket.pk}/artifacts/{artifact.pk}/verify", {"verdict": "confirm"},
            format="json",
        )  # fmt: skip

        assert code(answer) == (403, "self_review")

    def test_a_task_that_somebody_works_on(self, api, lead, admin, flow):
        ticket = services.open_ticket(actor=lead, title="x")
        task = services.create_task(actor=lead, ticket=ticket, task_type="t", title="t")
        services.claim_tasks(actor=lead, capabilities=[], task_id=task.pk)

        answer = api(admin).post(f"/api/v1/tasks/{task.pk}/claim", {}, format="json")

        assert code(answer) == (409, "not_claimable")

    def test_more_tasks_at_once_than_one_may_hold(self, api, lead, flow):
        client = api(lead)
        ticket = services.open_ticket(actor=lead, title="x")
        for number in range(11):
            services.create_task(actor=lead, ticket=ticket, task_type="t", title=f"t{number}")
        client.post("/api/v1/tasks/claim", {"limit": 10}, format="json")

        answer = client.post("/api/v1/tasks/claim", {}, format="json")

        assert code(answer) == (429, "quota_exceeded")
        assert answer["Retry-After"]

    def test_a_run_without_prices(self, lead, team):
        orchestrator.seed_patterns()

        with pytest.raises(PackNotFound) as refused:
            orchestrator.start_run(pattern="repo_inventory", inputs={}, actor=lead)
        assert (refused.value.status, refused.value.code) == (500, "pricing_pack_not_found")

    def test_a_run_of_a_task_is_repeated_by_its_task_alone(self, api, lead, flow):
        ticket = services.open_ticket(actor=lead, title="x")
        task = services.create_task(actor=lead, ticket=ticket, task_type="t", title="t")
        run = make_run_row(lead, make_pattern_row(lead), task_id=task.pk, ticket_id=ticket.pk)
        orchestrator.cancel_run(run_id=run.pk, actor=lead, reason="not needed")

        answer = api(lead).post(f"/api/v1/runs/{run.pk}/rerun", {}, format="json")

        assert code(answer) == (409, "run_of_task")

    def test_a_ticket_is_not_done_while_work_is_open(self, api, lead, flow):
        ticket = services.open_ticket(actor=lead, title="x", workflow="software_development")
        services.create_task(actor=lead, ticket=ticket, task_type="t", title="t")
        client = api(lead)

        for key in (
            Phase.objects.filter(workflow=ticket.workflow, kind__in=["work", "done"])
            .order_by("sequence_order")
            .values_list("key", flat=True)
        ):
            body = {"to_phase": key, "override": True, "reason": "done by hand, for the test"}
            answer = client.post(f"{TICKETS}/{ticket.pk}/transition", body, format="json")

        assert code(answer) == (409, "open_tasks")

    def test_a_kill_switch_that_is_off_already(self, lead):
        with pytest.raises(AlreadyReverted):
            set_kill_switch(actor=lead, on=False, reason="again")

    def test_an_agent_file_with_a_fault_names_its_place(self):
        with pytest.raises(DefinitionInvalid) as refused:
            agent_schema.read("runtime: {kind: rocket}")
        assert {e["path"] for e in refused.value.data["errors"]} >= {"runtime.kind"}

    def test_a_tool_whose_program_is_not_here(self):
        with pytest.raises(HandlerMissing):
            handler_of(Tool(name="x", handler_kind="python", handler={"callable": "no.such"}))

    def test_a_tool_that_is_not_in_use(self, api, lead, team):
        tools.seed_team(team=team)
        tool = Tool.objects.get(name="count_lines")
        Tool.objects.filter(pk=tool.pk).update(status="deprecated")

        answer = api(lead).post(f"/api/v1/tools/{tool.pk}/execute", {"input": {}}, format="json")

        assert code(answer)[1] == "tool_inactive"


@pytest.mark.django_db
def test_a_crash_shows_neither_path_nor_class_nor_value(bearer, flow, monkeypatch):
    def crash(*_args, **_kwargs):
        raise RuntimeError(f"secret-value in {__file__}")

    monkeypatch.setattr(TicketViewSet, "list", crash)

    answer = bearer[1].get(TICKETS, headers={"X-Request-ID": "look-here"})

    assert code(answer) == (500, "internal_error")
    text = answer.content.decode()
    for told in ("RuntimeError", "secret-value", ".py", "Traceback", "guardian", "phases"):
        assert told not in text
    assert answer.json()["request_id"] == "look-here"


def test_each_code_is_expected_by_some_test():
    """By its name or by that of its class; a code that no test meets may not exist."""
    told = "\n".join(
        path.read_text("utf-8")
        for path in Path(settings.BASE_DIR, "tests").rglob("*.py")
        if path.name != Path(__file__).name
    )
    here = Path(__file__).read_text("utf-8").split("def test_each_code")[0]
    known = told + here

    unmet = {k.code: k.__name__ for k in kinds() if k.code not in known and k.__name__ not in known}

    assert unmet == {}
