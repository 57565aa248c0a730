"""POST /tasks and /tasks/batch that look for copies: linked to the original, never dispatched."""

import pytest

from guardian.models import Event
from phases import likeness, services
from phases.models import ReadyTask, Task, TaskDependency, Ticket

pytestmark = pytest.mark.django_db

ONE, BATCH = "/api/v1/tasks", "/api/v1/tasks/batch"


@pytest.fixture(autouse=True)
def measures(monkeypatch) -> list[likeness.Measure]:
    """Nobody measures likeness here, unless a test puts somebody in."""
    found: list[likeness.Measure] = []
    monkeypatch.setattr(likeness, "_measures", found)
    return found


@pytest.fixture
def ticket(team, lead) -> Ticket:
    services.seed_team(team=team)
    return services.open_ticket(
        actor=lead, title="x", workflow="software_development", phase="PHASE_BACKLOG"
    )


def body(ticket, title="Plug the leak", **more):
    return {"ticket_id": str(ticket.pk), "task_type": "fix", "title": title, **more}


def in_batch(ticket, ref, title, *depends_on):
    return body(ticket, title, ref=ref, depends_on=list(depends_on))


class TestOne:
    def test_a_copy_is_answered_as_duplicated_and_is_not_in_the_queue(self, api, lead, ticket):
        first = api(lead).post(ONE, body(ticket), format="json").json()

        answer = api(lead).post(
            ONE, body(ticket, " plug  the LEAK ", deduplicate=True), format="json"
        )

        assert answer.status_code == 201
        assert answer.json()["status"] == "duplicated"
        assert answer.json()["duplicate_of"] == first["id"]
        assert [str(pk) for pk in ReadyTask.objects.values_list("task_id", flat=True)] == [
            first["id"]
        ]
        told = Event.objects.get(kind="phases.task.duplicated")
        assert (told.subject_id, told.data["duplicate_of"]) == (answer.json()["id"], first["id"])

    def test_without_asking_equal_tasks_are_two_tasks(self, api, lead, ticket):
        made = [api(lead).post(ONE, body(ticket), format="json").json() for _ in range(2)]

        assert [task["status"] for task in made] == ["pending", "pending"]
        assert ReadyTask.objects.count() == 2

    def test_another_phase_and_what_failed_have_no_copies(self, api, lead, ticket):
        gone = api(lead).post(ONE, body(ticket), format="json").json()
        services.cancel_task(actor=lead, task_id=gone["id"], reason="not needed now")
        api(lead).post(ONE, body(ticket, phase="PHASE_DESIGN"), format="json")

        again = api(lead).post(ONE, body(ticket, deduplicate=True), format="json")

        assert again.json()["status"] == "pending"

    def test_meaning_counts_where_it_is_measured(self, api, lead, ticket, measures):
        first = api(lead).post(ONE, body(ticket), format="json").json()
        measures.append(lambda texts, others: [[0.93 for _ in others] for _ in texts])

        answer = (
            api(lead)
            .post(ONE, body(ticket, "Close the hole", deduplicate=True), format="json")
            .json()
        )

        assert (answer["status"], answer["duplicate_of"]) == ("duplicated", first["id"])

    def test_the_same_request_sent_twice_makes_one(self, api, lead, ticket):
        client = api(lead)
        answers = [
            client.post(
                ONE, body(ticket, deduplicate=True), format="json", HTTP_IDEMPOTENCY_KEY="k-1"
            ).json()
            for _ in range(2)
        ]

        assert answers[0] == answers[1]
        assert Task.objects.filter(title="Plug the leak").count() == 1


class TestBatch:
    def test_copies_of_others_and_of_each_other_are_linked(self, api, lead, ticket):
        there = api(lead).post(ONE, body(ticket, "There"), format="json").json()
        tasks = [
            in_batch(ticket, "a", "there"),
            in_batch(ticket, "b", "New"),
            in_batch(ticket, "c", "new "),
            in_batch(ticket, "d", "Last", "ref:a", "ref:b", "ref:c"),
        ]

        made = api(lead).post(BATCH, {"tasks": tasks, "deduplicate": True}, format="json")

        assert made.status_code == 201
        a, b, c, d = made.json()["tasks"]
        assert [one["status"] for one in (a, b, c, d)] == [
            "duplicated", "pending", "duplicated", "pending",
        ]  # fmt: skip
        assert (a["duplicate_of"], c["duplicate_of"]) == (there["id"], b["id"])
        edges = TaskDependency.objects.filter(task=d["id"])
        assert {str(edge.depends_on_id) for edge in edges} == {there["id"], b["id"]}
        assert Task.objects.get(pk=d["id"]).deps_left == 2

    def test_a_copy_that_closes_a_circle_is_refused_with_it(self, api, lead, ticket):
        tasks = [in_batch(ticket, "a", "Same", "ref:b"), in_batch(ticket, "b", "same")]

        refused = api(lead).post(BATCH, {"tasks": tasks, "deduplicate": True}, format="json")

        assert refused.status_code == 409
        assert refused.json()["code"] == "dependency_cycle"
        assert not Task.objects.filter(title__iexact="same").exists()

    def test_a_batch_that_is_wrong_is_refused_as_ever(self, api, lead, outsider, ticket):
        tasks = [in_batch(ticket, "a", "Same", "ref:z")]

        wrong = api(lead).post(BATCH, {"tasks": tasks, "deduplicate": True}, format="json")
        foreign = api(outsider).post(BATCH, {"tasks": tasks, "deduplicate": True}, format="json")

        assert wrong.json()["errors"][0]["path"] == "tasks.0.depends_on.0"
        assert foreign.json()["errors"][0]["path"] in (
            "tasks.0.ticket_id", "tasks.0.depends_on.0",
        )  # fmt: skip
        assert Task.objects.filter(title="Same").count() == 0
