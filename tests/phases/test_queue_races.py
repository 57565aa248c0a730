"""Claims, ends, moves and edits at the same moment: nobody waits in a circle, no work is lost."""

import pytest
from django.db import transaction

from phases import claims, jobs, services
from phases.models import ReadyTask, Task, Ticket
from tests import factories
from tests.beside import PATIENCE_SECONDS, Beside

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

REASON = "stop everything here"


@pytest.fixture
def lead():
    team = factories.make_team()
    services.seed_team(team=team)
    return factories.make_actor(team, "lena", role="operator", authority=4)


@pytest.fixture
def agent(lead):
    return factories.make_actor(lead.team, "coder-1", role="agent", kind="agent")


def open_ticket(lead) -> Ticket:
    return services.open_ticket(
        actor=lead, title="x", workflow="software_development", phase="PHASE_BACKLOG"
    )


@pytest.fixture
def ticket(lead) -> Ticket:
    return open_ticket(lead)


def make(lead, ticket: Ticket, *depends_on: Task) -> Task:
    return services.create_task(
        actor=lead,
        ticket=ticket,
        task_type="noop",
        title="x",
        required_capabilities=["noop"],
        depends_on=[task.pk for task in depends_on],
    )


def claim(agent, limit: int = 1) -> list[Task]:
    found = services.claim_tasks(actor=agent, capabilities=["noop"], limit=limit)
    return [claimed.task for claimed in found]


def move(lead, ticket: Ticket, phase: str) -> None:
    services.transition(actor=lead, ticket_id=ticket.pk, to_phase=phase, reason=REASON)


def set_priority(lead, ticket: Ticket, priority: int) -> None:
    services.update_ticket(
        actor=lead, ticket_id=ticket.pk, version=None, changes={"priority": priority}
    )


def now(task: Task) -> Task:
    return Task.objects.get(pk=task.pk)


def test_a_claim_beside_a_change_of_priority_waits_for_nothing(lead, agent, ticket, monkeypatch):
    task = make(lead, ticket)
    refresh, beside = claims.refresh, []

    def refresh_beside_a_claim(task_ids):
        beside.append(Beside(lambda: claim(agent)))
        beside[0].join(PATIENCE_SECONDS)
        return refresh(task_ids)

    monkeypatch.setattr(claims, "refresh", refresh_beside_a_claim)

    set_priority(lead, ticket, 1)

    assert beside[0].result == []
    assert ReadyTask.objects.get(pk=task.pk).priority == 1


def test_a_change_of_priority_beside_a_claim_waits_for_it_and_changes_what_is_held(
    lead, agent, ticket
):
    make(lead, ticket)
    with transaction.atomic():
        [held] = claim(agent)
        beside = Beside(lambda: set_priority(lead, ticket, 1))
        beside.wait_until_blocked()
    beside.join(PATIENCE_SECONDS)

    services.release_task(actor=agent, task_id=held.pk, fence=held.fence, reason="not mine")

    assert beside.refusal is None
    assert ReadyTask.objects.get(pk=held.pk).priority == 1


def test_a_task_that_is_given_back_beside_a_change_of_priority_is_queued_with_the_new_one(
    lead, agent, ticket
):
    make(lead, ticket)
    [held] = claim(agent)
    with transaction.atomic():
        services.release_task(actor=agent, task_id=held.pk, fence=held.fence, reason="not mine")
        beside = Beside(lambda: set_priority(lead, ticket, 1))
        beside.wait_until_blocked()
    beside.join(PATIENCE_SECONDS)

    assert beside.refusal is None
    assert ReadyTask.objects.get(pk=held.pk).priority == 1


def complete(agent, task: Task) -> None:
    services.complete_task(actor=agent, task_id=task.pk, fence=task.fence, result={})


def release(agent, task: Task) -> None:
    services.release_task(actor=agent, task_id=task.pk, fence=task.fence, reason="not mine")


@pytest.mark.parametrize("end", [complete, release])
def test_what_comes_into_the_queue_beside_a_block_of_its_ticket_is_not_claimed(
    lead, agent, ticket, end
):
    make(lead, ticket, make(lead, ticket))
    [held] = claim(agent)
    with transaction.atomic():
        move(lead, ticket, "PHASE_BLOCKED")
        beside = Beside(lambda: end(agent, held))
        beside.join(PATIENCE_SECONDS)
    assert ReadyTask.objects.filter(ticket=ticket).exists()

    claimed = claim(agent)
    jobs.sweep_leases(timestamp=0)

    assert (beside.refusal, claimed) == (None, [])
    assert not ReadyTask.objects.filter(ticket=ticket).exists()


