"""A program that did not hear the answer asks again: the effect is there once."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from guardian import relay
from guardian.models import Delivery
from phases import services as phases
from phases.models import PhaseGateResult, Task, Ticket
from tools.models import ToolArtifact


@pytest.fixture
def flow(team):
    phases.seed_team(team=team)


@pytest.fixture
def ticket(flow, lead):
    return phases.open_ticket(actor=lead, title="t", workflow="software_development")


@pytest.fixture
def two_tickets(flow, lead):
    for title in ("one", "two"):
        phases.open_ticket(actor=lead, title=title, workflow="software_development")


def twice(client, where, body, key="k1"):
    """The answers to the same request sent two times under one key."""
    return [
        client.post(where, body, format="json", headers={"idempotency-key": key}) for _ in range(2)
    ]


class TestLeases:
    def test_a_claim_gives_the_same_lease_again(self, two_tickets, api, agent):
        first, again = twice(api(agent), "/api/v1/tasks/claim", {"capabilities": ["analysis"]})

        assert again["Idempotency-Replayed"] == "true"
        assert again.json()["tasks"] == first.json()["tasks"]
        assert Task.objects.filter(holder=agent.user).count() == 1

    def test_a_claim_of_one_task_gives_the_same_lease_again(self, ticket, api, agent):
        task = Task.objects.get(ticket=ticket)

        first, again = twice(
            api(agent), f"/api/v1/tasks/{task.pk}/claim", {"capabilities": ["analysis"]}
        )

        assert (first.status_code, again.status_code) == (200, 200)
        assert again.json() == first.json()

    def test_another_key_claims_another_task(self, two_tickets, api, agent):
        client, body = api(agent), {"capabilities": ["analysis"]}
        first = twice(client, "/api/v1/tasks/claim", body, "k1")[0].json()["tasks"][0]
        other = twice(client, "/api/v1/tasks/claim", body, "k2")[0].json()["tasks"][0]

        assert first["id"] != other["id"]

    @pytest.mark.parametrize(
        ("verb", "body"),
        [
            ("complete", {"result": {"summary": "done"}}),
            ("fail", {"error": {"code": "broken", "message": "it broke"}}),
            ("release", {"reason": "somebody else may"}),
        ],
    )
    def test_an_end_is_told_again(self, ticket, api, agent, verb, body):
        client = api(agent)
        task = client.post(
            "/api/v1/tasks/claim", {"capabilities": ["analysis"]}, format="json"
        ).json()["tasks"][0]

        first, again = twice(
            client, f"/api/v1/tasks/{task['id']}/{verb}", {"fence": task["lease"]["token"], **body}
        )

        assert (first.status_code, again.status_code) == (200, 200)
        assert again.json() == first.json()


class TestRefusal:
    def test_keeps_what_the_gate_answered(self, ticket, api, lead):
        where = f"/api/v1/tickets/{ticket.pk}/transition"

        first, again = twice(api(lead), where, {"to_phase": "PHASE_DESIGN"})

        assert (first.status_code, again.status_code) == (409, 409)
        assert again.json()["code"] == "gate_not_passed"
        assert again["Content-Type"] == "application/problem+json"
        assert PhaseGateResult.objects.filter(ticket=ticket).count() == 1
        assert Ticket.objects.get(pk=ticket.pk).phase_id == ticket.phase_id

    def test_of_a_card_keeps_it_too(self, flow, api, lead):
        ticket = phases.open_ticket(
            actor=lead, title="t", workflow="repo_checkup", context={"source": {"kind": "self"}}
        )
        body = {"ticket_id": str(ticket.pk), "column": "checks", "version": ticket.version}

        first, again = twice(api(lead), "/api/v1/board/move", body)

        assert (first.status_code, again.status_code) == (409, 409)
        assert PhaseGateResult.objects.filter(ticket=ticket).count() == 1

    def test_writes_no_half_of_a_ticket(self, flow, api, lead):
        body = {"title": "x", "workflow": "software_development", "context": {"history": []}}

        twice(api(lead), "/api/v1/tickets", body)

        assert not Ticket.objects.exists()


class TestOthers:
    def test_a_card_moves_once(self, ticket, api, lead):
        body = {
            "ticket_id": str(ticket.pk), "column": ticket.column.key,
            "version": ticket.version, "position": 0,
        }  # fmt: skip

        first, again = twice(api(lead), "/api/v1/board/move", body)

        assert (first.status_code, again.status_code) == (200, 200)
        assert Ticket.objects.get(pk=ticket.pk).version == ticket.version + 1

    def test_a_file_is_kept_once_and_other_bytes_need_another_key(self, db, api, lead):
        client = api(lead)

        def send(content):
            upload = SimpleUploadedFile("a.txt", content)
            return client.post("/api/v1/files", {"file": upload}, headers={"idempotency-key": "k1"})

        first, again, other = send(b"one"), send(b"one"), send(b"two")

        assert [first.status_code, again.status_code, other.status_code] == [201, 201, 422]
        assert ToolArtifact.objects.count() == 1


class TestResult:
    @pytest.fixture
    def complete(self, ticket, api, agent):
        client = api(agent)
        task = client.post(
            "/api/v1/tasks/claim", {"capabilities": ["analysis"]}, format="json"
        ).json()["tasks"][0]

        def send(result):
            body = {"fence": task["lease"]["token"], "result": result}
            return client.post(f"/api/v1/tasks/{task['id']}/complete", body, format="json")

        return send

    @pytest.mark.parametrize(
        ("result", "path"),
        [
            ({"summary": 5}, "result.summary"),
            ({"summary": {"a": 1}}, "result.summary"),
            ({"outputs": []}, "result.outputs"),
            ({"decisions": 5}, "result.decisions"),
            ({"decisions": None}, "result.decisions"),
            ({"risks": "abc"}, "result.risks"),
            ({"notes": [["a"]]}, "result.notes"),
            ({"artifacts": {}}, "result.artifacts"),
            ({"artifacts": [{"type": {"a": 1}}]}, "result.artifacts"),
            ({"artifacts": [{"path": "a"}]}, "result.artifacts"),
            ({"artifacts": [{"type": "x", "path": 5}]}, "result.artifacts"),
            ({"artifacts": [{"type": "x", "content": "x" * 300_000}]}, "result.artifacts"),
        ],
    )
    def test_of_another_shape_is_refused_by_name(self, complete, result, path):
        answer = complete(result)

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["path"].startswith(path)
        assert not Task.objects.filter(status="completed").exists()

    def test_keeps_further_keys_as_sent(self, complete):
        result = {
            "summary": " as it is ", "decisions": ["one", {"what": "two"}], "model": {"name": "m"},
            "artifacts": [{"type": "log", "path": "a", "content": {"b": 1}, "collected_by": "me"}],
        }  # fmt: skip

        assert complete(result).status_code == 200
        assert Task.objects.get(status="completed").result == result

    def test_odd_ones_stored_before_do_no_harm(self, ticket, agent):
        task = phases.claim_tasks(actor=agent, capabilities=["analysis"])[0].task
        phases.complete_task(actor=agent, task_id=task.pk, fence=task.fence, result={})
        # As it could be stored before the shape was checked.
        Task.objects.filter(pk=task.pk).update(result={"summary": {"a": 1}, "decisions": 5})

        relay.run_once()

        assert not Delivery.objects.exclude(error="").exists()
