"""What a task waits for: taken on and dropped while it waits, never in a circle."""

import threading

import pytest
from django.db import connection

from guardian.models import Event
from phases import services
from phases.errors import DependenciesFixed, DependencyCycle
from phases.models import ReadyTask, Task, TaskDependency, Ticket


@pytest.fixture
def ticket(team, lead) -> Ticket:
    services.seed_team(team=team)
    return services.open_ticket(
        actor=lead, title="x", workflow="software_development", phase="PHASE_BACKLOG"
    )


@pytest.fixture
def make(lead, ticket):
    def new(title: str, *depends_on: Task) -> Task:
        return services.create_task(
            actor=lead,
            ticket=ticket,
            task_type="noop",
            title=title,
            depends_on=[task.pk for task in depends_on],
        )

    return new


@pytest.fixture
def add(lead):
    def link(task: Task, *others: Task) -> int:
        return services.add_dependencies(
            actor=lead, task_id=task.pk, depends_on=[other.pk for other in others]
        )

    return link


def is_ready(task: Task) -> bool:
    return ReadyTask.objects.filter(task=task).exists()


def copy_of(task: Task) -> Task:
    return Task.objects.create(
        team=task.team,
        ticket=task.ticket,
        phase=task.phase,
        task_type="noop",
        title="copy",
        status="duplicated",
        duplicate_of=task,
    )


class TestAdding:
    def test_takes_a_ready_task_out_of_the_queue_until_the_other_is_done(self, agent, make, add):
        first, second = make("first"), make("second")

        added = add(second, first)

        assert (added, is_ready(second)) == (1, False)
        assert ReadyTask.objects.get(task=first).blockers == 1
        held = services.claim_tasks(actor=agent, capabilities=[])[0].task
        done = services.complete_task(actor=agent, task_id=held.pk, fence=held.fence, result={})
        assert (held.title, done.unblocked, is_ready(second)) == ("first", [second.pk], True)

    def test_the_same_again_changes_nothing(self, make, add):
        first, second = make("first"), make("second")
        add(second, first)

        assert add(second, first) == 0
        assert Task.objects.get(pk=second.pk).deps_left == 1
        assert Event.objects.filter(kind="phases.task.dependency_added").count() == 1

    def test_on_something_done_holds_nothing_up(self, agent, make, add):
        first = make("first")
        held = services.claim_tasks(actor=agent, capabilities=[])[0].task
        services.complete_task(actor=agent, task_id=held.pk, fence=held.fence, result={})
        second = make("second")

        add(second, first)

        assert is_ready(second)
        assert TaskDependency.objects.get().satisfied

    def test_on_something_cancelled_blocks_by_name(self, lead, make, add):
        first, second = make("first"), make("second")
        services.cancel_task(actor=lead, task_id=first.pk, reason="not needed")

        add(second, first)

        assert Task.objects.get(pk=second.pk).blocked_reason == (
            "dependency_failed: first is cancelled"
        )

    def test_a_copy_stands_for_its_original(self, make, add):
        first, second = make("first"), make("second")

        add(second, copy_of(first))

        assert TaskDependency.objects.get().depends_on_id == first.pk
        assert make("third", copy_of(first)).deps_left == 1

    @pytest.mark.parametrize("length", [1, 2, 5])
    def test_a_circle_is_named(self, make, add, length):
        chain = [make("t0")]
        for n in range(1, length):
            chain.append(make(f"t{n}", chain[-1]))

        with pytest.raises(DependencyCycle) as refusal:
            add(chain[0], chain[-1])

        way = [str(task.pk) for task in [chain[0], *chain[::-1]]]
        assert refusal.value.data["cycle"] == way
        assert is_ready(chain[0])

    def test_a_circle_through_a_copy_is_one(self, make, add):
        first = make("first")
        second = make("second", first)

        with pytest.raises(DependencyCycle):
            add(first, copy_of(second))

    def test_neither_to_held_nor_to_ended_nor_to_copied_work(self, agent, lead, make, add):
        first, second = make("first"), make("second")
        services.claim_tasks(actor=agent, capabilities=[], task_id=second.pk)
        third = make("third")
        services.cancel_task(actor=lead, task_id=third.pk, reason="not needed")

        for task in (second, third, copy_of(first)):
            with pytest.raises(DependenciesFixed):
                add(task, make("other"))