def test_what_was_withheld_beside_a_block_is_claimed_when_its_ticket_comes_back(
    lead, agent, ticket
):
    task = make(lead, ticket)
    [held] = claim(agent)
    with transaction.atomic():
        move(lead, ticket, "PHASE_BLOCKED")
        Beside(lambda: release(agent, held)).join(PATIENCE_SECONDS)
    jobs.sweep_leases(timestamp=0)

    move(lead, ticket, "PHASE_BACKLOG")

    assert claim(agent) == [task]


def test_a_dependency_that_completes_beside_the_return_of_a_ticket_leaves_no_task_behind(
    lead, agent, ticket
):
    other = open_ticket(lead)
    waiting = make(lead, other, make(lead, ticket))
    move(lead, other, "PHASE_BLOCKED")
    [held] = claim(agent)
    with transaction.atomic():
        move(lead, other, "PHASE_BACKLOG")
        beside = Beside(lambda: complete(agent, held))
        beside.join(PATIENCE_SECONDS)

    jobs.sweep_leases(timestamp=0)

    assert (beside.refusal, now(waiting).deps_left) == (None, 0)
    assert claim(agent) == [waiting]


def test_a_queue_that_is_true_is_left_as_it_is(lead, agent, ticket):
    make(lead, ticket, make(lead, ticket))
    make(lead, ticket)

    healed = services.heal_queue()

    assert healed == 0
    assert ReadyTask.objects.filter(ticket=ticket).count() == 2


def test_a_task_that_is_called_off_while_it_is_given_back_leaves_nothing_in_the_queue(
    lead, agent, ticket
):
    make(lead, ticket)
    [held] = claim(agent)
    with transaction.atomic():
        release(agent, held)
        beside = Beside(
            lambda: services.cancel_ticket(actor=lead, ticket_id=ticket.pk, reason=REASON)
        )
        beside.wait_until_blocked()
    beside.join(PATIENCE_SECONDS)

    assert (beside.refusal, now(held).status) == (None, "cancelled")
    assert not ReadyTask.objects.filter(ticket=ticket).exists()


def test_what_waits_for_a_task_that_is_retried_while_its_end_is_told_is_not_blocked(
    lead, agent, ticket
):
    first = make(lead, ticket)
    second = make(lead, ticket, first)
    services.cancel_task(actor=lead, task_id=first.pk, reason=REASON, grace_seconds=0)
    with transaction.atomic():
        Task.objects.select_for_update().get(pk=second.pk)
        told = Beside(lambda: services.handle_final_task(task_id=first.pk))
        told.wait_until_blocked()
        retried = Beside(
            lambda: services.retry_task(actor=lead, task_id=first.pk, reason="it was right")
        )
        retried.wait_until_blocked()
    told.join(PATIENCE_SECONDS)
    retried.join(PATIENCE_SECONDS)
    assert retried.refusal is None

    [held] = claim(agent)
    complete(agent, held)

    assert (held, now(second).status) == (first, "pending")
    assert claim(agent) == [second]


def test_an_end_that_is_told_after_the_retry_blocks_nothing(lead, ticket):
    first = make(lead, ticket)
    second = make(lead, ticket, first)
    services.cancel_task(actor=lead, task_id=first.pk, reason=REASON, grace_seconds=0)
    with transaction.atomic():
        services.retry_task(actor=lead, task_id=first.pk, reason="it was right")
        told = Beside(lambda: services.handle_final_task(task_id=first.pk))
        told.wait_until_blocked()
    told.join(PATIENCE_SECONDS)

    assert now(second).status == "pending"


def test_two_claims_of_one_holder_at_once_take_ten_together(lead, agent, ticket):
    for _ in range(12):
        make(lead, ticket)
    with transaction.atomic():
        first = claim(agent, limit=7)
        beside = Beside(lambda: claim(agent, limit=7))
        beside.wait_until_blocked()
    beside.join(PATIENCE_SECONDS)

    assert [len(first), len(beside.result)] == [7, 3]
    assert Task.objects.filter(holder=agent.user).count() == 10


def test_claims_of_two_holders_do_not_wait_for_each_other(lead, agent, ticket):
    make(lead, ticket)
    make(lead, ticket)
    other = factories.make_actor(lead.team, "coder-2", role="agent", kind="agent")
    with transaction.atomic():
        first = claim(agent)
        beside = Beside(lambda: claim(other))
        beside.join(PATIENCE_SECONDS)

    assert [len(first), len(beside.result)] == [1, 1]
