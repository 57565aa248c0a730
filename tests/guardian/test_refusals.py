"""Whatever is sent, the API answers with a problem document and never with a crash."""

import json

import pytest
from django.db import DataError

from guardian import services as guardian
from phases import services as phases


@pytest.fixture
def ticket(team, lead):
    phases.seed_team(team=team)
    return phases.open_ticket(
        actor=lead, title="t", workflow="software_development", labels=["bug", "ui"]
    )


def code_of(answer):
    assert answer["Content-Type"] == "application/problem+json", answer.content[:200]
    assert answer.json()["status"] == answer.status_code
    assert answer.json()["request_id"]
    return answer.status_code, answer.json()["code"]


class TestBody:
    @pytest.mark.parametrize(
        ("value", "path"),
        [
            ("1e400", "context.a"),
            ("-1e400", "context.a"),
            (r'"\ud800"', "context.a"),
            (r'{"b":[1,"x\u0000"]}', "context.a.b[1]"),
            (r'{"\udfff":1}', "context.a"),
        ],
    )
    def test_refuses_what_cannot_be_kept_and_says_where(self, api, lead, ticket, value, path):
        body = '{"title":"x","context":{"a":' + value + "}}"

        answer = api(lead).post("/api/v1/tickets", body, content_type="application/json")

        assert code_of(answer) == (400, "invalid")
        assert answer.json()["errors"][0]["path"] == path

    @pytest.mark.parametrize("value", ["NaN", "Infinity", "9" * 5000])
    def test_refuses_what_is_no_json(self, api, lead, ticket, value):
        body = '{"title":"x","context":{"a":' + value + "}}"

        answer = api(lead).post("/api/v1/tickets", body, content_type="application/json")

        assert code_of(answer) == (400, "malformed_json")

    def test_refuses_endless_nesting(self, api, lead, ticket):
        body = '{"title":"x","context":{"a":' + "[" * 150 + "]" * 150 + "}}"

        answer = api(lead).post("/api/v1/tickets", body, content_type="application/json")

        assert code_of(answer) == (400, "invalid")

    def test_takes_a_backslash_before_u0000(self, api, lead, ticket):
        body = '{"title":"x","context":{"a":"\\\\u0000"}}'

        answer = api(lead).post("/api/v1/tickets", body, content_type="application/json")

        assert answer.json()["context"] == {"a": "\\u0000"}

    def test_takes_whole_characters_beyond_the_basic_plane(self, api, lead, ticket):
        body = r'{"title":"\ud83d\ude00"}'

        answer = api(lead).post("/api/v1/tickets", body, content_type="application/json")

        assert answer.json()["title"] == "\U0001f600"

    def test_an_artifact_and_a_result_are_judged_alike(self, api, lead, agent, ticket):
        where = f"/api/v1/tickets/{ticket.pk}/artifacts"
        body = '{"artifact_type":"x","content":[1e400]}'
        artifact = api(lead).post(where, body, content_type="application/json")
        worker = api(agent)
        task = worker.post(
            "/api/v1/tasks/claim", {"capabilities": ["analysis"]}, format="json"
        ).json()["tasks"][0]
        result = worker.post(
            f"/api/v1/tasks/{task['id']}/complete",
            f'{{"fence":{task["lease"]["token"]},"result":{{"x":1e400}}}}',
            content_type="application/json",
        )

        assert code_of(artifact) == code_of(result) == (400, "invalid")

    def test_a_number_beyond_the_columns_range_is_no_crash(self, api, agent, ticket):
        worker = api(agent)
        task = worker.post(
            "/api/v1/tasks/claim", {"capabilities": ["analysis"]}, format="json"
        ).json()["tasks"][0]

        answer = worker.post(
            f"/api/v1/tasks/{task['id']}/complete",
            '{"fence":' + "9" * 30 + "}",
            content_type="application/json",
        )

        assert answer.status_code in {400, 409}
        assert code_of(answer)


class TestLastResort:
    """What no check foresaw, on its way to the database."""

    @pytest.mark.parametrize(
        ("fault", "status"),
        [
            (DataError("numeric value out of range"), 400),
            (ValueError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), 400),
            (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), 400),
            (ValueError("a fault of ours"), 500),
            (json.JSONDecodeError("a fault of ours", "", 0), 500),
        ],
    )
    def test_tells_the_callers_faults_from_ours(
        self, api, lead, ticket, monkeypatch, fault, status
    ):
        def fail(**_):
            raise fault

        monkeypatch.setattr("phases.services.open_ticket", fail)

        answer = api(lead).post("/api/v1/tickets", {"title": "x"}, format="json")

        assert code_of(answer)[0] == status


