"""What the work endpoints answer is what the API's description says, no key more or less."""

from typing import Any

import jsonschema
import pytest
import yaml
from django.conf import settings

from phases import services as phases

DOCUMENT = yaml.safe_load((settings.BASE_DIR / "docs" / "openapi.yaml").read_text("utf-8"))


def check(path: str, answer: Any, method: str = "post") -> dict[str, Any]:
    assert answer.status_code == 200, answer.content
    described = DOCUMENT["paths"][path][method]["responses"]["200"]["content"]
    schema = {**described["application/json"]["schema"], "components": DOCUMENT["components"]}
    body = answer.json()
    jsonschema.Draft202012Validator(schema).validate(body)
    assert sorted(unknown(schema, body)) == []
    return body


def unknown(schema: dict[str, Any], value: Any, where: str = ""):
    """Keys that the description does not name."""
    while "$ref" in schema or "allOf" in schema or "oneOf" in schema:
        schema = schema.get("allOf", schema.get("oneOf", [schema]))[0]
        if "$ref" in schema:
            schema = DOCUMENT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    if isinstance(value, list):
        for each in value:
            yield from unknown(schema.get("items", {}), each, f"{where}[]")
    elif isinstance(value, dict) and "properties" in schema:
        for key, each in value.items():
            if key not in schema["properties"]:
                yield f"{where}.{key}"
            else:
                yield from unknown(schema["properties"][key], each, f"{where}.{key}")


@pytest.fixture
def work(team, lead, agent, api):
    """An agent's client, and the ticket and first task it has claimed."""
    phases.seed_team(team=team)
    ticket = phases.open_ticket(actor=lead, title="x", workflow="software_development")
    client = api(agent)
    answer = client.post("/api/v1/tasks/claim", {"capabilities": ["analysis"]}, format="json")
    (task,) = check("/api/v1/tasks/claim", answer)["tasks"]
    return client, ticket, task


def test_a_task_from_its_claim_to_its_end(work):
    client, _, task = work
    url, path = f"/api/v1/tasks/{task['id']}", "/api/v1/tasks/{id}"
    fence = task["lease"]["token"]

    beat = client.post(f"{url}/heartbeat", {"fence": fence}, format="json")
    failed = client.post(
        f"{url}/fail", {"fence": fence, "error": {"code": "x", "message": "y"}}, format="json"
    )

    assert check(f"{path}/heartbeat", beat)["cancel"] is None
    assert check(f"{path}/fail", failed)["retry"]["count"] == 1


def test_a_task_given_back_and_one_completed_with_the_next(work, lead):
    client, _, task = work
    phases.open_ticket(actor=lead, title="second", workflow="software_development")
    url, path = f"/api/v1/tasks/{task['id']}", "/api/v1/tasks/{id}"

    released = client.post(f"{url}/release", {"fence": 1, "reason": "not mine"}, format="json")
    again = client.post(f"{url}/claim", {"capabilities": ["analysis"]}, format="json")
    check(f"{path}/release", released)
    (held,) = check(f"{path}/claim", again)["tasks"]
    body = {
        "fence": held["lease"]["token"],
        "result": {"summary": "done"},
        "claim_next": {"capabilities": ["analysis"]},
    }
    done = client.post(f"{url}/complete", body, format="json")

    assert len(check(f"{path}/complete", done)["next"]["tasks"]) == 1


def test_a_gate_that_is_asked(work):
    client, ticket, _ = work
    url, path = f"/api/v1/tickets/{ticket.pk}", "/api/v1/tickets/{id}"

    status = check(f"{path}/gate-status", client.get(f"{url}/gate-status"), "get")
    asked = check(f"{path}/validate-gate", client.post(f"{url}/validate-gate", {}, format="json"))

    assert not status["requirements_met"]
    assert status["blocking_reasons"] == asked["blocking_reasons"] != []
