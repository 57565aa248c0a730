"""Tasks made together: all with their edges, or none; what is wrong is named by its path."""

import pytest

from guardian.errors import Invalid, NotYours
from guardian.models import Event
from phases import services
from phases.errors import DependencyCycle
from phases.models import ReadyTask, Task, TaskDependency, Ticket
from phases.services import NewTask


@pytest.fixture
def ticket(team, lead) -> Ticket:
    services.seed_team(team=team)
    return services.open_ticket(
        actor=lead, title="x", workflow="software_development", phase="PHASE_BACKLOG"
    )


@pytest.fixture
def new(ticket):
    def task(ref: str = "", *depends_on: str, **fields) -> NewTask:
        given = {"ticket_id": ticket.pk, "task_type": "noop", "title": ref or "x", **fields}
        return NewTask(ref=ref, depends_on=list(depends_on), **given)

    return task


def paths(refusal) -> list[str]:
    return [fault["path"] for fault in refusal.value.data["errors"]]


class TestMaking:
    def test_all_with_their_edges_in_the_order_of_the_batch(self, lead, new):
        made = services.create_tasks(
            actor=lead, tasks=[new("b", "ref:a"), new("a"), new("c", "ref:a", "ref:b", "ref:a")]
        )

        assert [(t.title, t.deps_left, t.status) for t in made] == [
            ("b", 1, "pending"),
            ("a", 0, "pending"),
            ("c", 2, "pending"),
        ]
        assert list(ReadyTask.objects.values_list("task__title", "blockers")) == [("a", 2)]
        assert TaskDependency.objects.count() == 3

    def test_told_once_each_and_only_the_ready_ones_as_ready(self, lead, new):
        services.create_tasks(actor=lead, tasks=[new("a"), new("b", "ref:a")])

        made = Event.objects.filter(kind="phases.task.created").order_by("created_at")
        assert [(e.actor_id, e.data["task_type"]) for e in made] == [(lead.id, "noop")] * 2
        assert {e.alias for e in made} == {"task.created"}
        ready = Event.objects.get(kind="phases.task.readied")
        assert ready.subject_id == str(Task.objects.get(title="a").pk)

    def test_a_chain_of_them_is_worked_off(self, lead, agent, new):
        services.create_tasks(actor=lead, tasks=[new("a"), new("b", "ref:a"), new("c", "ref:b")])

        done = []
        while claimed := services.claim_tasks(actor=agent, capabilities=[]):
            task = claimed[0].task
            done.append(task.title)
            services.complete_task(actor=agent, task_id=task.pk, fence=task.fence, result={})

        assert done == ["a", "b", "c"]

    def test_an_existing_task_counts_for_it(self, lead, agent, ticket, new):
        first, done, gone = services.create_tasks(
            actor=lead, tasks=[new("first"), new("done"), new("gone")]
        )
        held = services.claim_tasks(actor=agent, capabilities=[], task_id=done.pk)[0].task
        services.complete_task(actor=agent, task_id=done.pk, fence=held.fence, result={})
        services.cancel_task(actor=lead, task_id=gone.pk, reason="not needed")

        waits, free, blocked = services.create_tasks(
            actor=lead,
            tasks=[
                new("waits", str(first.pk), str(done.pk)),
                new("free", str(done.pk)),
                new("blocked", str(gone.pk)),
            ],
        )

        assert (waits.deps_left, free.deps_left, blocked.status) == (1, 0, "blocked")
        assert ReadyTask.objects.get(task=first).blockers == 1
        assert ReadyTask.objects.filter(task=free).exists()

    def test_takes_as_many_statements_for_fifty_as_for_five(
        self, lead, new, django_assert_max_num_queries
    ):
        def batch(count):
            return [new(f"t{n}", *([f"ref:t{n - 1}"] if n % 3 else [])) for n in range(count)]

        services.create_tasks(actor=lead, tasks=batch(5))
        with django_assert_max_num_queries(22) as few:
            services.create_tasks(actor=lead, tasks=batch(5))
        with django_assert_max_num_queries(22) as many:
            services.create_tasks(actor=lead, tasks=batch(50))

        assert len(many.captured_queries) == len(few.captured_queries)


class TestRefusing:
    @pytest.fixture(autouse=True)
    def nothing_is_stored(self, ticket):
        yield
        assert not Task.objects.filter(ticket=ticket).exists()
        told = Event.objects.filter(kind="phases.task.created", team_id=ticket.team_id)
        assert not told.exists()

    def test_a_circle_in_the_batch_by_its_refs(self, lead, new):
        with pytest.raises(DependencyCycle) as refusal:
            services.create_tasks(
                actor=lead,
                tasks=[new("z", "ref:a"), new("a", "ref:b"), new("b", "ref:a"), new("c")],
            )

        assert refusal.value.data["cycle"] in (["a", "b", "a"], ["b", "a", "b"])

    def test_one_that_waits_for_itself(self, lead, new):
        with pytest.raises(DependencyCycle) as refusal:
            services.create_tasks(actor=lead, tasks=[new("a", "ref:a")])

        assert refusal.value.data["cycle"] == ["a", "a"]

    def test_everything_that_is_wrong_at_once(self, lead, new):
        nowhere = "0192f6a5-0000-7000-8000-000000000000"

        with pytest.raises(Invalid) as refusal:
            services.create_tasks(
                actor=lead,
                tasks=[
                    new("a", "ref:nobody"),
                    new("a", nowhere),
                    new("b", "what", ticket_id=nowhere),
                    new("c", phase="PHASE_DONE"),
                ],
            )

        assert sorted(paths(refusal)) == [
            "tasks.0.depends_on.0",
            "tasks.1.depends_on.0",
            "tasks.1.ref",
            "tasks.2.depends_on.0",
            "tasks.2.ticket_id",
            "tasks.3.phase",
        ]

    def test_a_ticket_that_is_closed(self, lead, ticket, new):
        services.cancel_ticket(actor=lead, ticket_id=ticket.pk, reason="not needed")

        with pytest.raises(Invalid) as refusal:
            services.create_tasks(actor=lead, tasks=[new("a")])

        assert refusal.value.data["errors"][0]["code"] == "ticket_closed"

    def test_a_task_of_another_team(self, lead, outsider, other_team, new):
        services.seed_team(team=other_team)
        services.open_ticket(actor=outsider, title="y", workflow="software_development")
        theirs = Task.objects.get()

        with pytest.raises(Invalid) as refusal:
            services.create_tasks(actor=lead, tasks=[new("a", str(theirs.pk))])

        assert paths(refusal) == ["tasks.0.depends_on.0"]

    def test_an_agent_without_a_part_in_the_ticket(self, agent, new):
        with pytest.raises(NotYours):
            services.create_tasks(actor=agent, tasks=[new("a")])


