"""Lines: who is next, which waits would never end, what operators see of them."""

import threading
from functools import partial

import pytest
from django.db import connections

from guardian import services
from guardian.errors import LockDeadlock, LockHeld
from guardian.models import Event, LockRequest, ResourceLock, uuid7
from tests import factories
from tests.guardian.test_locks_api import LOCKS, ask, request_of
from tests.guardian.test_locks_fences import take


def give_back(actor, lease):
    return services.release_lock(actor=actor, lock_id=lease.lock_id, fence=lease.fence)


@pytest.fixture
def crew(team):
    return [factories.make_actor(team, f"hand-{number}") for number in range(5)]


class TestOrder:
    def test_is_by_priority_then_by_arrival(self, crew, lead):
        held = take(lead)
        wanted = ["low", "normal", "critical", "normal", "high"]
        places = [take(hand, priority=word) for hand, word in zip(crew, wanted, strict=True)]

        got = []
        lease = held
        holder = lead
        for _ in places:
            [granted] = give_back(holder, lease)
            got.append(granted.holder.username)
            holder = next(hand for hand in crew if hand.id == granted.holder_id)
            lease = services.Lease(granted.pk, granted.fence, granted.expires_at)

        assert got == ["hand-2", "hand-4", "hand-1", "hand-3", "hand-0"]
        fences = ResourceLock.objects.order_by("acquired_at").values_list("fence", flat=True)
        assert list(fences) == sorted(fences)

    def test_leading_shared_ones_are_granted_together(self, crew, lead):
        held = take(lead)
        modes = ["shared", "shared", "exclusive", "shared"]
        places = [take(hand, mode=mode) for hand, mode in zip(crew, modes, strict=False)]

        granted = give_back(lead, held)

        assert {lock.holder_id for lock in granted} == {crew[0].id, crew[1].id}
        states = LockRequest.objects.in_bulk()
        assert [states[p.pk].state for p in places] == [
            "granted", "granted", "waiting", "waiting",
        ]  # fmt: skip

    def test_one_place_per_requester_task_and_resource(self, lead, agent, api):
        take(lead)

        first, again = request_of(ask(api(agent))), request_of(ask(api(agent)))
        other_mode = ask(api(agent), mode="shared")

        assert first["id"] == again["id"]
        assert (other_mode.status_code, other_mode.json()["code"]) == (409, "already_exists")
        assert LockRequest.objects.count() == 1

    @pytest.mark.slow
    @pytest.mark.timeout(300)
    @pytest.mark.django_db(transaction=True)
    def test_a_third_party_that_keeps_asking_loses_100_of_100(self, lead, agent, admin):
        stop, won = threading.Event(), []

        def loop() -> None:
            try:
                while not stop.is_set():
                    try:
                        lease = take(admin, wait=False)
                    except LockHeld:
                        continue
                    won.append(lease.fence)
                    give_back(admin, lease)
            finally:
                connections.close_all()

        held = take(lead)
        thread = threading.Thread(target=loop)
        thread.start()
        stolen = 0
        try:
            for number in range(100):
                holder, waiter = (lead, agent) if number % 2 == 0 else (agent, lead)
                place = take(waiter)
                before = len(won)
                [granted] = give_back(holder, held)
                stolen += granted.holder_id != waiter.id or len(won) > before
                assert LockRequest.objects.get(pk=place.pk).state == "granted"
                held = services.Lease(granted.pk, granted.fence, granted.expires_at)
        finally:
            stop.set()
            thread.join(30)

        assert (stolen, won) == (0, [])


class TestDeadlock:
    def test_two_who_want_what_the_other_holds(self, lead, agent, api):
        take(lead, "a"), take(agent, "b")
        take(lead, "b")
        before = list(LockRequest.objects.values_list("pk", flat=True))

        refused = ask(api(agent), "a")

        body = refused.json()
        assert (refused.status_code, body["code"]) == (409, "lock_deadlock")
        assert [(w["holder"]["name"], w["waits_for"]["resource_id"]) for w in body["cycle"]] == [
            ("coder-1", "a"), ("lena", "b"),
        ]  # fmt: skip
        assert list(LockRequest.objects.values_list("pk", flat=True)) == before
        assert Event.objects.filter(kind="guardian.lock.queued").count() == 1
        assert not ResourceLock.objects.get(resource_id="a").contended

    def test_three_in_a_ring(self, crew):
        one, two, three = crew[:3]
        for hand, name in ((one, "a"), (two, "b"), (three, "c")):
            take(hand, name)
        take(one, "b"), take(two, "c")

        with pytest.raises(LockDeadlock) as refusal:
            take(three, "a")

        names = [wait["holder"]["name"] for wait in refusal.value.data["cycle"]]
        assert names == ["hand-2", "hand-0", "hand-1"]
        assert LockRequest.objects.count() == 2

    def test_one_who_waits_for_itself(self, lead):
        take(lead, mode="shared")

        with pytest.raises(LockDeadlock) as refusal:
            take(lead, mode="exclusive")

        assert len(refusal.value.data["cycle"]) == 1

    def test_a_ring_that_closes_through_the_line(self, crew):
        one, two, three = crew[:3]
        take(one, "a", mode="shared"), take(three, "b")
        take(two, "a", mode="exclusive")  # waits for one
        take(one, "b")  # waits for three

        with pytest.raises(LockDeadlock):
            take(three, "a", mode="shared")  # behind two, who waits for one, who waits for three

    def test_tasks_of_one_agent_may_wait_for_each_other(self, agent, lead):
        services.acquire_locks(
            actor=agent, task_id=uuid7(), wanted=[{"resource_type": "repo", "resource_id": "main"}]
        )

        assert take(agent).state == "waiting"

    @pytest.mark.slow
    @pytest.mark.django_db(transaction=True)
    def test_two_who_begin_to_wait_at_once_are_not_both_let_in(self, crew):
        for number in range(20):
            one, two = crew[:2]
            first, second = take(one, f"a{number}"), take(two, f"b{number}")
            refused = together(partial(take, one, f"b{number}"), partial(take, two, f"a{number}"))

            assert [type(error) for error in refused if error] == [LockDeadlock]
            for hand, lease in ((one, first), (two, second)):
                give_back(hand, lease)
            for hand in (one, two):
                services.release_all(actor=hand, holder_id=hand.id, reason="next round")


