"""What a holder leaves to the next one when it gives a task back."""

from typing import Any

import pytest

from guardian.models import Event
from phases import services
from phases.models import ReadyTask, Task
from tests import factories

LEFT = "half done: see branch retry-2"


@pytest.fixture
def other(team):
    return factories.make_actor(team, "coder-2", role="agent", kind="agent")


@pytest.fixture
def take(team, lead, api):
    services.seed_team(team=team)
    services.open_ticket(actor=lead, title="x", workflow="software_development")

    def claim(actor) -> dict[str, Any]:
        ReadyTask.objects.update(not_before="2020-01-01T00:00:00Z")
        body = {"capabilities": ["analysis"]}
        answer = api(actor).post("/api/v1/tasks/claim", body, format="json").json()
        [task] = answer["tasks"]
        return task

    return claim


@pytest.fixture
def give_back(api):
    def release(actor, task: dict[str, Any], **more) -> None:
        body = {"fence": task["lease"]["token"], "reason": "not mine", **more}
        answer = api(actor).post(f"/api/v1/tasks/{task['id']}/release", body, format="json")
        assert answer.status_code == 200, answer.content

    return release


def test_reaches_the_next_claim_and_is_told(agent, other, take, give_back):
    first = take(agent)
    give_back(agent, first, handoff=LEFT)

    second = take(other)

    assert (first["handoff"], second["handoff"]) == (None, LEFT)
    told = Event.objects.get(kind="phases.task.released")
    assert (told.data["handoff"], told.reason) == (LEFT, "not mine")


def test_stays_until_somebody_leaves_another(agent, other, take, give_back):
    give_back(agent, take(agent), handoff=LEFT)
    give_back(other, take(other))
    kept = take(agent)
    give_back(agent, kept, handoff="nothing of it works")

    assert kept["handoff"] == LEFT
    assert take(other)["handoff"] == "nothing of it works"


def test_is_over_when_the_task_is_completed(agent, api, other, take, give_back):
    give_back(agent, take(agent), handoff=LEFT)
    task = take(other)

    services.complete_task(actor=other, task_id=task["id"], fence=task["lease"]["token"], result={})

    assert Task.objects.get(pk=task["id"]).handoff == ""
    assert api(agent).get(f"/api/v1/tasks/{task['id']}").json()["handoff"] == ""


def test_a_longer_one_than_500_characters_is_refused(agent, api, take):
    task = take(agent)
    body = {"fence": task["lease"]["token"], "reason": "not mine", "handoff": "x" * 501}

    answer = api(agent).post(f"/api/v1/tasks/{task['id']}/release", body, format="json")

    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "handoff")
