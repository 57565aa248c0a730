"""What holds for any request: identity alone decides team and level, ids and traces go on."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from guardian.error_book import kinds
from guardian.errors import Invalid, RateLimited
from guardian.models import ApiToken, Event, IdempotencyKey
from guardian.problems import problem_body
from guardian.services import set_membership
from phases import services
from phases.api import TicketViewSet
from phases.models import Ticket

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(autouse=True)
def seeded(request):
    if "team" in request.fixturenames:
        services.seed_team(team=request.getfixturevalue("team"))


@pytest.mark.django_db
class TestTeamAndLevelComeFromIdentity:
    def test_a_body_may_repeat_its_own_team(self, api, lead):
        body = {"title": "x", "team_id": str(lead.team_id)}

        assert api(lead).post("/api/v1/tickets", body, format="json").status_code == 201

    @pytest.mark.parametrize("other", ["theirs", "00000000-0000-0000-0000-000000000000", 7, None])
    def test_another_team_in_a_body_is_not_found(self, api, lead, outsider, other):
        other = str(outsider.team_id) if other == "theirs" else other

        answer = api(lead).post("/api/v1/tickets", {"title": "x", "team_id": other}, format="json")

        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert not Ticket.objects.exists()

    def test_a_team_in_a_header_is_ignored(self, api, lead, outsider):
        answer = api(lead).post(
            "/api/v1/tickets", {"title": "x"}, format="json",
            headers={"X-Team-ID": str(outsider.team_id)},
        )  # fmt: skip

        assert Ticket.objects.get(pk=answer.json()["id"]).team_id == lead.team_id

    def test_a_level_in_a_body_is_ignored(self, api, agent):
        answer = api(agent).post("/api/v1/tickets", {"title": "x", "authority": 5}, format="json")

        assert answer.status_code == 201
        assert Event.objects.get(kind="phases.ticket.created").authority == 1


@pytest.mark.django_db
class TestMemberships:
    def test_an_agent_guards_only_where_the_highest_level_says_so(self, team, agent, admin):
        with pytest.raises(Invalid):
            set_membership(user=agent.user, team=team, role="agent", authority=4)

        made = set_membership(
            user=agent.user, team=team, role="agent", authority=4, actor=admin, reason="guards"
        )

        assert made.authority == 4
        told = Event.objects.filter(kind="guardian.membership.changed").latest("id")
        assert (told.before["authority"], told.after["authority"]) == (1, 4)
        assert (told.actor_id, told.reason) == (admin.id, "guards")


@pytest.mark.django_db
class TestWhatARequestCarries:
    def test_its_id_and_trace_go_on_in_its_events(self, api, lead):
        answer = api(lead).post(
            "/api/v1/tickets", {"title": "x"}, format="json",
            headers={"X-Request-ID": "my-request-1", "traceparent": TRACE},
        )  # fmt: skip

        told = Event.objects.get(kind="phases.ticket.created")
        assert answer["X-Request-ID"] == told.request_id == "my-request-1"
        assert answer["traceparent"] == told.traceparent
        assert told.traceparent.split("-")[1] == TRACE.split("-")[1]
        assert told.traceparent != TRACE

    @pytest.mark.parametrize(
        "given",
        ["", "x", TRACE.upper(), "00-" + "0" * 32 + "-00f067aa0ba902b7-01", TRACE + "\u00e9"],
    )
    def test_a_trace_that_is_none_begins_anew(self, api, lead, given):
        answer = api(lead).get("/api/v1/tickets", headers={"traceparent": given})

        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", answer["traceparent"])

    def test_both_roots_of_the_api_count_requests(self, api, lead):
        with override_settings(RATE_LIMITS={"token": 5, "session": 5, "anonymous": 5}):
            client = api(lead)
            first, second = client.get("/api/v1/tools"), client.get("/tools")

        assert first["RateLimit-Policy"] == '"token";q=5;w=60'
        left = [int(re.search(r"r=(\d+)", a["RateLimit"])[1]) for a in (first, second)]
        assert left[0] - left[1] == 1


def too_soon(**_):
    raise RateLimited


@pytest.mark.django_db
class TestPostsUnderAKey:
    def post(self, client, path, body, key="k-1"):
        return client.post(path, body, format="json", headers={"Idempotency-Key": key})

    def test_any_post_that_changes_something_has_one_effect(self, api, lead):
        client = api(lead)
        body = {"title": "x"}

        first = self.post(client, "/api/v1/tickets", body)
        again = self.post(client, "/api/v1/tickets", body)

        assert first.content == again.content
        assert again["Idempotency-Replayed"] == "true"
        assert Ticket.objects.count() == 1

    def test_what_is_shown_once_is_kept_nowhere(self, api, lead):
        client = api(lead)
        body = {"name": "ci", "scopes": ["tickets:read"]}

        first = self.post(client, "/api/v1/tokens", body).json()
        again = self.post(client, "/api/v1/tokens", body).json()

        assert first["token"].startswith("lem_")
        assert again == {**first, "token": "[redacted]"}
        assert first["token"].split(".")[1] not in str(IdempotencyKey.objects.values())

    def test_in_another_team_it_is_another_request(self, client, lead, other_team):
        services.seed_team(team=other_team)
        set_membership(user=lead.user, team=other_team, role="operator")
        client.force_login(lead.user)
        form = {"content_type": "application/json", "headers": {"Idempotency-Key": "k-1"}}
        client.post("/api/v1/tickets", {"title": "x"}, **form)
        client.post("/team", {"team": other_team.slug})

        answer = client.post("/api/v1/tickets", {"title": "x"}, **form)

        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")

    def test_a_key_is_free_again_after_a_day_also_before_it_is_swept(self, api, lead):
        client = api(lead)
        first = self.post(client, "/api/v1/tickets", {"title": "x"})
        IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=25))

        later, again = (self.post(client, "/api/v1/tickets", {"title": "y"}) for _ in range(2))

        assert later.json()["id"] not in {first.json()["id"], None}
        assert again["Idempotency-Replayed"] == "true"
        assert again.json()["id"] == later.json()["id"]

    def test_a_refusal_that_says_when_to_ask_again_is_not_kept(self, api, lead, monkeypatch):
        client = api(lead)
        with monkeypatch.context() as patch:
            patch.setattr(services, "open_ticket", too_soon)
            refused = self.post(client, "/api/v1/tickets", {"title": "x"})

        answer = self.post(client, "/api/v1/tickets", {"title": "x"})

        assert (refused.status_code, answer.status_code) == (429, 201)

    def test_a_reading_post_is_asked_anew(self, api, lead):
        client = api(lead)

        self.post(client, "/api/v1/memory/search", {"query": "ships", "mode": "keyword"})

        assert not IdempotencyKey.objects.exists()


@pytest.mark.django_db
class TestTags:
    def test_a_row_without_a_counter_has_no_tag_that_never_changes(self, api, admin):
        client = api(admin)
        token = ApiToken.objects.get(user=admin.user)

        answer = client.get(f"/api/v1/tokens/{token.pk}")

        assert answer.status_code == 200
        assert "ETag" not in answer

    def test_a_tag_counts_the_edits(self, api, lead):
        ticket = services.open_ticket(actor=lead, title="x")

        assert api(lead).get(f"/api/v1/tickets/{ticket.pk}")["ETag"] == '"v1"'


class TestRemedies:
    def test_a_request_that_a_remedy_names_is_there_for_programs(self):
        body = problem_body(
            code="x", status=404, detail="x", instance="/x", remedy="GET /api/v1/tools lists them."
        )

        assert body["remedy"] == {
            "text": "GET /api/v1/tools lists them.", "method": "GET", "href": "/api/v1/tools",
        }  # fmt: skip

    def test_each_request_named_in_a_remedy_exists(self):
        from django.urls import Resolver404, resolve

        for kind in kinds():
            for path in re.findall(r"(/(?:api|docs|readyz|health)[\w/{}-]*)", kind.remedy):
                known = re.sub(r"\{[^}]*\}", "01890000-0000-7000-8000-000000000000", path)
                try:
                    resolve(known)
                except Resolver404:
                    pytest.fail(f"{kind.__name__}: {path}")


@pytest.mark.django_db(transaction=True)
def test_an_answer_that_takes_too_long_is_given_up(api, team, lead, monkeypatch):
    client = api(lead)
    services.open_ticket(actor=lead, title="x")
    slow = Ticket.objects.extra(select={"slow": "pg_sleep(30)"})
    monkeypatch.setattr(TicketViewSet, "queryset", slow)
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 100")

    try:
        answer = client.get("/api/v1/tickets")
    finally:
        connection.close()

    assert (answer.status_code, answer.json()["code"]) == (504, "timeout")
