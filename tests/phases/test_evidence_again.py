"""The same bytes handed in again, another piece of a type after it, and whose clock tells when."""

from datetime import timedelta

import pytest
from django.utils import timezone

from phases import services
from phases.gates import evaluate
from phases.models import PhaseGateArtifact, Review, Task, Ticket

DOCUMENT = "# Scope\n" + "what is asked for " * 30 + "\n# Acceptance criteria\nit works\n"
COVERAGE = {"percentage": 91}


@pytest.fixture
def ticket(team, lead, agent) -> Ticket:
    services.seed_team(team=team)
    ticket = services.open_ticket(
        actor=lead, title="x", workflow="software_development", phase="PHASE_IMPLEMENTATION"
    )
    services.update_ticket(
        actor=lead, ticket_id=ticket.pk, version=None, changes={"assignee": agent.id}
    )
    return Ticket.objects.get(pk=ticket.pk)


def post(actor, ticket: Ticket, kind: str, content, path: str = "") -> PhaseGateArtifact:
    return services.add_artifact(
        actor=actor, ticket_id=ticket.pk, artifact_type=kind, path=path, content=content
    )[0]


def confirm(actor, piece: PhaseGateArtifact) -> None:
    services.verify_artifact(
        actor=actor, ticket_id=piece.ticket_id, artifact_id=piece.pk, confirm=True
    )


def criterion(ticket: Ticket, key: str = "test_coverage"):
    found = evaluate(Ticket.objects.get(pk=ticket.pk)).criteria
    return next(c for c in found if c.key == key)


class TestAgain:
    def test_a_figure_measured_again_after_new_code_is_said_and_confirmed_anew(
        self, ticket, agent, lead
    ):
        post(agent, ticket, "code_changes", {"has_tests": True, "n": 1})
        coverage = post(agent, ticket, "test_coverage", COVERAGE)
        confirm(lead, coverage)
        post(agent, ticket, "code_changes", {"has_tests": True, "n": 2})
        confirm(lead, coverage)
        stale = criterion(ticket)
        post(agent, ticket, "test_coverage", COVERAGE)
        said = criterion(ticket)
        confirm(lead, coverage)

        assert (stale.stale, stale.met) == (True, False)
        assert (said.stale, said.level, said.met) == (False, "reported", False)
        assert criterion(ticket).met

    def test_so_is_one_that_a_later_task_hands_in(self, ticket, agent, lead):
        def work(content) -> Task:
            task = services.create_task(actor=lead, ticket=ticket, task_type="code", title="More")
            [claim] = services.claim_tasks(actor=agent, capabilities=[], task_id=task.pk)
            handed_in = [
                {"type": "test_coverage", "content": COVERAGE},
                {"type": "code_changes", "content": content},
            ]
            services.complete_task(
                actor=agent, task_id=task.pk, fence=claim.task.fence,
                result={"artifacts": handed_in},
            )  # fmt: skip
            services.validate_gate(actor=lead, ticket_id=ticket.pk)
            return task

        work({"has_tests": True, "n": 1})
        first = criterion(ticket)
        confirm(lead, PhaseGateArtifact.objects.get(artifact_type="test_coverage"))
        later = work({"has_tests": True, "n": 2})
        again = criterion(ticket)
        services.validate_gate(actor=lead, ticket_id=ticket.pk)

        piece = PhaseGateArtifact.objects.get(artifact_type="test_coverage")
        assert (first.stale, again.stale, again.level) == (False, False, "reported")
        assert (piece.task, piece.recorded_at) == (
            later, Task.objects.get(pk=later.pk).completed_at,
        )  # fmt: skip

    def test_what_a_task_handed_in_is_of_when_it_was_done(self, ticket, agent, lead):
        """Not of when somebody asked a gate, which may be after newer code."""
        [claim] = services.claim_tasks(actor=agent, capabilities=["code"])
        services.complete_task(
            actor=agent, task_id=claim.task.pk, fence=claim.task.fence,
            result={"artifacts": [{"type": "test_coverage", "content": COVERAGE}]},
        )  # fmt: skip
        post(agent, ticket, "code_changes", {"has_tests": True})
        services.validate_gate(actor=lead, ticket_id=ticket.pk)

        assert criterion(ticket).stale

    def test_so_it_is_where_a_review_took_its_time(self, ticket, agent, lead):
        phase = ticket.phase
        phase.review_required = True
        phase.save()
        [claim] = services.claim_tasks(actor=agent, capabilities=["code"])
        task = claim.task
        services.complete_task(
            actor=agent, task_id=task.pk, fence=task.fence,
            result={"artifacts": [{"type": "test_coverage", "content": COVERAGE}]},
        )  # fmt: skip
        post(agent, ticket, "code_changes", {"has_tests": True})
        services.start_review(actor=lead, task_id=task.pk)
        services.give_verdict(actor=lead, task_id=task.pk, iteration=1, passed=True)
        services.validate_gate(actor=lead, ticket_id=ticket.pk)

        assert criterion(ticket).stale

    def test_going_back_to_a_confirmed_version_asks_for_its_confirmation(self, ticket, agent, lead):
        one = post(agent, ticket, "code_changes", {"has_tests": True, "n": 1})
        confirm(lead, one)
        post(agent, ticket, "code_changes", {"has_tests": True, "n": 2})
        post(agent, ticket, "code_changes", {"has_tests": True, "n": 1})

        found = criterion(ticket, "code_changes")

        assert (found.artifact_id, found.level) == (str(one.pk), "reported")


