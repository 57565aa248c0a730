"""The runtime through the public API: status, agents, executions and the switches."""

import pytest

from guardian import hosts
from orchestrator import services
from orchestrator.models import AgentExecution
from phases import services as phases


@pytest.fixture
def crew(team):
    phases.seed_team(team=team)
    instances = {i.capabilities[0]: i for i in services.seed_agents(team=team)}
    hosts.announce(queues=["agents"], concurrency=8)
    return instances


class TestRuntimeApi:
    def test_status_counts_agents_work_and_hosts(self, api, team, lead, crew):
        phases.open_ticket(
            actor=lead, title="Look", workflow="repo_checkup", context={"source": {"kind": "self"}}
        )
        services.dispatch(team_id=team.pk)

        body = api(lead).get("/api/v1/runtime/status").json()

        assert (body["running"], body["total_instances"], body["queued_executions"]) == (True, 3, 1)
        assert body["by_state"] == {"idle": 2, "running": 1}
        assert body["hosts"][0]["concurrency"] == 8

    def test_both_roots_answer_alike(self, api, viewer, crew):
        first = api(viewer).get("/api/v1/runtime/instances").json()

        assert [row["agent"] for row in first["results"]] == [
            "repo_report", "repo_checks", "repo_inventory",
        ]  # fmt: skip
        assert api(viewer).get("/api/runtime/instances").json() == first

    def test_pausing_says_so_and_pausing_twice_names_what_is_allowed(self, api, lead, crew):
        url = f"/api/v1/runtime/instances/{crew['report'].pk}"

        paused = api(lead).post(f"{url}/pause", {"reason": "looking"}, format="json")
        again = api(lead).post(f"{url}/pause", {}, format="json")

        assert (paused.status_code, paused.json()["state"]) == (200, "paused")
        assert (again.status_code, again.json()["code"]) == (409, "illegal_transition")
        assert again.json()["allowed"] == ["resume", "stop"]

    def test_an_agent_may_not_switch_the_runtime(self, api, agent, crew):
        answer = api(agent).post("/api/v1/runtime/stop", {}, format="json")

        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")

    def test_executions_are_those_of_the_own_team(self, api, team, lead, outsider, crew):
        phases.open_ticket(
            actor=lead, title="Look", workflow="repo_checkup", context={"source": {"kind": "self"}}
        )
        services.dispatch(team_id=team.pk)
        row = AgentExecution.objects.get()

        mine = api(lead).get("/api/v1/runtime/executions?state=queued").json()["results"]
        theirs = api(outsider).get(f"/api/v1/runtime/executions/{row.pk}")

        assert [r["id"] for r in mine] == [str(row.pk)]
        assert theirs.status_code == 404

    def test_an_unknown_field_is_named(self, api, lead, crew):
        answer = api(lead).post("/api/v1/runtime/stop", {"why": "x"}, format="json")

        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "why")
