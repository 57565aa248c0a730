"""A task that waits for one which ends just then hears of it."""

import json

import pytest
from django.db import connection, transaction

from phases import services
from phases.jobs import settle_dependencies
from phases.models import ReadyTask, Task, TaskDependency
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
def held(lead, agent) -> Task:
    services.open_ticket(actor=lead, title="x", workflow="software_development")
    [claimed] = services.claim_tasks(actor=agent, capabilities=["analysis"])
    return claimed.task


def dependent(lead, on: Task) -> Task:
    return services.create_task(
        actor=lead, ticket=on.ticket, task_type="code", title="next", depends_on=[on.pk]
    )


def settle_what_was_deferred(task: Task) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT args FROM procrastinate_jobs WHERE task_name = 'phases.settle_dependencies'"
            " AND args ->> 'task_id' = %s",
            [str(task.pk)],
        )
        [(arguments,)] = cursor.fetchall()
    asked = json.loads(arguments)
    asked.pop("carried", None)  # what the worker takes off before the job runs
    settle_dependencies(**asked)


def test_one_made_while_its_dependency_completes_is_ready(lead, agent, held):
    with transaction.atomic():
        services.complete_task(actor=agent, task_id=held.pk, fence=held.fence, result={})
        beside = Beside(lambda: dependent(lead, held))
        beside.wait_until_blocked()
    beside.join(PATIENCE_SECONDS)

    made = Task.objects.get(pk=beside.result.pk)
    assert made.deps_left == 0
    assert TaskDependency.objects.get(task=made).satisfied
    assert ReadyTask.objects.filter(pk=made.pk).exists()


def test_one_whose_dependency_completes_while_it_is_made_hears_of_it_by_its_job(lead, agent, held):
    with transaction.atomic():
        made = dependent(lead, held)
        beside = Beside(
            lambda: services.complete_task(
                actor=agent, task_id=held.pk, fence=held.fence, result={}
            )
        )
        beside.wait_until_blocked()
    beside.join(PATIENCE_SECONDS)

    settle_what_was_deferred(made)

    made.refresh_from_db()
    assert (beside.refusal, made.deps_left) == (None, 0)
    assert TaskDependency.objects.get(task=made).satisfied
    assert ReadyTask.objects.filter(pk=made.pk).exists()
