"""A ticket's life through the services: opened, claimed, proved, moved, done."""

import threading

import pytest
from django.db import DatabaseError, connection, transaction

from guardian import relay
from guardian import services as guardian
from guardian.errors import IllegalTransition, KillSwitchOn, LeaseLost, StaleVersion
from guardian.models import Event
from phases import services
from phases.errors import GateNotPassed, WipExceeded
from phases.models import BoardColumn, Phase, PhaseHistory, ReadyTask, Task, Ticket
from tests import factories

REQUIREMENTS = "# Scope\n" + "what is asked for " * 30 + "\n# Acceptance criteria\nit works\n"


@pytest.fixture
def flow(team):
    services.seed_team(team=team)


@pytest.fixture
def ticket(flow, lead) -> Ticket:
    return services.open_ticket(actor=lead, title="Retry storm", workflow="software_development")


@pytest.fixture
def held(ticket, agent) -> Task:
    return services.claim_tasks(actor=agent, capabilities=["analysis"])[0].task


def sees_history_at_once():
    connection.cursor().execute("SET CONSTRAINTS ALL IMMEDIATE")


class TestOpen:
    def test_writes_ticket_history_and_first_task_together(self, ticket):
        task = Task.objects.get(ticket=ticket)

        assert (task.task_type, task.status) == ("analyze_requirements", "pending")
        assert PhaseHistory.objects.get(ticket=ticket).kind == "create"
        assert ReadyTask.objects.get().task_id == task.pk
        assert ticket.number == 1
        sees_history_at_once()

    def test_a_default_workflow_equals_the_specified_rows(self, flow, team):
        rows = Phase.objects.filter(workflow__key="default").order_by("sequence_order")
        assert [(p.key.removeprefix("PHASE_"), p.kind, p.is_terminal) for p in rows] == [
            ("BACKLOG", "work", False),
            ("REQUIREMENTS", "work", False),
            ("DESIGN", "work", False),
            ("IMPLEMENTATION", "work", False),
            ("TESTING", "work", False),
            ("DEPLOYMENT", "work", False),
            ("DONE", "done", True),
            ("BLOCKED", "blocked", True),
        ]
        columns = BoardColumn.objects.filter(workflow__key="default").order_by("position")
        assert [(c.key, c.wip_limit, c.auto_transition_to, c.color) for c in columns] == [
            ("backlog", None, "", "gray"),
            ("analyzing", 5, "", "blue"),
            ("building", 10, "testing", "yellow"),
            ("testing", 8, "", "blue"),
            ("deploying", 3, "done", "green"),
            ("done", None, "", "green"),
            ("blocked", None, "", "red"),
        ]

    def test_a_full_column_queues_the_ticket_and_its_task_waits(self, flow, lead):
        for _ in range(6):
            services.open_ticket(actor=lead, title="x", workflow="software_development")

        column = BoardColumn.objects.get(workflow__key="software_development", key="analyzing")
        assert (column.admitted_count, column.queued_count, column.total_count) == (5, 1, 6)
        assert ReadyTask.objects.count() == 5


class TestClaim:
    def test_takes_only_what_the_capabilities_cover(self, ticket, agent):
        assert services.claim_tasks(actor=agent, capabilities=["code"]) == []

        claimed = services.claim_tasks(actor=agent, capabilities=["analysis", "code"])
        assert [c.task.status for c in claimed] == ["assigned"]
        assert claimed[0].task.fence == 1
        assert claimed[0].score == pytest.approx(0.45 * 0.5 + 0.05, abs=1e-3)

    def test_never_gives_the_same_task_twice(self, held, agent, team):
        other = factories.make_actor(team, "coder-2", role="agent", kind="agent")

        assert services.claim_tasks(actor=other, capabilities=["analysis"]) == []

    def test_kill_switch_stops_claims(self, ticket, agent, lead):
        guardian.set_kill_switch(actor=lead, on=True, reason="stop")

        with pytest.raises(KillSwitchOn):
            services.claim_tasks(actor=agent, capabilities=["analysis"])

    def test_waits_while_the_next_column_is_full(self, flow, lead, agent):
        building = BoardColumn.objects.get(workflow__key="software_development", key="building")
        BoardColumn.objects.filter(pk=building.pk).update(wip_limit=1, admitted_count=1)
        ticket = services.open_ticket(actor=lead, title="x", workflow="software_development")
        design = Phase.objects.get(workflow__key="software_development", key="PHASE_DESIGN")
        assert design.next_column_id == building.pk
        task = services.claim_tasks(actor=agent, capabilities=["analysis"])[0].task
        services.add_artifact(
            actor=agent,
            ticket_id=ticket.pk,
            artifact_type="requirements_document",
            content=REQUIREMENTS,
        )
        services.complete_task(actor=agent, task_id=task.pk, fence=task.fence, result={})
        services.transition(actor=lead, ticket_id=ticket.pk, to_phase="PHASE_DESIGN")

        assert services.claim_tasks(actor=agent, capabilities=["design"]) == []

        BoardColumn.objects.filter(pk=building.pk).update(admitted_count=0)
        assert len(services.claim_tasks(actor=agent, capabilities=["design"])) == 1


