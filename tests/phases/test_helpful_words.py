"""Refusals about tickets and tasks say what stands in the way and what would be right."""

import pytest

from phases import services
from phases.errors import TaskNotClaimable

FLOW = "software_development"


@pytest.fixture
def ticket(team, lead):
    services.seed_team(team=team)
    return services.open_ticket(actor=lead, title="Retry storm", workflow=FLOW)


@pytest.fixture
def claimed(ticket, agent):
    return services.claim_tasks(actor=agent, capabilities=["analysis"], lease_seconds=600)[0].task


@pytest.mark.django_db
class TestClaim:
    def test_a_task_that_somebody_holds_says_so(self, claimed, lead):
        with pytest.raises(TaskNotClaimable) as refusal:
            services.claim_tasks(actor=lead, task_id=claimed.pk, capabilities=["analysis"])

        assert [row["code"] for row in refusal.value.data["waiting"]] == ["state"]
        assert "assigned" in refusal.value.data["waiting"][0]["detail"]

    def test_a_capability_that_was_not_offered_is_named(self, ticket, agent):
        task = ticket.tasks.get()

        with pytest.raises(TaskNotClaimable) as refusal:
            services.claim_tasks(actor=agent, task_id=task.pk, capabilities=["cooking"])

        assert "analysis" in refusal.value.data["waiting"][0]["detail"]


@pytest.mark.django_db
class TestAnswers:
    def test_a_late_other_result_hears_that_the_task_is_over(self, api, claimed, agent):
        client = api(agent)
        where = f"/api/v1/tasks/{claimed.pk}/complete"
        first = {"fence": claimed.fence, "result": {"summary": "one"}}
        assert client.post(where, first, format="json").status_code == 200

        late = client.post(where, first | {"result": {"summary": "two"}}, format="json").json()

        assert (late["code"], "completed already" in late["detail"]) == ("lease_lost", True)

    def test_an_unknown_phase_is_answered_with_the_known(self, api, ticket, lead):
        where = f"/api/v1/tickets/{ticket.pk}/validate-gate"

        answer = api(lead).post(where, {"phase": "PHASE_NOWHERE"}, format="json")

        assert answer.status_code == 404
        assert "PHASE_REQUIREMENTS" in answer.json()["detail"]

    def test_a_way_that_is_not_there_names_those_that_are(self, api, ticket, lead):
        rows = api(lead).get(f"/api/v1/tickets/{ticket.pk}/transitions").json()["results"]

        illegal = [row for row in rows if row["code"] == "illegal_transition"]
        assert illegal
        assert all(row["remedy"].startswith("From here it may go to: PHASE_") for row in illegal)

    @pytest.mark.parametrize("name", ["LEM-1", "1", "lem-1/history"])
    def test_a_number_in_place_of_an_id_is_shown_the_way(self, api, ticket, lead, name):
        answer = api(lead).get(f"/api/v1/tickets/{name}")

        assert answer.status_code == 404
        assert "/api/v1/tickets?number=1" in answer.json()["remedy"]["text"]
