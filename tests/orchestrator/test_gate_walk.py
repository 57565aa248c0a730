"""A scripted agent carries a ticket from a wish to done: one token, the REST API, real gates.

A person with a token of their own confirms what the agent says. Each gate refuses a wrong step
first, and says why.
"""

from typing import Any

import pytest

from guardian import relay
from phases import services as phases
from tests.orchestrator.test_work_api import REQUIREMENTS

PASSED = {"total": 3, "passed": 3, "failed": 0, "errors": 0, "exit_code": 0}


class Walk:
    """What a program does with a token; every answer is that of the API."""

    def __init__(self, client, person, workflow: str) -> None:
        self.client, self.person = client, person
        body = {"title": "Retry storm after failover", "workflow": workflow}
        opened = client.post("/api/v1/tickets", body, format="json")
        assert opened.status_code == 201
        self.url = f"/api/v1/tickets/{opened.json()['id']}"

    def ticket(self) -> dict[str, Any]:
        return self.client.get(self.url).json()

    def work(self, capability: str, *artifacts: dict[str, Any]) -> None:
        """Claim the phase's task, stay alive, hand in what was made."""
        body = {"capabilities": [capability]}
        [task] = self.client.post("/api/v1/tasks/claim", body, format="json").json()["tasks"]
        url, fence = f"/api/v1/tasks/{task['id']}", task["lease"]["token"]
        beat = self.client.post(f"{url}/heartbeat", {"fence": fence}, format="json")
        assert beat.json()["status"] == "running"
        result = {"summary": f"{capability} is done", "artifacts": list(artifacts)}
        done = self.client.post(
            f"{url}/complete", {"fence": fence, "result": result}, format="json"
        )
        assert done.json()["status"] == "completed"
        settle()

    def post(self, kind: str, content, path: str = "") -> str:
        body = {"artifact_type": kind, "path": path, "content": content}
        made = self.client.post(f"{self.url}/artifacts", body, format="json")
        assert made.status_code == 201
        settle()
        return made.json()["id"]

    def confirm(self, artifact_id: str) -> None:
        address = f"{self.url}/artifacts/{artifact_id}/verify"
        own = self.client.post(address, {"verdict": "confirm"}, format="json")
        other = self.person.post(address, {"verdict": "confirm"}, format="json")
        assert (own.status_code, other.status_code) == (403, 200)
        settle()

    def id_of(self, kind: str) -> str:
        rows = self.client.get(f"{self.url}/artifacts").json()["results"]
        return [row["id"] for row in rows if row["artifact_type"] == kind][-1]

    def gate(self) -> dict[str, Any]:
        return self.client.post(f"{self.url}/validate-gate", {}, format="json").json()

    def go(self, phase: str):
        return self.client.post(f"{self.url}/transition", {"to_phase": phase}, format="json")

    def refused(self, phase: str) -> list[str]:
        """The reasons of a gate that does not let the ticket through yet."""
        answer = self.go(phase)
        assert (answer.status_code, answer.json()["code"]) == (409, "gate_not_passed")
        gate = self.gate()
        assert (gate["gate_status"], gate["requirements_met"]) == ("failed", False)
        assert answer.json()["unmet"] == gate["blocking_reasons"]
        return gate["blocking_reasons"]


def settle() -> None:
    while relay.run_once():
        pass


@pytest.mark.parametrize("workflow", ["software_development", "default"])
def test_an_agent_carries_a_ticket_to_done(team, agent, lead, api, workflow):
    phases.seed_team(team=team)
    walk = Walk(api(agent), api(lead), workflow)

    # Requirements: a document that is too short, then one that says all.
    walk.work("analysis", {"type": "requirements_document", "path": "r.md", "content": "Soon."})
    assert walk.refused("PHASE_DESIGN") == [
        "Requirements document: the section scope is missing;"
        " the section acceptance_criteria is missing; it has 5 characters, 500 are needed."
    ]
    walk.post("requirements_document", REQUIREMENTS, "r.md")
    assert walk.gate()["status"] == "ready"
    assert walk.go("PHASE_DESIGN").status_code == 200

    # Design asks for nothing.
    walk.work("design")
    assert walk.gate()["status"] == "not_configured"
    assert walk.go("PHASE_IMPLEMENTATION").status_code == 200

    # Implementation: what only the agent says is not believed, and new code makes it stale.
    walk.work(
        "code",
        {"type": "code_changes", "path": "a.diff", "content": {"has_tests": True, "files": 3}},
        {"type": "test_coverage", "content": {"percentage": 95}},
    )
    assert walk.refused("PHASE_TESTING") == [
        "Code changes: only reported, nobody has observed it.",
        "Test coverage: only reported, nobody has observed it.",
    ]
    walk.confirm(walk.id_of("test_coverage"))
    newer = walk.post("code_changes", {"has_tests": True, "files": 4}, "b.diff")
    walk.confirm(newer)
    assert walk.refused("PHASE_TESTING") == [
        "The test coverage is stale: it was made before the newest change."
    ]
    walk.confirm(walk.post("test_coverage", {"percentage": 91}))
    # The column leads on by itself as soon as its gate is passed.
    assert walk.ticket()["phase"] == "PHASE_TESTING"

    # Testing: failing tests, though somebody confirms that they fail.
    walk.work("test")
    assert walk.refused("PHASE_DEPLOYMENT") == [
        "There is no test results yet.", "There is no test evidence yet.",
    ]  # fmt: skip
    walk.confirm(walk.post("test_results", {**PASSED, "passed": 2, "failed": 1, "exit_code": 1}))
    walk.confirm(walk.post("test_evidence", "2 passed, 1 failed", "pytest.log"))
    assert walk.refused("PHASE_DEPLOYMENT") == ["Test results: 1 of 3 tests failed."]
    walk.confirm(walk.post("test_results", PASSED))
    assert walk.go("PHASE_DEPLOYMENT").status_code == 200

    walk.work("deploy", {"type": "deployment_record", "path": "d.md", "content": "v2 is out"})

    done = walk.ticket()
    assert (done["phase"], done["status"]) == ("PHASE_DONE", "completed")
    moves = walk.client.get(f"{walk.url}/history").json()["results"]
    assert [m["to_phase"].removeprefix("PHASE_") for m in moves] == [
        "REQUIREMENTS", "DESIGN", "IMPLEMENTATION", "TESTING", "DEPLOYMENT", "DONE",
    ]  # fmt: skip
    assert not any(m["overrides"] for m in moves)


def test_it_may_not_skip_a_phase_nor_a_gate(team, agent, lead, api):
    phases.seed_team(team=team)
    walk = Walk(api(agent), api(lead), "software_development")

    skipped = walk.go("PHASE_TESTING")
    overridden = walk.client.post(
        f"{walk.url}/transition",
        {"to_phase": "PHASE_DESIGN", "override": True, "reason": "the customer waits"},
        format="json",
    )

    assert (skipped.status_code, skipped.json()["code"]) == (409, "illegal_transition")
    assert (overridden.status_code, overridden.json()["code"]) == (403, "authority_too_low")
    assert walk.ticket()["phase"] == "PHASE_REQUIREMENTS"