class TestLease:
    def test_first_heartbeat_starts_the_task(self, held, agent):
        beat = services.extend_lease(actor=agent, task_id=held.pk, fence=1, progress=0.5)

        assert (beat.task.status, beat.task.progress) == ("running", 0.5)

    def test_an_older_fence_is_refused_and_changes_nothing(self, held, agent, lead):
        services.release_task(actor=lead, task_id=held.pk, fence=None, reason="stuck")

        for verb in (
            lambda: services.complete_task(actor=agent, task_id=held.pk, fence=1, result={"a": 1}),
            lambda: services.extend_lease(actor=agent, task_id=held.pk, fence=1),
            lambda: services.release_task(actor=agent, task_id=held.pk, fence=1, reason="x"),
            lambda: services.fail_task(
                actor=agent, task_id=held.pk, fence=1, code="x", message="x"
            ),
        ):
            with pytest.raises(LeaseLost):
                verb()
        task = Task.objects.get(pk=held.pk)
        assert (task.status, task.fence, task.result) == ("pending", 2, {})

    def test_completing_again_gives_the_same_answer(self, held, agent):
        for _ in range(2):
            task, *_ = services.complete_task(
                actor=agent, task_id=held.pk, fence=1, result={"summary": "done"}
            )
            assert task.status == "completed"
        assert Event.objects.filter(kind="phases.task.completed").count() == 1

    def test_the_sweep_takes_back_work_from_the_dead(self, held):
        connection.cursor().execute(
            "UPDATE phases_task SET lease_expires_at = now() - interval '1 s' WHERE id = %s",
            [held.pk],
        )

        assert services.sweep_leases() == 1

        task = Task.objects.get(pk=held.pk)
        assert (task.status, task.holder, task.fence, task.lease_losses) == ("pending", None, 2, 1)
        assert ReadyTask.objects.filter(task=task).exists()

    def test_a_timeout_is_found_behind_any_number_of_patient_tasks(self, flow, lead, agent, team):
        patient = factories.make_actor(team, "patient", role="agent", kind="agent")
        ticket = services.open_ticket(actor=lead, title="x", workflow="software_development")
        for actor, seconds in ((patient, 3600), (patient, 3600), (agent, 60)):
            made = services.create_task(
                actor=lead, ticket=ticket, task_type="x", title="x", timeout_seconds=seconds
            )
            services.claim_tasks(actor=actor, capabilities=[], task_id=made.pk, lease_seconds=3600)
        connection.cursor().execute("UPDATE phases_task SET claimed_at = now() - interval '61 s'")

        ended = services.sweep_leases(limit=2)

        assert ended == 1
        late = Task.objects.get(timeout_seconds=60)
        assert (late.status, late.error_code, late.retry_count) == ("pending", "timeout", 1)
        assert Task.objects.held().filter(timeout_seconds=3600).count() == 2

    def test_three_lost_leases_fail_the_task(self, held, agent):
        for _ in range(3):
            connection.cursor().execute(
                "UPDATE phases_task SET lease_expires_at = now() - interval '1 s'"
                " WHERE holder_id IS NOT NULL"
            )
            services.sweep_leases()
            connection.cursor().execute("UPDATE phases_readytask SET not_before = '2000-01-01'")
            services.claim_tasks(actor=agent, capabilities=["analysis"])

        assert Task.objects.get(pk=held.pk).status == "failed"

    def test_a_retryable_failure_comes_back_and_a_permanent_one_does_not(self, held, agent):
        task = services.fail_task(
            actor=agent, task_id=held.pk, fence=1, code="net", message="connection reset"
        )
        assert (task.status, task.retry_count) == ("pending", 1)
        assert services.claim_tasks(actor=agent, capabilities=["analysis"]) == []

        connection.cursor().execute("UPDATE phases_readytask SET not_before = '2000-01-01'")
        again = services.claim_tasks(actor=agent, capabilities=["analysis"])[0].task
        task = services.fail_task(
            actor=agent,
            task_id=again.pk,
            fence=again.fence,
            code="x",
            message="Permission denied",
        )
        assert task.status == "failed"


