"""No ticket stops without a word, and none for ever because one event got lost."""

import threading

import pytest
from django.db import connection, transaction
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from guardian import relay
from guardian.models import Delivery
from phases import jobs, services
from phases.gates import evaluate
from phases.models import BoardColumn, PhaseGateResult, Task, Ticket
from phases.why import why
from tests import factories
from tests.phases.test_evidence import INVENTORY, OBSERVATION

PATIENCE_SECONDS = 20


@pytest.fixture
def flow(team):
    services.seed_team(team=team)


def open_checkup(lead) -> Ticket:
    return services.open_ticket(
        actor=lead, title="Look", workflow="repo_checkup", context={"source": {"kind": "self"}}
    )


def take_inventory(agent, ticket: Ticket) -> None:
    task = services.claim_tasks(actor=agent, capabilities=["inventory"], ticket_id=ticket.pk)
    services.record_evidence(
        actor=agent,
        ticket_id=ticket.pk,
        task_id=task[0].task.pk,
        artifact_type="inventory",
        content=INVENTORY,
        observation=OBSERVATION,
    )
    services.complete_task(
        actor=agent, task_id=task[0].task.pk, fence=task[0].task.fence, result={}
    )


def phase_of(ticket: Ticket) -> str:
    return Ticket.objects.get(pk=ticket.pk).phase.key


def run_advance_jobs() -> None:
    for job in ProcrastinateJob.objects.filter(task_name="phases.advance_ticket"):
        jobs.advance_ticket(**{k: v for k, v in job.args.items() if k != "carried"})


def limit(key: str, wip_limit: int | None) -> BoardColumn:
    BoardColumn.objects.filter(workflow__key="repo_checkup", key=key).update(wip_limit=wip_limit)
    return BoardColumn.objects.get(workflow__key="repo_checkup", key=key)


class TestCancelled:
    def test_blocks_the_ticket_with_the_reason_where_the_phase_says_so(self, flow, lead):
        ticket = open_checkup(lead)
        task = Task.objects.get(ticket=ticket)

        services.cancel_task(actor=lead, task_id=task.pk, reason="wrong source")
        relay.run_once()

        blocked = Ticket.objects.get(pk=ticket.pk)
        assert blocked.phase.key == "PHASE_BLOCKED"
        assert blocked.blocked_reason == "“Take the inventory” was called off: wrong source"

    def test_else_says_that_it_needs_somebody(self, flow, lead):
        ticket = services.open_ticket(actor=lead, title="x", workflow="software_development")
        task = Task.objects.get(ticket=ticket)

        services.cancel_task(actor=lead, task_id=task.pk, reason="not like this")
        relay.run_once()

        stays = Ticket.objects.select_related("phase", "column").get(pk=ticket.pk)
        assert stays.auto_wait["reason"] == "cancelled"
        told = why(stays, list(stays.tasks.all()), evaluate(stays), now=timezone.now())
        assert told.head == "Needs you"
        assert "was called off: not like this Retry the task" in told.text

    def test_a_surplus_task_that_is_called_off_holds_nothing_up(self, flow, lead, agent):
        ticket = open_checkup(lead)
        extra = services.create_task(
            actor=lead, ticket=ticket, task_type="x", title="x", required_capabilities=["rust"]
        )
        take_inventory(agent, ticket)
        relay.run_once()
        assert phase_of(ticket) == "PHASE_INTAKE"

        services.cancel_task(actor=lead, task_id=extra.pk, reason="not needed")
        relay.run_once()

        assert phase_of(ticket) == "PHASE_CHECKS"


