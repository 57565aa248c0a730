"""Nobody who takes several tasks waits in a circle; who must, tries once more."""

from uuid import UUID

import pytest
from django.db import transaction

from phases import services
from phases.models import Task, TaskDependency
from phases.services import NewTask
from phases.services.locking import locked_tasks
from tests import factories
from tests.beside import PATIENCE_SECONDS, Beside

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def lead():
    team = factories.make_team()
    services.seed_team(team=team)
    return factories.make_actor(team, "lena", role="operator", authority=4)


@pytest.fixture
def agent(lead):
    return factories.make_actor(lead.team, "coder-1", role="agent", kind="agent")


@pytest.fixture
def ticket(lead):
    return services.open_ticket(
        actor=lead, title="x", workflow="software_development", phase="PHASE_BACKLOG"
    )


@pytest.fixture
def older_waits(lead, ticket) -> tuple[Task, Task]:
    """Two tasks, of which the one that was made first waits for the other."""
    waits, other = (
        services.create_task(actor=lead, ticket=ticket, task_type="noop", title=title)
        for title in ("waits", "other")
    )
    services.add_dependencies(actor=lead, task_id=waits.pk, depends_on=[other.pk])
    assert waits.pk < other.pk
    return waits, other


@pytest.fixture
def held(agent, older_waits) -> Task:
    [claimed] = services.claim_tasks(actor=agent, capabilities=[], task_id=older_waits[1].pk)
    return claimed.task


def is_free(task: Task) -> bool:
    return Task.objects.select_for_update(skip_locked=True).filter(pk=task.pk).exists()


def test_of_a_batch_each_is_younger_than_what_it_waits_for(lead, ticket):
    def new(title: str, *refs: str) -> NewTask:
        waits_for = [f"ref:{ref}" for ref in refs]
        return NewTask(
            ticket_id=ticket.pk, task_type="x", title=title, ref=title, depends_on=waits_for
        )

    made = services.create_tasks(
        actor=lead,
        tasks=[
            new("a", "d", "c"),
            new("b"),
            new("c", "e"),
            new("d", "c"),
            new("e"),
            *(new(str(number), "last") for number in range(94)),
            new("last"),
        ],
    )

    edges = TaskDependency.objects.values_list("task_id", "depends_on_id")
    assert [task.title for task in made[:5]] == ["a", "b", "c", "d", "e"]
    assert len(edges) == 98
    assert all(task > other for task, other in edges)


def test_a_failed_task_and_what_waits_for_it_are_taken_in_order(agent, held, older_waits):
    waits, _ = older_waits
    services.fail_task(
        actor=agent, task_id=held.pk, fence=held.fence, code="x", message="x", permanent=True
    )

    with transaction.atomic():
        locked_tasks([waits.pk])
        beside = Beside(lambda: services.handle_final_task(task_id=held.pk))
        beside.wait_until_blocked()
        other_is_free = is_free(held)
    beside.join(PATIENCE_SECONDS)

    assert other_is_free
    assert Task.objects.get(pk=waits.pk).status == "blocked"


def test_a_task_that_is_tried_again_too(lead, agent, held, older_waits):
    waits, _ = older_waits
    services.fail_task(
        actor=agent, task_id=held.pk, fence=held.fence, code="x", message="x", permanent=True
    )
    services.handle_final_task(task_id=held.pk)

    with transaction.atomic():
        locked_tasks([waits.pk])
        beside = Beside(
            lambda: services.retry_task(actor=lead, task_id=held.pk, reason="do it after all")
        )
        beside.wait_until_blocked()
        other_is_free = is_free(held)
    beside.join(PATIENCE_SECONDS)

    assert other_is_free
    assert [Task.objects.get(pk=pk).status for pk in (held.pk, waits.pk)] == ["pending"] * 2


def test_those_of_a_reopened_ticket_too(lead, ticket, older_waits):
    waits, other = older_waits
    services.cancel_ticket(actor=lead, ticket_id=ticket.pk, reason="not wanted any more")
    Task.objects.filter(pk=waits.pk).update(error_code="")  # called off for itself, stays so

    with transaction.atomic():
        locked_tasks([waits.pk])
        beside = Beside(
            lambda: services.reopen_ticket(
                actor=lead, ticket_id=ticket.pk, reason="wanted after all"
            )
        )
        beside.wait_until_blocked()
        other_is_free = is_free(other)
    beside.join(PATIENCE_SECONDS)

    assert other_is_free
    assert [Task.objects.get(pk=t.pk).status for t in older_waits] == ["cancelled", "pending"]


def complete(agent, task: Task) -> list[UUID]:
    return services.complete_task(
        actor=agent, task_id=task.pk, fence=task.fence, result={}
    ).unblocked


def hand_over(agent, task: Task) -> list[UUID]:
    return services.complete_and_claim(
        actor=agent, task_id=task.pk, fence=task.fence, result={}, capabilities=["none"]
    ).unblocked


@pytest.mark.parametrize("end", [complete, hand_over])
def test_a_completion_that_was_ended_to_break_a_circle_is_done_after_all(
    agent, held, older_waits, end
):
    waits, _ = older_waits

    with transaction.atomic():
        locked_tasks([waits.pk])
        beside = Beside(lambda: end(agent, held))
        beside.wait_until_blocked()
        locked_tasks([held.pk])  # the circle is closed; whoever waited first is ended
    beside.join(PATIENCE_SECONDS)

    assert beside.result == [waits.pk]
    assert Task.objects.get(pk=held.pk).status == "completed"
    assert Task.objects.get(pk=waits.pk).deps_left == 0
