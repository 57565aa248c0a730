"""What holds for each operation of the API, found by walking its own description.

A new route is tried without being named here.
"""

import json
from typing import Any
from uuid import uuid4

import pytest
from django.urls import resolve
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from guardian import services, stream_schema
from guardian.authority import ALL_SCOPES, ROLE_SCOPES, actor_for

DOCUMENT: dict[str, Any] = SchemaGenerator().get_schema(public=True)
WRONG = {"string": {"a": 1}, "integer": "many", "number": "much", "boolean": "perhaps",
         "array": "one", "object": "one"}  # fmt: skip
# These take a document in YAML or JSON and judge it as a whole.
DOCUMENTS = {"/api/v1/patterns", "/api/v1/patterns/validate"}
OPERATIONS = [
    pytest.param(path, method, operation, id=f"{method} {path}")
    for path, methods in DOCUMENT["paths"].items()
    if path != stream_schema.PATH  # not Django's; tests/guardian/test_feed.py
    for method, operation in methods.items()
]


def address(path: str, operation: dict[str, Any]) -> str:
    """The path with names and ids that are well formed and belong to nothing."""
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            kind = parameter["schema"]
            value = "0" if kind["type"] == "integer" else "nothing-of-this-name"
            path = path.replace(
                f"{{{parameter['name']}}}", str(uuid4()) if kind.get("format") == "uuid" else value
            )
    return path


def view_of(path: str, operation: dict[str, Any]) -> Any:
    view: Any = resolve(address(path, operation)).func
    return view.cls


def body_of(operation: dict[str, Any]) -> dict[str, Any] | None:
    """The properties of its JSON body by name, or None."""
    content = operation.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema")
    if schema is None:
        return None
    shapes = [resolved(each) for each in resolved(schema).get("oneOf", [schema])]
    return {name: field for shape in shapes for name, field in shape.get("properties", {}).items()}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def problem(answer) -> dict[str, Any]:
    assert answer["Content-Type"] == "application/problem+json", answer.content[:300]
    body = answer.json()
    assert body["status"] == answer.status_code
    assert {"type", "title", "code", "instance", "request_id"} <= set(body)
    assert body["type"].endswith(f"/docs/errors/{body['code']}")
    return body


def bearer(person, scopes) -> APIClient:
    _, text = services.create_token(
        actor=actor_for(person.user, person.team), user=person.user, name="x", scopes=scopes
    )
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return client


@pytest.fixture
def all_powerful(admin) -> APIClient:
    return bearer(admin, sorted(ROLE_SCOPES["admin"]))


def send(client, path, method, operation, body=None, **headers):
    text = "" if method in {"get", "delete"} and body is None else json.dumps(body or {})
    return client.generic(
        method.upper(),
        address(path, operation),
        text,
        content_type="application/json",
        headers={"If-Match": "*", **headers},
    )


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
class TestEveryOperation:
    def test_asks_who_is_there_and_what_they_may(self, path, method, operation, admin):
        scope = operation["x-scope"]
        if scope == "public":
            return
        others = [s for s in ALL_SCOPES if s != scope and s in ROLE_SCOPES["admin"]][:1]

        stranger = send(APIClient(), path, method, operation)
        narrow = send(bearer(admin, others), path, method, operation)

        assert (stranger.status_code, problem(stranger)["code"]) == (401, "unauthorized")
        assert (narrow.status_code, problem(narrow)["code"]) == (403, "scope_missing")
        assert scope in json.dumps(narrow.json())

    def test_refuses_what_it_does_not_understand(self, path, method, operation, all_powerful):
        if body_of(operation) is None:
            return
        sent = all_powerful.generic(
            method.upper(), address(path, operation), "{", content_type="application/json",
            headers={"If-Match": "*"},
        )  # fmt: skip
        unknown = send(all_powerful, path, method, operation, {"no_such_field": 1})
        foreign = "{" in path

        broken = "pattern_invalid" if path in DOCUMENTS else "malformed_json"
        assert problem(sent)["code"] in {broken, *(["not_found"] if foreign else [])}
        body = problem(unknown)
        if body["status"] != 404 or not foreign:
            assert body["code"] == ("pattern_invalid" if path in DOCUMENTS else "unknown_field"), (
                body
            )
            assert "no_such_field" in [error["path"] for error in body["errors"]]

    def test_takes_no_column_of_its_rows_that_it_does_not_describe(
        self, path, method, operation, all_powerful
    ):
        known = body_of(operation)
        model = getattr(getattr(view_of(path, operation), "queryset", None), "model", None)
        if known is None or model is None or path in DOCUMENTS:
            return
        ignored = {"team_id", "authority"}  # identity says what they are
        columns = {field.attname for field in model._meta.concrete_fields}
        protected = columns - set(known) - ignored

        answer = send(all_powerful, path, method, operation, dict.fromkeys(protected, "x"))

        body = problem(answer)
        if body["status"] != 404 or "{" not in path:
            assert {e["path"] for e in body["errors"] if e["code"] == "unknown_field"} >= protected

    def test_names_the_field_whose_type_is_wrong(self, path, method, operation, all_powerful):
        for name, schema in (body_of(operation) or {}).items():
            kind = resolved(schema).get("type")
            kinds = kind if isinstance(kind, list) else [kind]
            wrong = next((v for t, v in WRONG.items() if t in kinds), None)
            if wrong is None or kinds == [None]:
                continue
            answer = send(all_powerful, path, method, operation, {name: wrong})

            body = problem(answer)
            assert answer.status_code < 500
            if answer.status_code == 404 and ("{" in path or name == "team_id"):
                continue  # a team that is none is another's: there is none here
            assert answer.status_code in {400, 403, 409}, (name, wrong, body)
            paths = [error["path"] for error in body.get("errors", [])]
            assert any(found.split(".")[0].split("[")[0] == name for found in paths), (name, body)

    def test_knows_nothing_of_what_is_not_there(self, path, method, operation, all_powerful):
        answer = send(all_powerful, path, method, operation)

        assert answer.status_code < 500
        if answer.status_code >= 400:
            problem(answer)
        if "{" in path and method == "get":
            assert answer.status_code == 404
