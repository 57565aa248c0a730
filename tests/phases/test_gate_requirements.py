"""Editing what a gate asks for, over the API."""

from typing import Any

import pytest

from guardian.models import Event
from phases import services
from phases.models import GateRequirement, Phase, Ticket
from tests import factories
from tests.phases.test_gate_kinds import GOOD


@pytest.fixture
def author(team):
    return factories.make_actor(team, "arne", role="author")


@pytest.fixture
def phase(team) -> Phase:
    services.seed_team(team=team)
    return Phase.objects.get(team=team, workflow__key="default", key="PHASE_DESIGN")


@pytest.fixture
def address(phase) -> str:
    return f"/api/v1/phases/{phase.pk}/gate-requirements"


@pytest.fixture
def client(author, api, phase):
    return api(author)


@pytest.fixture
def made(client, address) -> dict[str, Any]:
    body = {"key": "good", "kind": "manual", "parameters": {"question": "Is it good?"}}
    return client.post(address, body, format="json").json()


@pytest.fixture
def ticket(phase, lead) -> Ticket:
    return services.open_ticket(actor=lead, title="Retry storm", phase=phase.key)


class TestMake:
    @pytest.mark.parametrize("kind", sorted(GOOD))
    def test_of_each_kind(self, client, address, kind):
        body = {"key": "it", "kind": kind, "parameters": GOOD[kind], "required": False}

        answer = client.post(address, body, format="json")

        assert (answer.status_code, answer.headers["ETag"]) == (201, '"v1"')
        assert answer.json()["phase"] == "PHASE_DESIGN"
        assert answer.json()["parameters"] == GOOD[kind]
        [listed] = client.get(address).json()["results"]
        assert listed == answer.json() == client.get(f"{address}/{listed['id']}").json()
        assert Event.objects.get(kind="phases.gate.requirement_changed").data["change"] == "added"

    @pytest.mark.parametrize(
        ("body", "path"),
        [
            ({"key": "it", "kind": "shiny"}, "kind"),
            ({"key": "a b", "kind": "review"}, "key"),
            ({"key": "it", "kind": "review", "colour": "red"}, "colour"),
            ({"key": "it", "kind": "file_exists", "parameters": {}}, "parameters.path"),
            (
                {"key": "it", "kind": "file_exists", "parameters": {"path": "../x"}},
                "parameters.path",
            ),
            (
                {"key": "it", "kind": "artifact", "parameters": {"artifact_type": "a\0"}},
                "parameters.artifact_type",
            ),
            ({"key": "it", "kind": "review", "parameters": {"count": 10**30}}, "parameters.count"),
        ],
    )
    def test_a_fault_is_named_with_its_field_and_a_remedy(self, client, address, body, path):
        answer = client.post(address, body, format="json")

        assert answer.status_code == 400
        assert [e["path"] for e in answer.json()["errors"]] == [path]
        assert answer.json()["remedy"]

    def test_the_same_key_twice_is_a_conflict(self, client, address, made):
        answer = client.post(address, {"key": "good", "kind": "review"}, format="json")

        assert (answer.status_code, answer.json()["code"]) == (409, "requirement_exists")

    def test_a_phase_may_be_named_by_its_key(self, client, address, made):
        by_key = client.get("/api/v1/phases/PHASE_DESIGN/gate-requirements").json()
        elsewhere = client.get(
            "/api/v1/phases/PHASE_DESIGN/gate-requirements", {"workflow": "software_development"}
        ).json()

        assert [row["key"] for row in by_key["results"]] == ["good"]
        assert elsewhere["results"] == []

    @pytest.mark.parametrize("named", ["PHASE_NO", "01920000-0000-7000-8000-000000000000"])
    def test_an_unknown_phase_is_404(self, client, named):
        assert client.get(f"/api/v1/phases/{named}/gate-requirements").status_code == 404

    def test_needs_workflows_write_and_the_own_team(self, lead, outsider, api, address):
        body = {"key": "it", "kind": "review"}

        denied = api(lead).post(address, body, format="json")
        foreign = api(outsider).post(address, body, format="json")

        assert (denied.status_code, denied.json()["code"]) == (403, "scope_missing")
        assert foreign.status_code == 404


class TestChange:
    def test_needs_the_version_that_was_read(self, client, address, made):
        one, body = f"{address}/{made['id']}", {"required": False}

        answers = [
            client.patch(one, body, format="json", headers=headers)
            for headers in ({}, {"If-Match": '"v1"'}, {"If-Match": '"v1"'})
        ]

        assert [a.status_code for a in answers] == [428, 200, 412]
        assert answers[1].json()["version"] == 2

    @pytest.mark.parametrize("name", ["key", "kind"])
    def test_key_and_kind_stay(self, client, address, made, name):
        answer = client.patch(
            f"{address}/{made['id']}",
            {name: "review"},
            format="json",
            headers={"If-Match": '"v1"'},
        )

        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, name)

    def test_parameters_are_those_of_its_kind(self, client, address, made):
        answer = client.patch(
            f"{address}/{made['id']}",
            {"parameters": {"count": 2}},
            format="json",
            headers={"If-Match": '"v1"'},
        )

        assert answer.status_code == 400
        assert GateRequirement.objects.get(key="good").parameters == {"question": "Is it good?"}

    def test_what_passed_must_pass_what_is_asked_now(self, client, address, made, ticket, lead):
        one = f"{address}/{made['id']}"
        client.patch(one, {"required": False}, format="json", headers={"If-Match": '"v1"'})
        passed = services.validate_gate(actor=lead, ticket_id=ticket.pk)[1]
        client.patch(one, {"required": True}, format="json", headers={"If-Match": '"v2"'})

        assert passed.passed
        assert not services.validate_gate(actor=lead, ticket_id=ticket.pk)[1].passed


class TestRemove:
    def remove(self, client, address, made, etag='"v1"'):
        return client.delete(f"{address}/{made['id']}", headers={"If-Match": etag})

    def test_while_nobody_answered(self, client, address, made, ticket):
        answer = self.remove(client, address, made)

        assert answer.status_code == 204
        assert not GateRequirement.objects.filter(key="good").exists()

    def test_not_while_a_ticket_has_an_answer_that_stands_for_nothing_else(
        self, client, address, made, ticket, lead
    ):
        services.validate_gate(actor=lead, ticket_id=ticket.pk)

        held = self.remove(client, address, made)
        services.cancel_ticket(actor=lead, ticket_id=ticket.pk, reason="not needed")
        freed = self.remove(client, address, made)

        assert (held.status_code, held.json()["code"]) == (409, "phase_in_use")
        assert held.json()["tickets"] == [ticket.number]
        assert freed.status_code == 204

    def test_one_of_another_phase_or_team_is_404(self, client, address, made, outsider, api, phase):
        other = Phase.objects.get(workflow=phase.workflow, key="PHASE_TESTING")
        wrong = f"/api/v1/phases/{other.pk}/gate-requirements/{made['id']}"

        answers = [
            client.delete(wrong, headers={"If-Match": "*"}),
            self.remove(api(outsider), address, made),
        ]

        assert answers[0].status_code == 404
        assert answers[1].status_code == 404