class TestApi:
    def test_makes_them_with_all_that_a_task_can_be_told(self, api, lead, ticket):
        lock = {"resource_type": "dock", "resource_id": "1", "mode": "shared"}
        first = {
            "ref": "a",
            "ticket_id": str(ticket.pk),
            "task_type": "build",
            "title": "Build it",
            "phase": "PHASE_DESIGN",
            "priority": "CRITICAL",
            "required_capabilities": ["Code"],
            "required_locks": [lock],
            "timeout_seconds": 60,
            "max_retries": 1,
            "deadline": "2030-01-01T00:00:00Z",
        }
        second = {
            "ticket_id": str(ticket.pk),
            "task_type": "test",
            "title": "Test it",
            "depends_on": ["ref:a"],
        }

        answer = api(lead).post("/api/v1/tasks/batch", {"tasks": [first, second]}, format="json")

        a, b = answer.json()["tasks"]
        assert answer.status_code == 201
        assert {k: a[k] for k in first if k != "ticket_id"} == {
            **{k: v for k, v in first.items() if k != "ticket_id"},
            "required_capabilities": ["code"],
        }
        assert (b["ref"], b["deps_left"], b["phase"]) == (None, 1, "PHASE_BACKLOG")

    def test_names_what_is_wrong_and_stores_nothing(self, api, lead, ticket):
        body = {"ticket_id": str(ticket.pk), "task_type": "x", "title": "x"}
        client = api(lead)

        def post(*tasks):
            return client.post("/api/v1/tasks/batch", {"tasks": list(tasks)}, format="json")

        shape = post({**body, "title": 5, "prioritty": "LOW"}, body)
        many = post(*[body] * 101)
        circle = post(
            {**body, "ref": "a", "depends_on": ["ref:b"]},
            {**body, "ref": "b", "depends_on": ["ref:a"]},
        )

        assert shape.status_code == 400
        assert shape.json()["errors"][0]["path"].startswith("tasks.0.")
        assert many.status_code == 400
        assert (circle.status_code, circle.json()["code"]) == (409, "dependency_cycle")
        assert circle.json()["cycle"] == ["a", "b", "a"]
        assert not Task.objects.exists()

    def test_under_a_key_only_once(self, api, lead, ticket):
        body = {"tasks": [{"ticket_id": str(ticket.pk), "task_type": "x", "title": "x"}]}
        client = api(lead)

        answers = [
            client.post(
                "/api/v1/tasks/batch", body, format="json", headers={"Idempotency-Key": "k-1"}
            )
            for _ in range(2)
        ]

        assert [a.status_code for a in answers] == [201, 201]
        assert Task.objects.count() == 1

    def test_a_viewer_makes_none_and_a_foreign_ticket_is_not_there(
        self, api, viewer, outsider, ticket
    ):
        body = {"tasks": [{"ticket_id": str(ticket.pk), "task_type": "x", "title": "x"}]}

        assert api(viewer).post("/api/v1/tasks/batch", body, format="json").status_code == 403
        foreign = api(outsider).post("/api/v1/tasks/batch", body, format="json")
        assert (foreign.status_code, foreign.json()["errors"][0]["path"]) == (
            400,
            "tasks.0.ticket_id",
        )


def test_one_task_is_told_as_much(api, lead, ticket):
    body = {
        "ticket_id": str(ticket.pk),
        "task_type": "x",
        "title": "x",
        "phase": "PHASE_DESIGN",
        "priority": "LOW",
        "deadline": "2030-01-01T00:00:00Z",
        "required_locks": [{"resource_type": "dock", "resource_id": "1"}],
    }

    made = api(lead).post("/api/v1/tasks", body, format="json")
    wrong = api(lead).post("/api/v1/tasks", {**body, "phase": "PHASE_BLOCKED"}, format="json")

    assert made.status_code == 201
    told = made.json()
    assert (told["phase"], told["priority"], told["deadline"]) == (
        "PHASE_DESIGN",
        "LOW",
        "2030-01-01T00:00:00Z",
    )
    assert told["required_locks"][0]["mode"] == "exclusive"
    assert (wrong.status_code, wrong.json()["errors"][0]["path"]) == (400, "phase")