class TestNewest:
    def test_a_newer_worse_text_counts_before_a_confirmed_older_one(self, team, lead, admin):
        services.seed_team(team=team)
        ticket = services.open_ticket(actor=lead, title="x", workflow="software_development")
        confirm(admin, post(lead, ticket, "requirements_document", DOCUMENT))
        newer = post(lead, ticket, "requirements_document", "nothing of it")

        found = criterion(ticket, "requirements_document")

        assert (found.artifact_id, found.met) == (str(newer.pk), False)

    def test_so_does_a_newer_figure(self, ticket, agent, lead):
        confirm(lead, post(agent, ticket, "test_coverage", {"percentage": 95}))
        post(agent, ticket, "test_coverage", {"percentage": 12})

        assert "percentage is 12" in criterion(ticket).reason

    def test_not_before_what_our_own_run_saw_of_this_code(self, ticket, agent, lead):
        [claim] = services.claim_tasks(actor=agent, capabilities=["code"])
        seen = services.record_evidence(
            actor=lead, ticket_id=ticket.pk, task_id=claim.task.pk,
            artifact_type="test_coverage", content={"percentage": 85},
            observation={
                "execution_id": "x", "exit_code": 0, "isolation": "none",
                "observed_at": "2026-01-01T00:00:00Z",
            },
        )  # fmt: skip
        post(agent, ticket, "test_coverage", {"percentage": 12})

        assert (criterion(ticket).artifact_id, criterion(ticket).met) == (str(seen.pk), True)


class TestClock:
    """A host whose own clock is ahead makes nothing fresher than it is."""

    @pytest.fixture
    def ahead(self, monkeypatch):
        real = timezone.now
        with monkeypatch.context() as patch:
            patch.setattr(timezone, "now", lambda: real() + timedelta(seconds=30))
            yield patch

    def test_evidence_posted_there_is_stale_after_newer_code(self, ticket, agent, lead, ahead):
        coverage = post(agent, ticket, "test_coverage", COVERAGE)
        ahead.undo()
        post(agent, ticket, "code_changes", {"has_tests": True})
        confirm(lead, coverage)

        assert criterion(ticket).stale

    def test_so_is_a_review_given_there(self, ticket, agent, lead, admin, ahead):
        phase = ticket.phase
        phase.review_required = True
        phase.save()
        services.add_requirement(actor=lead, phase_id=phase.pk, key="seen", kind="review")
        [claim] = services.claim_tasks(actor=agent, capabilities=["code"])
        task = claim.task
        services.complete_task(actor=agent, task_id=task.pk, fence=task.fence, result={})
        lease = services.start_review(actor=lead, task_id=task.pk).lease_expires_at
        services.give_verdict(actor=lead, task_id=task.pk, iteration=1, passed=True)
        ahead.undo()
        reviewed = criterion(ticket, "seen")
        post(agent, ticket, "code_changes", {"has_tests": True})

        assert lease is not None
        assert lease <= timezone.now() + timedelta(seconds=600)
        assert Review.objects.get().updated_at <= timezone.now()
        assert reviewed.met
        assert not criterion(ticket, "seen").met

    def test_a_host_that_is_behind_makes_nothing_staler_either(
        self, ticket, agent, lead, monkeypatch
    ):
        real, phase = timezone.now, ticket.phase
        phase.review_required = True
        phase.save()
        post(agent, ticket, "code_changes", {"has_tests": True})
        [claim] = services.claim_tasks(actor=agent, capabilities=["code"])
        monkeypatch.setattr(timezone, "now", lambda: real() - timedelta(seconds=30))
        services.complete_task(
            actor=agent, task_id=claim.task.pk, fence=claim.task.fence,
            result={"artifacts": [{"type": "test_coverage", "content": COVERAGE}]},
        )  # fmt: skip
        services.start_review(actor=lead, task_id=claim.task.pk)
        services.give_verdict(actor=lead, task_id=claim.task.pk, iteration=1, passed=True)
        services.validate_gate(actor=lead, ticket_id=ticket.pk)

        assert not criterion(ticket).stale