class TestCancel:
    @pytest.mark.parametrize("end", ["release", "fail"])
    def test_a_holder_that_hears_of_a_cancel_ends_the_task_for_good(self, held, agent, lead, end):
        services.cancel_task(actor=lead, task_id=held.pk, reason="not needed", grace_seconds=60)

        if end == "release":
            services.release_task(actor=agent, task_id=held.pk, fence=held.fence, reason="heard")
        else:
            services.fail_task(
                actor=agent, task_id=held.pk, fence=held.fence, code="stopped", message="heard"
            )

        assert Task.objects.get(pk=held.pk).status == "cancelled"
        assert not ReadyTask.objects.filter(task=held).exists()


class TestDependencies:
    def test_completion_readies_what_waited(self, ticket, agent, lead):
        first = Task.objects.get(ticket=ticket)
        second = services.create_task(
            actor=lead, ticket=ticket, task_type="x", title="second", depends_on=[first.pk]
        )
        assert not ReadyTask.objects.filter(task=second).exists()

        held = services.claim_tasks(actor=agent, capabilities=["analysis"])[0].task
        _, unblocked, _ = services.complete_task(actor=agent, task_id=held.pk, fence=1, result={})

        assert unblocked == [second.pk]
        assert ReadyTask.objects.filter(task=second).exists()

    def test_a_failed_dependency_blocks_by_name(self, ticket, agent, lead):
        first = Task.objects.get(ticket=ticket)
        second = services.create_task(
            actor=lead, ticket=ticket, task_type="x", title="second", depends_on=[first.pk]
        )
        held = services.claim_tasks(actor=agent, capabilities=["analysis"])[0].task
        services.fail_task(
            actor=agent, task_id=held.pk, fence=1, code="x", message="no", permanent=True
        )
        relay.run_once()

        second = Task.objects.get(pk=second.pk)
        assert second.status == "blocked"
        assert "Analyse the requirements" in second.blocked_reason


class TestGate:
    def test_refuses_without_evidence_and_says_what_is_missing(self, ticket, held, agent):
        with pytest.raises(GateNotPassed) as refusal:
            services.transition(actor=agent, ticket_id=ticket.pk, to_phase="PHASE_DESIGN")

        assert "There is no requirements document yet." in refusal.value.data["unmet"]

    def test_passes_on_stored_text_and_completed_task(self, held, agent, ticket):
        artifact = {"type": "requirements_document", "path": "docs/r.md", "content": REQUIREMENTS}
        services.complete_task(
            actor=agent, task_id=held.pk, fence=1, result={"artifacts": [artifact]}
        )

        moved = services.transition(actor=agent, ticket_id=ticket.pk, to_phase="PHASE_DESIGN")

        assert moved.ticket.phase.key == "PHASE_DESIGN"
        assert Task.objects.filter(ticket=ticket, task_type="design_solution").exists()
        sees_history_at_once()

    def test_what_an_agent_says_is_reported_and_a_second_person_verifies(self, flow, lead, agent):
        ticket = services.open_ticket(
            actor=lead, title="x", workflow="software_development", phase="PHASE_TESTING"
        )
        claimed = services.claim_tasks(actor=agent, capabilities=["test"])[0].task
        facts = {"total": 3, "failed": 0, "errors": 0, "passed": 3}
        services.complete_task(
            actor=agent,
            task_id=claimed.pk,
            fence=1,
            result={
                "artifacts": [
                    {"type": "test_results", "path": "r.json", "content": facts},
                    {"type": "test_evidence", "path": "r.log", "content": {"log": "3 passed"}},
                ]
            },
        )

        _, outcome = services.validate_gate(actor=agent, ticket_id=ticket.pk)
        assert (outcome.status, outcome.evaluation) == ("failed", "ready")
        assert "Test results: only reported, nobody has observed it." in outcome.reasons

        for artifact in ticket.artifacts.all():
            services.verify_artifact(
                actor=lead, ticket_id=ticket.pk, artifact_id=artifact.pk, confirm=True
            )
        _, outcome = services.validate_gate(actor=agent, ticket_id=ticket.pk)
        assert outcome.passed


