"""Agents change what is theirs; who vouches for evidence is a person or of level 3."""

import pytest

from guardian import services as guardian
from guardian.authority import actor_for
from guardian.errors import NotYours
from phases import services
from phases.models import PhaseGateArtifact, Task, Ticket
from tests import factories


@pytest.fixture
def ticket(team, lead):
    services.seed_team(team=team)
    return services.open_ticket(actor=lead, title="t", workflow="software_development")


@pytest.fixture
def held(ticket, agent):
    """A task of the ticket that the agent holds."""
    return services.claim_tasks(actor=agent, capabilities=["analysis"])[0].task


@pytest.fixture
def ask(api):
    """What a program of this actor gets from each door to the ticket: status by verb."""

    def answers(actor, ticket):
        client, where = api(actor), f"/api/v1/tickets/{ticket.pk}"
        task = {"ticket_id": str(ticket.pk), "task_type": "x", "title": "more"}
        note = {"artifact_type": "note", "content": "seen"}
        card = {"ticket_id": str(ticket.pk), "column": ticket.column.key, "version": 1}
        blocked = {"to_phase": "PHASE_BLOCKED", "reason": "says who, then"}
        calls = {
            "edit": client.patch(where, {"title": "n"}, format="json", headers={"if-match": "*"}),
            "task": client.post("/api/v1/tasks", task, format="json"),
            "artifact": client.post(f"{where}/artifacts", note, format="json"),
            "rerank": client.post(
                "/api/v1/board/move",
                card | {"version": Ticket.objects.get(pk=ticket.pk).version},
                format="json",
            ),
            "move": client.post(f"{where}/transition", blocked, format="json"),
        }
        codes = {answer.json().get("code") for answer in calls.values()}
        return {verb: answer.status_code for verb, answer in calls.items()}, codes

    return answers


class TestPart:
    def test_a_stranger_among_agents_changes_nothing(self, ticket, agent, api, ask):
        statuses, codes = ask(agent, ticket)

        assert set(statuses.values()) == {403}
        assert codes == {"not_yours"}
        fresh = Ticket.objects.get(pk=ticket.pk)
        assert (fresh.title, fresh.version, fresh.phase_id) == ("t", 1, ticket.phase_id)
        refused = api(agent).post(
            f"/api/v1/tickets/{ticket.pk}/cancel", {"reason": "not wanted"}, format="json"
        )
        assert (refused.status_code, refused.json()["code"]) == (403, "not_yours")
        assert refused.json()["remedy"]["text"]

    def test_who_holds_a_task_works_on_its_ticket(self, ticket, held, agent, ask):
        statuses, _ = ask(agent, ticket)

        assert statuses == {"edit": 200, "task": 201, "artifact": 201, "rerank": 200, "move": 200}

    def test_who_opened_it_or_is_assigned_has_a_part(self, ticket, lead, agent):
        own = services.open_ticket(actor=agent, title="mine", workflow="software_development")
        services.update_ticket(
            actor=lead, ticket_id=ticket.pk, version=None, changes={"assignee": agent.id}
        )

        for row in (own, ticket):
            services.update_ticket(
                actor=agent, ticket_id=row.pk, version=None, changes={"title": "new"}
            )

        assert set(Ticket.objects.values_list("title", flat=True)) == {"new"}

    def test_it_ends_when_the_ticket_has_gone_on(self, ticket, held, lead, agent, ask):
        services.complete_task(actor=agent, task_id=held.pk, fence=held.fence, result={})
        services.transition(
            actor=lead, ticket_id=ticket.pk, to_phase="PHASE_DESIGN", override=True,
            reason="as if all had passed",
        )  # fmt: skip

        statuses, codes = ask(agent, ticket)

        assert (set(statuses.values()), codes) == ({403}, {"not_yours"})

    def test_a_move_by_who_completed_the_work_makes_the_next_task(self, ticket, held, agent, lead):
        services.complete_task(actor=agent, task_id=held.pk, fence=held.fence, result={})

        services.transition(
            actor=agent, ticket_id=ticket.pk, to_phase="PHASE_BLOCKED", reason="needs a person"
        )

        assert Ticket.objects.get(pk=ticket.pk).is_blocked

    def test_people_are_not_bound_by_it(self, ticket, team, ask):
        colleague = factories.make_actor(team, "carl", role="author")

        statuses, codes = ask(colleague, ticket)

        assert 403 not in statuses.values()
        assert "not_yours" not in codes


class TestVouching:
    @pytest.fixture
    def reported(self, ticket, held, agent):
        artifact, _ = services.add_artifact(
            actor=agent, ticket_id=ticket.pk, artifact_type="requirements_document", content="x"
        )
        return artifact

    def confirm(self, client, artifact):
        where = f"/api/v1/tickets/{artifact.ticket_id}/artifacts/{artifact.pk}/verify"
        return client.post(where, {"verdict": "confirm"}, format="json")

    def test_another_agent_cannot_vouch(self, reported, team, api):
        other = factories.make_actor(team, "coder-2", role="agent", kind="agent")

        answer = self.confirm(api(other), reported)

        assert (answer.status_code, answer.json()["code"]) == (403, "authority_too_low")
        assert answer.json()["required"] == 3
        assert PhaseGateArtifact.objects.get().source == "reported"

    def test_an_agent_of_level_3_and_a_person_can(self, reported, team, api, lead):
        watcher = factories.make_actor(team, "watcher", role="agent", kind="agent")
        guardian.set_membership(user=watcher.user, team=team, role="agent", authority=3)

        assert self.confirm(api(actor_for(watcher.user, team)), reported).status_code == 200
        assert self.confirm(api(lead), reported).status_code == 200
        assert PhaseGateArtifact.objects.get().verified_by == lead.user


def test_no_task_of_another_ticket_is_enough(ticket, held, lead, agent):
    other = services.open_ticket(actor=lead, title="other", workflow="software_development")

    with pytest.raises(NotYours):
        services.add_artifact(actor=agent, ticket_id=other.pk, artifact_type="note", content="seen")
    assert not Task.objects.filter(ticket=other, holder=agent.user).exists()
