"""Little room on the disk: first nothing new is run, then nothing is written."""

from collections import namedtuple

import pytest

from guardian import disk, hosts
from orchestrator import services as orchestrator
from phases import services as phases
from phases.models import Task, Ticket

Usage = namedtuple("Usage", "total used free")
GIB = 1 << 30


@pytest.fixture
def free(monkeypatch):
    """Sets how much is free of 100 GiB."""

    def set_free(gib: float) -> None:
        usage = Usage(100 * GIB, 0, int(gib * GIB))
        monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: usage)
        disk.forget()

    yield set_free
    monkeypatch.undo()
    disk.forget()


class TestRoom:
    @pytest.mark.parametrize(
        ("gib", "low", "full"), [(50, False, False), (9, True, False), (0.9, True, True)]
    )
    def test_has_two_borders(self, free, gib, low, full):
        free(gib)

        assert (disk.room().is_low, disk.room().is_full) == (low, full)


class TestNearlyFull:
    def test_refuses_to_write_and_says_what_helps(self, free, api, lead, team):
        phases.seed_team(team=team)
        client = api(lead)
        free(0.5)

        answer = client.post("/api/v1/tickets", {"title": "x"}, format="json")

        assert (answer.status_code, answer.json()["code"]) == (503, "read_only")
        assert answer["Retry-After"] == "60"
        assert not Ticket.objects.exists()

    def test_goes_on_reading(self, free, api, lead):
        client = api(lead)
        free(0.5)

        assert client.get("/api/v1/tickets").status_code == 200

    def test_writes_again_when_there_is_room(self, free, api, lead, team):
        phases.seed_team(team=team)
        client = api(lead)
        free(0.5)
        client.post("/api/v1/tickets", {"title": "x"}, format="json")
        free(50)

        assert client.post("/api/v1/tickets", {"title": "x"}, format="json").status_code == 201


def test_with_little_room_nothing_new_is_placed(free, team, lead):
    phases.seed_team(team=team)
    orchestrator.seed_agents(team=team)
    hosts.announce(queues=["agents"], concurrency=4)
    phases.open_ticket(
        actor=lead, title="x", workflow="repo_checkup", context={"source": {"kind": "self"}}
    )
    free(5)

    assert orchestrator.dispatch(team_id=team.pk) == 0
    assert Task.objects.get().status == "pending"

    free(50)
    assert orchestrator.dispatch(team_id=team.pk) == 1