class TestMoves:
    def test_refuses_a_move_without_an_edge(self, ticket, lead):
        with pytest.raises(IllegalTransition) as refusal:
            services.transition(actor=lead, ticket_id=ticket.pk, to_phase="PHASE_TESTING")

        assert refusal.value.data["allowed"] == ["PHASE_DESIGN", "PHASE_BLOCKED"]

    def test_refuses_a_stale_version(self, ticket, lead):
        with pytest.raises(StaleVersion):
            services.transition(
                actor=lead,
                ticket_id=ticket.pk,
                to_phase="PHASE_BLOCKED",
                reason="x" * 10,
                version=99,
            )

    def test_out_of_blocked_never_past_where_it_was(self, ticket, lead):
        services.transition(
            actor=lead, ticket_id=ticket.pk, to_phase="PHASE_BLOCKED", reason="waits for a key"
        )
        with pytest.raises(IllegalTransition):
            services.transition(actor=lead, ticket_id=ticket.pk, to_phase="PHASE_TESTING")

        moved = services.transition(actor=lead, ticket_id=ticket.pk, to_phase="PHASE_REQUIREMENTS")
        assert (moved.ticket.is_blocked, moved.ticket.visit) == (False, 1)

    def test_a_full_column_refuses(self, flow, lead, ticket):
        column = BoardColumn.objects.get(workflow=ticket.workflow, key="building")
        BoardColumn.objects.filter(pk=column.pk).update(wip_limit=1, admitted_count=1)
        design = services.transition(
            actor=lead,
            ticket_id=ticket.pk,
            to_phase="PHASE_DESIGN",
            override=True,
            reason="shown to the customer",
        )

        with pytest.raises(WipExceeded):
            services.transition(
                actor=lead, ticket_id=design.ticket.pk, to_phase="PHASE_IMPLEMENTATION"
            )


class TestDatabase:
    def test_a_phase_change_without_history_fails(self, ticket):
        other = Phase.objects.get(workflow=ticket.workflow, key="PHASE_DESIGN")

        @transaction.atomic
        def move_by_sql() -> None:
            connection.cursor().execute(
                "UPDATE phases_ticket SET phase_id = %s WHERE id = %s", [other.pk, ticket.pk]
            )
            sees_history_at_once()

        with pytest.raises(DatabaseError, match="history row"):
            move_by_sql()

    @pytest.mark.parametrize("status", ["running", "completed", "failed", "under_review"])
    def test_a_pending_task_takes_no_shortcut_by_sql(self, ticket, status):
        with pytest.raises(DatabaseError), transaction.atomic():
            connection.cursor().execute("UPDATE phases_task SET status = %s", [status])

    def test_column_counts_equal_a_recount(self, flow, lead):
        tickets = [
            services.open_ticket(actor=lead, title="x", workflow="software_development")
            for _ in range(7)
        ]
        services.cancel_ticket(actor=lead, ticket_id=tickets[0].pk, reason="not needed")
        services.transition(
            actor=lead, ticket_id=tickets[1].pk, to_phase="PHASE_BLOCKED", reason="key missing"
        )
        relay.run_once()

        for column in BoardColumn.objects.all():
            open_ones = Ticket.objects.still_open().filter(column=column)
            assert column.admitted_count == open_ones.exclude(admitted_at=None).count()
            assert column.queued_count == open_ones.filter(admitted_at=None).count()
            assert column.total_count == Ticket.objects.filter(column=column).count()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_twenty_claims_at_once_never_share_a_task(self):
        team = factories.make_team()
        services.seed_team(team=team)
        lead = factories.make_actor(team, "lena", role="operator")
        for _ in range(5):
            services.open_ticket(actor=lead, title="x", workflow="software_development")
        agents = [
            factories.make_actor(team, f"coder-{n}", role="agent", kind="agent") for n in range(10)
        ]
        got: list[object] = []
        barrier = threading.Barrier(len(agents))

        def claim(agent) -> None:
            barrier.wait()
            try:
                for _ in range(2):
                    claimed = services.claim_tasks(actor=agent, capabilities=["analysis"])
                    got.extend(c.task.pk for c in claimed)
            finally:
                connection.close()

        threads = [threading.Thread(target=claim, args=(agent,)) for agent in agents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(got) == 5
        assert len(set(got)) == 5
