"""Locks through the API: who has one, who is next, who hears what."""

from typing import Any

from guardian.models import Event, LockRequest, ResourceLock, uuid7

LOCKS = "/api/v1/locks"


def ask(client, resource="main", **body):
    body = {"resource_type": "repo", "resource_id": resource, **body}
    return client.post(f"{LOCKS}/acquire", body, format="json")


def lock_of(answer) -> dict[str, Any]:
    assert answer.status_code in {200, 201}, answer.content
    return answer.json()["lock"]


def request_of(answer) -> dict[str, Any]:
    assert answer.status_code == 202, answer.content
    return answer.json()["request"]


def status(client, resource="main") -> dict[str, Any]:
    return client.get(f"{LOCKS}/status?resource_type=repo&resource_id={resource}").json()


def kinds() -> list[str]:
    return list(
        Event.objects.filter(kind__startswith="guardian.lock").order_by("created_at", "id")
        .values_list("kind", flat=True)
    )  # fmt: skip


class TestAcquire:
    def test_a_free_resource_is_held_at_once(self, lead, api):
        answer = ask(api(lead), lease_seconds=60)

        lock = lock_of(answer)
        assert answer.status_code == 201
        assert set(lock) == {"id", "fence", "expires_at"}
        now = status(api(lead))
        assert (now["state"], now["mode"], now["queue_length"]) == ("locked", "exclusive", 0)
        assert now["expires_at"] == lock["expires_at"]
        assert [holder["name"] for holder in now["holders"]] == ["lena"]
        assert kinds() == ["guardian.lock.acquired"]
        assert Event.objects.get(alias="resource.acquired").subject_id == lock["id"]

    def test_nothing_is_known_of_a_free_resource_but_that_it_is_free(self, viewer, api):
        assert status(api(viewer)) == {
            "resource_type": "repo", "resource_id": "main", "state": "available", "mode": None,
            "holders": [], "expires_at": None, "queue_length": 0,
        }  # fmt: skip

    def test_the_same_holder_and_mode_is_renewed(self, lead, api):
        first = lock_of(ask(api(lead), lease_seconds=10))

        again = ask(api(lead), lease_seconds=600)

        assert again.status_code == 200
        assert (lock_of(again)["id"], lock_of(again)["fence"]) == (first["id"], first["fence"])
        assert lock_of(again)["expires_at"] > first["expires_at"]
        assert ResourceLock.objects.count() == 1

    def test_who_does_not_wait_is_told_the_holders(self, lead, agent, api):
        ask(api(lead))

        refused = ask(api(agent), wait=False)

        assert (refused.status_code, refused.json()["code"]) == (409, "lock_held")
        assert [holder["id"] for holder in refused.json()["holders"]] == [str(lead.id)]
        assert not LockRequest.objects.exists()

    def test_shared_ones_share(self, lead, agent, api):
        first, second = ask(api(lead), mode="shared"), ask(api(agent), mode="shared")

        assert lock_of(second)["fence"] > lock_of(first)["fence"]
        assert len(status(api(lead))["holders"]) == 2


class TestLine:
    def test_release_grants_the_head_in_the_same_breath(self, lead, agent, api):
        held = lock_of(ask(api(lead)))
        place = request_of(ask(api(agent), lease_seconds=120))
        assert (place["position"], place["queue_length"]) == (1, 1)

        released = api(lead).post(
            f"{LOCKS}/{held['id']}/release", {"fence": held["fence"]}, format="json"
        )

        assert (released.status_code, released.json()["state"]) == (200, "released")
        mine = api(agent).get(f"{LOCKS}/requests/{place['id']}").json()
        assert (mine["state"], mine["position"]) == ("granted", 0)
        assert mine["lock"]["fence"] > held["fence"]
        assert [holder["id"] for holder in status(api(lead))["holders"]] == [str(agent.id)]
        assert kinds() == [f"guardian.lock.{verb}" for verb in (
            "acquired", "queued", "released", "granted")]  # fmt: skip
        granted = Event.objects.get(alias="resource.ready")
        assert granted.priority == 2
        assert granted.data["request_id"] == place["id"]

    def test_a_newcomer_never_passes_who_waits(self, lead, agent, admin, api):
        held = lock_of(ask(api(lead), mode="shared"))
        first = request_of(ask(api(agent), mode="exclusive"))

        refused = ask(api(admin), mode="shared", wait=False)
        second = request_of(ask(api(admin), mode="shared"))
        api(lead).post(f"{LOCKS}/{held['id']}/release", {"fence": held["fence"]}, format="json")

        assert refused.status_code == 409
        states = {r.pk: r.state for r in LockRequest.objects.all()}
        assert {str(pk): state for pk, state in states.items()} == {
            first["id"]: "granted", second["id"]: "waiting",
        }  # fmt: skip

    def test_asking_again_keeps_the_place(self, lead, agent, api):
        ask(api(lead))

        first, again = request_of(ask(api(agent))), request_of(ask(api(agent), wait_seconds=7200))

        assert first["id"] == again["id"]
        assert again["wait_until"] > first["wait_until"]
        assert LockRequest.objects.count() == 1

    def test_leaving_the_line_lets_those_behind_move_up(self, lead, agent, admin, api):
        ask(api(lead), mode="shared")
        first = request_of(ask(api(agent), mode="exclusive"))
        second = request_of(ask(api(admin), mode="shared"))

        left = api(agent).delete(f"{LOCKS}/requests/{first['id']}")

        assert left.status_code == 204
        assert LockRequest.objects.get(pk=first["id"]).state == "cancelled"
        assert LockRequest.objects.get(pk=second["id"]).state == "granted"


class TestRights:
    def test_what_another_team_holds_is_not_found(self, lead, outsider, api):
        held = lock_of(ask(api(lead)))
        stranger = api(outsider)

        answers = [
            stranger.get(f"{LOCKS}/{held['id']}"),
            stranger.post(f"{LOCKS}/{held['id']}/renew", {"fence": held["fence"]}, format="json"),
            stranger.post(f"{LOCKS}/{held['id']}/release", {"fence": held["fence"]}, format="json"),
            stranger.post(f"{LOCKS}/{held['id']}/break", {"reason": "mine"}, format="json"),
            stranger.get(f"{LOCKS}/requests/{uuid7()}"),
            stranger.delete(f"{LOCKS}/requests/{uuid7()}"),
        ]

        assert {answer.status_code for answer in answers} == {404}
        assert ask(stranger).status_code == 201  # the same name in another team is another thing
