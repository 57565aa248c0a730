"""Memory over HTTP: shapes, refusals, borders."""

from uuid import uuid4

import pytest

from memory import services
from memory.models import MemoryRecord
from tests.memory_factories import note, remember

STORE, SEARCH = "/api/v1/memory/store", "/api/v1/memory/search"
RECORDS, STATUS = "/api/v1/memory/records", "/api/v1/memory/status"


def post(client, path, body, **headers):
    return client.post(path, body, format="json", headers=headers)


class TestStore:
    def test_keeps_a_text_and_answers_its_id(self, api, agent):
        answer = post(api(agent), STORE, {"text": "# Tides\nHigh at noon.", "tags": ["sea"]})

        assert answer.status_code == 201
        record = MemoryRecord.objects.get(pk=answer.json()["id"])
        assert (record.title, record.kind, record.trust) == ("Tides", "note", 0.5)
        assert answer.json() == {
            "id": str(record.pk),
            "duplicate": False,
            "state": "active",
            "trust": 0.5,
            "embedding_state": "pending",
            "warnings": [],
        }

    def test_the_same_text_in_other_spacing_and_case_is_a_duplicate(self, api, agent):
        first = post(api(agent), STORE, {"text": "High tide at noon"}).json()

        again = post(api(agent), STORE, {"text": "  HIGH tide\n at noon "})

        assert again.status_code == 200
        assert again.json()["id"] == first["id"]
        assert again.json()["duplicate"] is True

    def test_keeps_how_a_task_ended(self, api, agent):
        body = {
            "task_id": str(uuid4()),
            "execution_summary": "Two tests failed.",
            "success": False,
            "error_patterns": [{"type": "AssertionError", "message": "1 != 2"}],
            "task_type": "run_checks",
        }

        first = post(api(agent), STORE, body)
        again = post(api(agent), STORE, body)

        assert (first.status_code, again.status_code) == (201, 200)
        record = MemoryRecord.objects.get()
        assert (record.kind, record.success, record.trust) == ("task", False, 0.5)

    def test_another_team_may_remember_the_same_task_id(self, api, agent, outsider):
        body = {"task_id": str(uuid4()), "execution_summary": "Done.", "success": True}
        post(api(outsider), STORE, body)

        assert post(api(agent), STORE, body).status_code == 201

    def test_a_repeated_idempotency_key_gives_the_first_answer(self, api, agent):
        client = api(agent)
        body = {"text": "High tide at noon"}
        first = post(client, STORE, body, **{"Idempotency-Key": "k1"})

        again = post(client, STORE, body, **{"Idempotency-Key": "k1"})

        assert again.status_code == 201
        assert again.json() == first.json()
        assert MemoryRecord.objects.count() == 1

    def test_says_when_a_text_reaches_beyond_its_vectors(self, api, agent):
        answer = post(api(agent), STORE, {"text": "word " * 20_000})

        assert answer.json()["warnings"] == ["truncated"]

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"text": "   "}, "empty_text"),
            ({}, "invalid"),
            ({"text": "x", "colour": "red"}, "unknown_field"),
            ({"text": "x", "kind": "task"}, "invalid"),
            ({"text": "x", "memory_type": "short_term"}, "invalid"),
            ({"text": "x", "metadata": []}, "invalid"),
            ({"text": "x", "run_id": "no uuid"}, "invalid"),
            ({"text": "x", "evidence": [{"label": "a", "id": "b", "more": 1}]}, "unknown_field"),
            ({"task_id": str(uuid4()), "success": True}, "invalid"),
            ({"task_id": str(uuid4()), "execution_summary": " ", "success": True}, "invalid"),
            ({"task_id": "no uuid", "execution_summary": "x", "success": True}, "invalid"),
        ],
    )
    def test_refuses_a_bad_body_and_keeps_nothing(self, api, agent, body, code):
        answer = post(api(agent), STORE, body)

        assert answer.status_code == 400
        assert answer.json()["code"] == code
        assert answer["Content-Type"] == "application/problem+json"
        assert not MemoryRecord.objects.exists()

    def test_needs_the_write_scope_and_an_identity(self, api, viewer):
        assert post(api(viewer), STORE, {"text": "x"}).status_code == 403
        assert post(api(), STORE, {"text": "x"}).status_code == 401