class TestRemoving:
    def test_the_last_open_one_readies_the_task(self, lead, make):
        first, other = make("first"), make("other")
        second = make("second", first, other)
        services.remove_dependency(actor=lead, task_id=second.pk, depends_on=other.pk)
        before = is_ready(second)

        services.remove_dependency(actor=lead, task_id=second.pk, depends_on=first.pk)

        assert (before, is_ready(second)) == (False, True)
        assert {r.blockers for r in ReadyTask.objects.all()} == {0}
        told = Event.objects.filter(kind="phases.task.readied", subject_id=str(second.pk))
        assert told.count() == 1

    def test_the_failed_one_frees_what_was_blocked_for_it(self, lead, make):
        first = make("first")
        second = make("second", first)
        services.cancel_task(actor=lead, task_id=first.pk, reason="not needed")
        services.handle_final_task(task_id=first.pk)
        before = Task.objects.get(pk=second.pk).status

        services.remove_dependency(actor=lead, task_id=second.pk, depends_on=first.pk)

        assert (before, Task.objects.get(pk=second.pk).status) == ("blocked", "pending")
        assert is_ready(second)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_two_at_once_never_close_a_circle_together(team, lead):
    services.seed_team(team=team)
    ticket = services.open_ticket(
        actor=lead, title="x", workflow="software_development", phase="PHASE_BACKLOG"
    )
    first, second = (
        services.create_task(actor=lead, ticket=ticket, task_type="noop", title=title)
        for title in ("first", "second")
    )
    start, refused = threading.Barrier(2), []

    def link(task, other):
        start.wait()
        try:
            services.add_dependencies(actor=lead, task_id=task.pk, depends_on=[other.pk])
        except DependencyCycle as refusal:
            refused.append(refusal)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=link, args=pair) for pair in ((first, second), (second, first))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(refused) == 1
    assert TaskDependency.objects.count() == 1


class TestApi:
    def test_reads_adds_and_removes(self, api, lead, make):
        first, second = make("first"), make("second")
        client, path = api(lead), f"/api/v1/tasks/{second.pk}/dependencies"
        body = {"depends_on": str(first.pk)}

        added = client.post(path, body, format="json")
        again = client.post(path, {"depends_on": [str(first.pk)]}, format="json")
        read = client.get(f"/api/v1/tasks/{first.pk}/dependencies").json()
        removed = client.delete(f"{path}?depends_on={first.pk}")
        gone = client.delete(f"{path}?depends_on={first.pk}")

        assert (added.status_code, again.status_code) == (201, 200)
        assert added.json() == {
            "dependencies": [
                {
                    "id": str(first.pk),
                    "ticket": str(first.ticket_id),
                    "title": "first",
                    "status": "pending",
                    "satisfied": False,
                }
            ],
            "dependents": [],
            "deps_left": 1,
        }
        assert [t["id"] for t in read["dependents"]] == [str(second.pk)]
        assert (removed.status_code, gone.status_code) == (204, 404)

    def test_a_circle_is_asked_for_and_refused(self, api, lead, make):
        first = make("first")
        second = make("second", first)
        client, path = api(lead), f"/api/v1/tasks/{first.pk}"
        body = {"depends_on": str(second.pk)}
        way = [str(first.pk), str(second.pk), str(first.pk)]

        asked = client.post(f"{path}/check-circular", body, format="json")
        free = client.post(
            f"/api/v1/tasks/{second.pk}/check-circular",
            {"depends_on": str(first.pk)},
            format="json",
        )
        refused = client.post(f"{path}/dependencies", body, format="json")

        assert asked.json() == {"circular": True, "cycle": way}
        assert free.json() == {"circular": False, "cycle": []}
        assert (refused.status_code, refused.json()["code"]) == (409, "dependency_cycle")
        assert refused.json()["cycle"] == way

    def test_what_cannot_be(self, api, lead, viewer, outsider, agent, make):
        first, held = make("first"), make("held")
        services.claim_tasks(actor=agent, capabilities=[], task_id=held.pk)
        path = f"/api/v1/tasks/{first.pk}/dependencies"
        body = {"depends_on": str(held.pk)}

        fixed = api(lead).post(
            f"/api/v1/tasks/{held.pk}/dependencies",
            {"depends_on": str(first.pk)},
            format="json",
        )
        wrong = [
            api(lead).post(path, {"depends_on": value}, format="json").status_code
            for value in ("x", [], 5, {"a": 1}, [["x"]], ["\x00"], None)
        ]

        assert (fixed.status_code, fixed.json()["code"]) == (409, "task_not_waiting")
        assert wrong == [400] * 7
        assert api(lead).delete(path).status_code == 400
        assert api(viewer).post(path, body, format="json").status_code == 403
        assert api(outsider).post(path, body, format="json").status_code == 404
        assert api(outsider).get(path).status_code == 404
        assert api(outsider).delete(f"{path}?depends_on={held.pk}").status_code == 404