class TestQuestion:
    def test_finds_tickets_by_label(self, api, lead, ticket):
        client = api(lead)

        assert len(client.get("/api/v1/tickets?label=bug").json()["results"]) == 1
        assert client.get("/api/v1/tickets?label=feature").json()["results"] == []
        assert client.get("/api/v1/tickets?label=%7Bbroken").json()["results"] == []

    @pytest.mark.parametrize("limit", ["²", "٣", "0", "1e3", "-1", "201", "9" * 40])
    def test_refuses_a_limit_that_is_no_number(self, api, lead, ticket, limit):
        answer = api(lead).get("/api/v1/tickets", {"limit": limit})

        assert code_of(answer) == (400, "bad_filter")

    @pytest.mark.parametrize("etag", ['"v²"', '"v٣"', '"vv1"', "v-1"])
    def test_refuses_a_version_that_is_no_number(self, api, lead, ticket, etag):
        answer = api(lead).patch(
            f"/api/v1/tickets/{ticket.pk}",
            {"title": "new"},
            format="json",
            headers={"if-match": etag.encode("utf-8").decode("latin-1")},
        )

        assert code_of(answer) == (400, "invalid")

    @pytest.mark.parametrize(
        "where",
        ["board?workflow=%00", "patterns/a%00b", "tickets?search=%00", "runs?pattern=%00"],
    )
    def test_refuses_u0000_in_an_address(self, api, lead, ticket, where):
        assert code_of(api(lead).get(f"/api/v1/{where}"))[0] == 400

    def test_takes_a_date_without_a_zone_as_utc(self, api, lead, ticket):
        client = api(lead)

        assert client.get("/api/v1/events?created_at__gte=2020-01-01").json()["results"]
        assert client.get("/api/v1/events?created_at__lte=2020-01-01T10:00").json() == {
            "results": [],
            "next": None,
        }
        assert code_of(client.get("/api/v1/events?created_at__gte=soon")) == (400, "bad_filter")

    def test_a_key_that_is_no_text_is_refused(self, api, lead, ticket):
        answer = api(lead).post(
            "/api/v1/tickets", {"title": "x"}, format="json", headers={"idempotency-key": "a\x00"}
        )

        assert code_of(answer) == (400, "invalid")


class TestAddress:
    @pytest.mark.parametrize(
        "where", ["/api/", "/api/v1/nothing", "/api/v1/tickets/zzz", "/tools/nothing/at/all"]
    )
    def test_an_unknown_one_is_a_problem(self, api, lead, where):
        assert code_of(api(lead).get(where)) == (404, "not_found")

    def test_a_method_it_does_not_take_is_a_problem(self, api, lead, db):
        answer = api(lead).delete("/api/v1/board")

        assert code_of(answer) == (405, "method_not_allowed")
        assert "GET" in answer["Allow"]

    def test_a_crash_shows_neither_path_nor_class(self, api, lead, monkeypatch):
        def crash(*_, **__):
            raise RuntimeError("/srv/secret/path")

        monkeypatch.setattr(guardian, "authenticate_token", crash)
        monkeypatch.setattr("guardian.limits._judge", crash)

        answer = api(lead).get("/api/v1/tickets")

        assert code_of(answer) == (500, "internal_error")
        assert b"secret" not in answer.content

    def test_pages_keep_their_own_answers(self, client, db):
        assert client.get("/nothing")["Content-Type"].startswith("text/html")


class TestAddressNearby:
    @pytest.mark.parametrize("path", ["//api/v1/tickets", "/api/v1/tickets/", "/api/v1/nothing"])
    def test_a_wrong_address_below_the_api_is_a_problem_that_points_to_the_docs(
        self, api, lead, path
    ):
        answer = api(lead).get(f"http://testserver{path}", HTTP_ACCEPT="text/html")

        assert code_of(answer) == (404, "not_found")
        assert "/api/docs" in answer.json()["remedy"]["text"]


class TestFilters:
    def test_a_value_the_field_never_has_is_refused_with_those_it_has(self, api, lead, ticket):
        for query in ("status=zzz", "status__in=pending,zzz"):
            answer = api(lead).get(f"/api/v1/tickets?{query}")

            assert code_of(answer) == (400, "bad_filter")
            assert "in_progress" in answer.json()["errors"][0]["message"]

    def test_the_number_on_a_card_finds_its_ticket(self, api, lead, ticket):
        found = api(lead).get(f"/api/v1/tickets?number={ticket.number}").json()["results"]

        assert [row["id"] for row in found] == [str(ticket.pk)]


def test_a_scope_that_does_not_exist_is_named(api, admin):
    answer = api(admin).post(
        "/api/v1/tokens", {"name": "x", "scopes": ["tickets:fly"]}, format="json"
    )

    assert code_of(answer) == (400, "invalid")
    assert "tickets:fly" in answer.json()["errors"][0]["message"]


def test_a_wrong_fence_of_ones_own_task_does_not_accuse_another(api, agent, ticket):
    [claimed] = phases.claim_tasks(actor=agent, capabilities=["analysis"])

    answer = api(agent).post(
        f"/api/v1/tasks/{claimed.task.pk}/heartbeat", {"fence": 99}, format="json"
    )

    assert code_of(answer) == (409, "lease_lost")
    assert answer.json()["detail"] == "Your task is at fence 1; this call brought another."
