"""Evidence that somebody rejected counts for no gate, says who and why, and can be put right."""

import pytest

from guardian.models import Event
from phases import services
from phases.models import PhaseGateArtifact, Ticket
from tests import factories

NOTE = "these numbers are invented"


@pytest.fixture
def ticket(team, lead) -> Ticket:
    services.seed_team(team=team)
    return services.open_ticket(actor=lead, title="x", workflow="software_development")


@pytest.fixture
def reported(agent, lead, ticket) -> PhaseGateArtifact:
    task = services.claim_tasks(actor=agent, capabilities=["analysis"])[0].task
    piece, _ = services.add_artifact(
        actor=agent,
        ticket_id=ticket.pk,
        artifact_type="requirements_document",
        path="docs/requirements.md",
        content="# Scope\n" + "what is asked for " * 30 + "\n# Acceptance criteria\nit works\n",
    )
    services.complete_task(actor=agent, task_id=task.pk, fence=task.fence, result={})
    return piece


@pytest.fixture
def verdict(api, ticket):
    def given(actor, piece, word, **more):
        path = f"/api/v1/tickets/{ticket.pk}/artifacts/{piece.pk}/verify"
        return api(actor).post(path, {"verdict": word, **more}, format="json")

    return given


@pytest.fixture
def gate(api, lead, ticket):
    def asked():
        answer = api(lead).post(f"/api/v1/tickets/{ticket.pk}/validate-gate", {}, format="json")
        return answer.json()

    return asked


def test_it_shuts_the_gate_with_the_name_and_the_note(api, lead, reported, verdict, gate, ticket):
    assert gate()["gate_status"] == "passed"

    answer = verdict(lead, reported, "reject", note=NOTE)

    assert answer.status_code == 200
    told = answer.json()
    assert (told["rejected_by"]["name"], told["rejected_note"]) == (lead.name, NOTE)
    judged = gate()
    assert judged["gate_status"] == "failed"
    assert any(
        f"rejected by {lead.name}: {NOTE}" in reason for reason in judged["blocking_reasons"]
    )
    moved = api(lead).post(
        f"/api/v1/tickets/{ticket.pk}/transition", {"to_phase": "PHASE_DESIGN"}, format="json"
    )
    assert (moved.status_code, moved.json()["code"]) == (409, "gate_not_passed")
    event = Event.objects.filter(kind="phases.artifact.added").latest("id")
    assert (event.data["origin"], event.reason, event.actor_id) == ("rejected", NOTE, lead.id)


def test_saying_it_once_more_does_not_answer_it(agent, lead, reported, verdict, gate, ticket):
    verdict(lead, reported, "reject", note=NOTE)

    again, new = services.add_artifact(
        actor=agent,
        ticket_id=ticket.pk,
        artifact_type=reported.artifact_type,
        path=reported.artifact_path,
        content=reported.artifact_content,
    )

    assert (again.pk, new) == (reported.pk, False)
    assert gate()["gate_status"] == "failed"


def test_better_evidence_opens_the_gate(agent, lead, reported, verdict, gate, ticket):
    verdict(lead, reported, "reject", note=NOTE)

    services.add_artifact(
        actor=agent,
        ticket_id=ticket.pk,
        artifact_type=reported.artifact_type,
        path=reported.artifact_path,
        content=reported.artifact_content + "\nAnd measured.\n",
    )

    assert gate()["gate_status"] == "passed"


def test_another_may_confirm_it_all_the_same(team, lead, reported, verdict, gate):
    verdict(lead, reported, "reject", note=NOTE)
    other = factories.make_actor(team, "rita", role="operator", authority=4)

    told = verdict(other, reported, "confirm").json()

    assert (told["rejected_by"], told["rejected_note"]) == (None, "")
    assert told["verified_by"]["name"] == other.name
    assert gate()["gate_status"] == "passed"


def test_who_handed_it_in_does_not_reject_it_either(agent, viewer, outsider, reported, verdict):
    assert verdict(agent, reported, "reject", note=NOTE).status_code == 403
    assert verdict(viewer, reported, "reject", note=NOTE).status_code == 403
    assert verdict(outsider, reported, "reject", note=NOTE).status_code == 404
    assert PhaseGateArtifact.objects.get(pk=reported.pk).rejected_by is None