class TestSweep:
    def test_a_lost_delivery_is_not_the_end_of_a_ticket(self, flow, lead, agent):
        ticket = open_checkup(lead)
        take_inventory(agent, ticket)
        relay.stamp()
        Delivery.objects.update(state=Delivery.State.PARKED)

        moved = services.retry_moves()

        assert (moved, phase_of(ticket)) == (1, "PHASE_CHECKS")

    def test_a_queued_ticket_is_admitted_though_nobody_told_of_the_place(self, flow, lead):
        limit("intake", 1)
        open_checkup(lead)
        queued = open_checkup(lead)
        assert queued.admitted_at is None
        limit("intake", 2)

        services.retry_moves()

        assert Ticket.objects.get(pk=queued.pk).admitted_at is not None

    def test_asks_no_gate_again_while_nothing_has_changed(self, flow, lead, agent):
        ticket = services.open_ticket(actor=lead, title="x", workflow="software_development")
        services.transition(
            actor=lead,
            ticket_id=ticket.pk,
            to_phase="PHASE_DESIGN",
            override=True,
            reason="shown to the customer",
        )
        for task in Task.objects.still_open():
            services.cancel_task(actor=lead, task_id=task.pk, reason="skipped")
        services.transition(actor=lead, ticket_id=ticket.pk, to_phase="PHASE_IMPLEMENTATION")
        task = services.claim_tasks(actor=agent, capabilities=["code"])[0].task
        services.complete_task(actor=agent, task_id=task.pk, fence=task.fence, result={})
        relay.run_once()
        asked = PhaseGateResult.objects.count()

        services.retry_moves()
        services.retry_moves()

        assert PhaseGateResult.objects.count() == asked
        note = Ticket.objects.get(pk=ticket.pk).auto_wait
        assert note["reason"] == "gate_not_passed"

    def test_leaves_alone_what_waits_in_a_phase_without_work(self, flow, lead):
        ticket = services.open_ticket(
            actor=lead,
            title="x",
            workflow="repo_checkup",
            context={"source": {"kind": "self"}},
            phase="PHASE_BACKLOG",
        )

        assert services.retry_moves() == 0
        assert phase_of(ticket) == "PHASE_BACKLOG"


class TestFreePlace:
    def test_a_ticket_that_waited_for_it_moves_in_a_job_of_its_own(self, flow, lead, agent):
        limit("checks", 1)
        first, second = open_checkup(lead), open_checkup(lead)
        take_inventory(agent, first)
        relay.run_once()
        # Nothing begins before a place is free, so this one has begun before.
        limit("checks", None)
        task = services.claim_tasks(actor=agent, capabilities=["inventory"], ticket_id=second.pk)[
            0
        ].task
        limit("checks", 1)
        services.record_evidence(
            actor=agent,
            ticket_id=second.pk,
            task_id=task.pk,
            artifact_type="inventory",
            content=INVENTORY,
            observation=OBSERVATION,
        )
        services.complete_task(actor=agent, task_id=task.pk, fence=task.fence, result={})
        relay.run_once()
        assert Ticket.objects.get(pk=second.pk).auto_wait["reason"] == "wip_full"

        services.cancel_ticket(actor=lead, ticket_id=first.pk, reason="not needed")
        relay.run_once()
        assert phase_of(second) == "PHASE_INTAKE"
        run_advance_jobs()

        assert phase_of(second) == "PHASE_CHECKS"


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
class TestLocks:
    def test_giving_a_place_waits_for_no_other_column(self):
        team = factories.make_team()
        services.seed_team(team=team)
        lead = factories.make_actor(team, "lena", role="operator", authority=4)
        report = limit("report", 5)
        checks = limit("checks", 5)
        ticket = open_checkup(lead)
        services.transition(
            actor=lead,
            ticket_id=ticket.pk,
            to_phase="PHASE_CHECKS",
            override=True,
            reason="for this test only",
        )
        for task in Task.objects.still_open():
            services.cancel_task(actor=lead, task_id=task.pk, reason="skipped")
        note = {"reason": "wip_full", "detail": "", "column": "report"}
        Ticket.objects.filter(pk=ticket.pk).update(auto_wait=note)
        errors: list[Exception] = []

        def give_places() -> None:
            """As the relay does it: the receiver is one part of a longer transaction."""
            try:
                with transaction.atomic():
                    services.admit_queued(column_id=report.pk)
            except Exception as error:  # noqa: BLE001  shown by the assertion below
                errors.append(error)
            finally:
                connection.close()

        relay_side = threading.Thread(target=give_places)
        with transaction.atomic():
            BoardColumn.objects.select_for_update().get(pk=checks.pk)
            relay_side.start()
            relay_side.join(PATIENCE_SECONDS / 10)
            BoardColumn.objects.select_for_update().get(pk=report.pk)
        relay_side.join(PATIENCE_SECONDS)

        assert errors == []
        assert not relay_side.is_alive()
        assert ProcrastinateJob.objects.filter(task_name="phases.advance_ticket").count() == 1
