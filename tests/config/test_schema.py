"""The API describes itself completely: OpenAPI 3.1 without a warning, and a text for models."""

import jsonschema
import pytest
import yaml
from django.conf import settings
from django.core.management import call_command

from guardian.authority import ALL_SCOPES


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    path = tmp_path_factory.mktemp("schema") / "openapi.yaml"
    call_command("spectacular", "--fail-on-warn", "--validate", "--file", str(path))
    return yaml.safe_load(path.read_text())


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def test_is_valid_and_complete(document):
    assert document["openapi"] == "3.1.0"
    assert "/api/v1/tickets" in document["paths"]


def test_the_committed_description_is_the_one_that_is_served(document):
    committed = yaml.safe_load((settings.BASE_DIR / "docs" / "openapi.yaml").read_text("utf-8"))

    assert committed == document, "manage.py spectacular --file docs/openapi.yaml"


def test_every_operation_has_one_name_a_known_scope_and_a_failure(document):
    named = [operation["operationId"] for _, operation in operations(document)]
    assert len(named) == len(set(named))
    for where, operation in operations(document):
        assert operation.get("x-scope") in ALL_SCOPES, where
        content = operation["responses"]["default"]["content"]
        assert "application/problem+json" in content, where


def test_every_json_body_and_answer_has_an_example_that_fits_it(document):
    shapes = 0
    for where, operation in operations(document):
        answers = [a for code, a in operation["responses"].items() if code.startswith("2")]
        for content in (operation.get("requestBody", {}), *answers):
            shape = content.get("content", {}).get("application/json")
            if shape is None:
                continue
            shapes += 1
            schema = {**shape["schema"], "components": document["components"]}
            faults = list(jsonschema.Draft202012Validator(schema).iter_errors(shape["example"]))
            assert faults == [], (where, shape["example"])
    assert shapes > 100


def test_what_may_be_repeated_says_so(document):
    create = document["paths"]["/api/v1/tickets"]["post"]["parameters"]

    assert [p["name"] for p in create if p["in"] == "header"] == ["Idempotency-Key"]


@pytest.mark.parametrize("accept", ["", "application/json", "*/*", "text/html", "image/png"])
def test_is_served_as_json_and_as_yaml_whatever_a_browser_accepts(client, document, accept):
    as_json = client.get("/api/schema", headers={"Accept": accept})
    as_yaml = client.get("/api/schema?format=yaml", headers={"Accept": accept})

    assert as_json["Content-Type"] == "application/json"
    assert as_yaml["Content-Type"] == "application/yaml"
    assert as_json.json() == yaml.safe_load(as_yaml.content) == document
    assert client.get("/api/schema?format=xml").json()["code"] == "bad_filter"


def test_models_are_told_what_there_is(client, db):
    answer = client.get("/llms.txt")
    text = answer.content.decode()

    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert text.startswith("# Lemnos\n")
    assert "- POST /api/v1/tickets (tickets:write)" in text
    assert "- lease_lost: " in text
    assert "/ws/board?workflow=KEY" in text
    assert "`board:<workflow>`" in text
    assert "- GET /api/v1/events/stream (events:read)" in text


def test_the_stream_is_described_with_what_it_takes_and_answers(document):
    stream = document["paths"]["/api/v1/events/stream"]["get"]

    assert [p["name"] for p in stream["parameters"]] == ["topics", "Last-Event-ID"]
    assert "text/event-stream" in stream["responses"]["200"]["content"]
    assert "`ticket:<id>`" in stream["parameters"][0]["description"]


def test_no_two_operations_share_a_summary_and_none_lacks_one(document):
    seen: dict[str, str] = {}
    for where, operation in operations(document):
        summary, description = operation.get("summary", ""), operation.get("description", "")
        assert 10 <= len(summary) <= 110, (where, summary)
        assert "\n" not in summary
        assert description, where
        assert summary not in seen, (where, seen[summary])
        seen[summary] = where


def test_what_the_board_and_an_export_may_be_asked_is_described(document):
    def names(path):
        return {p["name"] for p in document["paths"][path]["get"]["parameters"]}

    assert "workflow" in names("/api/v1/board")
    assert {"format", "kind", "since_seq", "created_at__gte"} <= names("/api/v1/events/export")
    assert not {"cursor", "limit"} & names("/api/v1/events/export")
    assert "newest first" in document["paths"]["/api/v1/events"]["get"]["description"]