def together(*works) -> list[Exception | None]:
    """What each raised, begun at the same moment."""
    barrier = threading.Barrier(len(works))
    raised: list[Exception | None] = [None] * len(works)

    def run(place, work) -> None:
        try:
            barrier.wait()
            work()
        except Exception as error:  # noqa: BLE001  told to whoever asked
            raised[place] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(place, work)) for place, work in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return raised


class TestPassing:
    def test_who_passes_a_waiter_closes_no_circle(self, crew, lead):
        """The shared lock is free to take, but the one passed holds what the newcomer waits for."""
        reader, writer, newcomer = crew[:3]
        take(reader, "charts", mode="shared")
        take(writer, "log")
        take(writer, "charts")
        take(newcomer, "log")

        with pytest.raises(LockDeadlock) as refused:
            take(newcomer, "charts", mode="shared", priority="critical")

        assert len(refused.value.data["cycle"]) == 2
        assert services.lock_graph(actor=lead)["cycles"] == []
        assert not ResourceLock.objects.held().filter(holder=newcomer.user).exists()

    def test_without_a_circle_a_higher_priority_passes(self, crew):
        reader, writer, newcomer = crew[:3]
        take(reader, "charts", mode="shared")
        take(writer, "charts")

        got = take(newcomer, "charts", mode="shared", priority="critical")

        assert isinstance(got, services.Lease)


class TestHurry:
    def test_who_asks_again_more_urgently_passes_those_less_urgent(self, crew, lead):
        held = take(lead)
        take(crew[0])
        place = take(crew[1])

        again = take(crew[1], priority="critical")
        take(crew[1], priority="low")

        assert again.pk == place.pk
        assert LockRequest.objects.get(pk=place.pk).priority == 1
        [granted] = give_back(lead, held)
        assert granted.holder_id == crew[1].id

    def test_what_nothing_keeps_from_it_then_is_had_at_once_and_the_place_is_used(self, crew):
        reader, writer, hurried = crew[:3]
        take(reader, "charts", mode="shared")
        take(writer, "charts")
        place = take(hurried, "charts", mode="shared")

        got = take(hurried, "charts", mode="shared", priority="critical")

        assert isinstance(got, services.Lease)
        assert LockRequest.objects.get(pk=place.pk).state == "granted"
        assert ResourceLock.objects.held().filter(holder=hurried.user).count() == 1

    def test_a_circle_by_passing_is_refused_and_the_place_stays_what_it_was(self, crew, lead):
        keeper, writer, hurried = crew[:3]
        take(keeper, "charts")
        take(writer, "log")
        take(writer, "charts")
        place = take(hurried, "charts")
        take(hurried, "log")

        with pytest.raises(LockDeadlock):
            take(hurried, "charts", priority="critical")

        assert LockRequest.objects.get(pk=place.pk).priority == 3
        assert services.lock_graph(actor=lead)["cycles"] == []


class TestViews:
    def test_conflicts_tell_who_waits_for_whom_the_longest_first(self, lead, agent, admin, api):
        take(lead), take(agent), take(admin)

        first, second = api(lead).get(f"{LOCKS}/conflicts").json()

        assert (first["request"]["requester"], second["request"]["requester"]) == (
            str(agent.id), str(admin.id),
        )  # fmt: skip
        assert [holder["name"] for holder in first["holders"]] == ["lena"]
        assert [(h["name"], h["holds"]) for h in second["holders"]] == [
            ("lena", True), ("coder-1", False),
        ]  # fmt: skip
        assert first["waited_seconds"] >= second["waited_seconds"] >= 0

    def test_the_graph_has_a_node_per_party_and_no_circle(self, lead, agent, viewer, api):
        take(lead), take(agent)

        graph = api(viewer).get(f"{LOCKS}/graph").json()

        assert {node["holder"]["name"] for node in graph["nodes"]} == {"lena", "coder-1"}
        assert [(e["from"], e["to"], e["resource_id"]) for e in graph["edges"]] == [
            (str(agent.id), str(lead.id), "main")
        ]
        assert graph["cycles"] == []

    def test_of_another_team_nothing_is_seen(self, lead, agent, outsider, api):
        take(lead), take(agent)

        assert api(outsider).get(f"{LOCKS}/conflicts").json() == []
        assert api(outsider).get(f"{LOCKS}/graph").json()["nodes"] == []
        assert api(outsider).get(LOCKS).json()["results"] == []
        assert api(outsider).get(f"{LOCKS}/requests").json()["results"] == []

    def test_lists_are_filtered(self, lead, agent, api):
        take(lead), take(agent), take(agent, "other")

        locks = api(lead).get(f"{LOCKS}?holder={agent.id}&state=held").json()["results"]
        waiting = api(lead).get(f"{LOCKS}/requests?state=waiting").json()["results"]

        assert [lock["resource_id"] for lock in locks] == ["other"]
        assert [(r["requester"], r["priority"], r["lock"]) for r in waiting] == [
            (str(agent.id), "normal", None)
        ]