class TestSearch:
    def test_finds_by_meaning_with_everything_a_reader_needs(self, api, team, agent, viewer):
        record = remember(team, agent, title="Unpack upload", summary="The archive was broken.")

        answer = post(api(viewer), SEARCH, {"query": "a damaged tarball"})

        body = answer.json()
        assert answer.status_code == 200
        assert set(body) == {"results", "mode", "model", "plan", "coverage", "warnings"}
        (hit,) = body["results"]
        assert hit["id"] == str(record.pk)
        assert hit["provenance"]["task_id"] == str(record.task_id)
        assert {"title", "summary", "excerpt", "kind", "success", "trust", "state"} <= set(hit)
        assert {"score", "similarity", "keyword_rank"} <= set(hit)

    def test_success_only_leaves_failures_out(self, api, team, agent):
        remember(team, agent, success=False)

        found = post(api(agent), SEARCH, {"query": "run checks", "success_only": True}).json()

        assert found["results"] == []

    def test_goes_on_by_words_when_the_model_is_down(self, api, agent, model_down):
        services.store(actor=agent, text="High tide at noon")

        body = post(api(agent), SEARCH, {"query": "tide"}).json()

        assert len(body["results"]) == 1
        assert body["warnings"] == ["embedding_unavailable"]

    def test_by_meaning_alone_answers_503_when_the_model_is_down(self, api, agent, model_down):
        answer = post(api(agent), SEARCH, {"query": "tide", "mode": "semantic"})

        assert answer.status_code == 503
        assert answer.json()["code"] == "embedding_unavailable"
        assert answer.json()["remedy"]["text"]
        assert answer["Retry-After"] == "60"

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({}, "invalid"),
            ({"query": " "}, "empty_text"),
            ({"query": "x" * 2001}, "invalid"),
            ({"query": "x", "mode": "psychic"}, "invalid"),
            ({"query": "x", "top_k": 0}, "invalid"),
            ({"query": "x", "top_k": 21}, "invalid"),
            ({"query": "x", "threshold": 1.5}, "invalid"),
            ({"query": "x", "min_trust": "NaN"}, "invalid"),
            ({"query": "x", "filters": {"colour": "red"}}, "unknown_field"),
            ({"query": "x", "filters": {"kind": ["song"]}}, "invalid"),
            ({"query": "x", "filters": {"ticket_id": "7"}}, "invalid"),
            ({"query": "x", "as_of": "2026-01-01T00:00:00Z"}, "unknown_field"),
        ],
    )
    def test_refuses_a_bad_body(self, api, agent, body, code):
        answer = post(api(agent), SEARCH, body)

        assert answer.status_code == 400
        assert answer.json()["code"] == code


class TestRecords:
    def test_are_listed_newest_first_and_filtered(self, api, team, agent):
        first, second = remember(team, agent), note(agent, "High tide at noon")

        everything = api(agent).get(RECORDS).json()["results"]
        tasks = api(agent).get(RECORDS, {"kind": "task"}).json()["results"]

        assert [row["id"] for row in everything] == [str(second.pk), str(first.pk)]
        assert [row["id"] for row in tasks] == [str(first.pk)]
        assert "search" not in everything[0]

    def test_are_shown_whole(self, api, team, agent):
        record = remember(team, agent)

        body = api(agent).get(f"{RECORDS}/{record.pk}").json()

        assert body["text"] == record.text
        assert body["owner"] == "coder-1"
        assert body["embedding_state"] == "ready"

    def test_of_others_do_not_exist(self, api, agent, lead, outsider):
        private = note(agent, "mine", visibility="private")
        shared = note(agent, "ours")

        assert api(outsider).get(f"{RECORDS}/{shared.pk}").status_code == 404
        assert api(lead).get(f"{RECORDS}/{private.pk}").status_code == 404
        assert api(agent).get(f"{RECORDS}/{private.pk}").status_code == 200
        assert api(outsider).get(RECORDS).json()["results"] == []

    def test_unknown_filters_are_refused_by_name(self, api, agent):
        answer = api(agent).get(RECORDS, {"colour": "red"})

        assert answer.status_code == 400
        assert answer.json()["code"] == "bad_filter"

    def test_a_list_takes_the_same_queries_for_one_row_and_for_many(
        self, api, agent, django_assert_max_num_queries
    ):
        for number in range(5):
            services.store(actor=agent, text=f"Tide {number}")
        client = api(agent)
        client.get(RECORDS)

        with django_assert_max_num_queries(6):
            assert len(client.get(RECORDS).json()["results"]) == 5


class TestStatus:
    def test_tells_the_model_and_its_coverage(self, api, agent):
        note(agent, "High tide at noon")
        services.store(actor=agent, text="Low tide at six")

        assert api(agent).get(STATUS).json() == {
            "model": "all-MiniLM-L6-v2",
            "dimension": 384,
            "healthy": True,
            "reason": "",
            "records": 2,
            "pending": 1,
            "coverage": 0.5,
        }

    def test_tells_why_the_model_is_down(self, api, agent, model_down):
        body = api(agent).get(STATUS).json()

        assert body["healthy"] is False
        assert "cannot be loaded" in body["reason"]
        assert body["coverage"] is None
