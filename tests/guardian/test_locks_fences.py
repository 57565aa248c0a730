"""Leases by the database clock, fences that only rise, writes that count only while theirs does."""

import threading
import time

import pytest
from django.db import connection, connections, transaction
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from guardian import services
from guardian.errors import LeaseLost
from guardian.models import Event, LockRequest, ResourceLock, uuid7
from phases import services as phases
from phases.models import Ticket
from tests.guardian.test_locks_api import LOCKS, ask, kinds, lock_of, request_of, status


def run_out(lock_id) -> None:
    """What a pause longer than the lease does."""
    ResourceLock.objects.filter(pk=lock_id).update(expires_at=Now())


def take(actor, resource="main", **fields):
    return services.acquire_lock(actor=actor, resource_type="repo", resource_id=resource, **fields)


class TestLease:
    def test_a_holder_paused_past_its_lease_is_refused_and_the_next_fence_is_greater(
        self, lead, agent, api
    ):
        held = lock_of(ask(api(lead)))
        run_out(held["id"])

        again = lock_of(ask(api(agent)))
        late = [
            api(lead).post(f"{LOCKS}/{held['id']}/{verb}", {"fence": held["fence"]}, format="json")
            for verb in ("renew", "release")
        ]

        assert [(a.status_code, a.json()["code"]) for a in late] == [(409, "lease_lost")] * 2
        assert late[0].json()["holder"]["id"] == str(agent.id)
        assert again["fence"] > held["fence"]
        assert kinds() == [f"guardian.lock.{verb}" for verb in (
            "acquired", "expired", "acquired")]  # fmt: skip

    def test_is_over_at_its_end_though_nobody_took_it_yet(self, lead, api):
        held = lock_of(ask(api(lead)))
        run_out(held["id"])

        assert status(api(lead))["state"] == "available"
        body = {"resource_type": "repo", "resource_id": "main", "fence": held["fence"]}
        assert api(lead).post(f"{LOCKS}/verify", body, format="json").status_code == 409
        with pytest.raises(LeaseLost):
            services.renew_lock(actor=lead, lock_id=held["id"], fence=held["fence"])

    def test_is_renewed_by_its_length_or_another(self, lead, api):
        held = lock_of(ask(api(lead), lease_seconds=60))

        same = lock_of(api(lead).post(f"{LOCKS}/{held['id']}/renew", {"fence": held["fence"]},
                                      format="json"))  # fmt: skip
        longer = lock_of(api(lead).post(f"{LOCKS}/{held['id']}/renew",
            {"fence": held["fence"], "lease_seconds": 600}, format="json"))  # fmt: skip

        assert held["expires_at"] < same["expires_at"] < longer["expires_at"]
        assert {same["fence"], longer["fence"]} == {held["fence"]}

    def test_a_second_release_is_too_late_but_one_told_twice_is_answered_the_same(self, lead, api):
        held = lock_of(ask(api(lead)))
        where, body = f"{LOCKS}/{held['id']}/release", {"fence": held["fence"]}

        first = api(lead).post(where, body, format="json")
        second = api(lead).post(where, body, format="json")
        assert (first.status_code, second.status_code) == (200, 409)

        client, held = api(lead), lock_of(ask(api(lead)))
        where, body = f"{LOCKS}/{held['id']}/release", {"fence": held["fence"]}
        twice = [
            client.post(where, body, format="json", headers={"Idempotency-Key": "once"})
            for _ in range(2)
        ]
        assert [a.status_code for a in twice] == [200, 200]
        assert twice[1]["Idempotency-Replayed"] == "true"

    def test_another_fence_than_its_own_is_refused(self, lead, api):
        held = lock_of(ask(api(lead)))

        for fence in (held["fence"] - 1, held["fence"] + 1):
            refused = api(lead).post(
                f"{LOCKS}/{held['id']}/release", {"fence": fence}, format="json"
            )
            assert (refused.status_code, refused.json()["code"]) == (409, "lease_lost")
        assert ResourceLock.objects.get().state == "held"

    def test_is_the_holders_alone(self, lead, agent, api):
        held = lock_of(ask(api(lead)))

        refused = api(agent).post(
            f"{LOCKS}/{held['id']}/renew", {"fence": held["fence"]}, format="json"
        )

        assert (refused.status_code, refused.json()["code"]) == (403, "not_yours")
        assert held["id"] in refused.json()["remedy"]["text"]


class TestSweep:
    def test_ends_what_ran_out_in_all_teams_and_grants_the_lines(self, lead, agent, outsider):
        for_agent, abroad = take(lead), take(outsider)
        place = take(agent)
        run_out(for_agent.lock_id), run_out(abroad.lock_id)

        assert services.sweep_locks() == 2

        assert {lock.state for lock in ResourceLock.objects.filter(
            pk__in=[for_agent.lock_id, abroad.lock_id])} == {"expired"}  # fmt: skip
        assert LockRequest.objects.get(pk=place.pk).state == "granted"
        expired = Event.objects.filter(kind="guardian.lock.expired")
        assert {event.team_id for event in expired} == {lead.team_id, outsider.team_id}
        assert services.sweep_locks() == 0

    def test_ends_waits_at_their_time_and_lets_those_behind_move_up(self, lead, agent, admin):
        take(lead, mode="shared")
        first, second = take(agent), take(admin, mode="shared")
        LockRequest.objects.filter(pk=first.pk).update(wait_until=Now())

        services.sweep_locks()

        states = LockRequest.objects.in_bulk()
        assert (states[first.pk].state, states[second.pk].state) == ("timed_out", "granted")
        assert Event.objects.filter(kind="guardian.lock.timed_out").count() == 1

    def test_who_asks_after_its_place_waits_for_no_sweep(self, lead, agent, api):
        held = take(lead)
        place = request_of(ask(api(agent)))
        run_out(held.lock_id)

        answer = api(agent).get(f"{LOCKS}/requests/{place['id']}").json()

        assert answer["state"] == "granted"
        assert answer["lock"]["fence"] > held.fence

    def test_a_granted_lock_whose_waiter_died_runs_out_like_any(self, lead, agent, admin):
        held = take(lead)
        dead, next_one = take(agent, lease_seconds=5), take(admin)
        services.release_lock(actor=lead, lock_id=held.lock_id, fence=held.fence)
        granted = LockRequest.objects.get(pk=dead.pk).lock
        run_out(granted.pk)

        services.sweep_locks()

        assert LockRequest.objects.get(pk=next_one.pk).state == "granted"


class TestFencesOfTheSequence:
    def test_rise_over_a_crash_that_lost_the_last_ones(self, lead):
        given = take(lead).fence
        with connection.cursor() as cursor:  # what recovery does to a sequence and to that table
            cursor.execute("SELECT setval('guardian_fence_seq', 1)")
            cursor.execute("TRUNCATE guardian_fence_block")

        assert take(lead, "other").fence > given

    def test_begin_a_new_block_when_one_is_used_up(self, lead):
        first = take(lead).fence
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT setval('guardian_fence_seq', max(upto)) FROM guardian_fence_block"
            )

        second, third = take(lead, "second").fence, take(lead, "third").fence

        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT b.upto, m.upto FROM guardian_fence_block b, guardian_fence_mark m"
            )
            block, mark = cursor.fetchone()
        assert first < second < third <= block == mark


class TestHeader:
    @pytest.fixture
    def flow(self, team):
        phases.seed_team(team=team)

    def open(self, client, fence, **headers):
        headers = {"Lemnos-Fence": fence, **headers} if fence is not None else headers
        return client.post("/api/v1/tickets", {"title": "Deploy"}, format="json", headers=headers)

    def test_a_write_under_a_current_lock_is_done(self, flow, lead, api):
        held = take(lead)

        answer = self.open(api(lead), f"{held.lock_id}:{held.fence}")

        assert answer.status_code == 201

    @pytest.mark.parametrize("how", ["expired", "released", "older", "stolen"])
    def test_a_write_under_an_old_one_is_refused_and_nothing_is_written(
        self, flow, lead, agent, api, how
    ):
        held = take(lead)
        fence = held.fence - 1 if how == "older" else held.fence
        if how == "released":
            services.release_lock(actor=lead, lock_id=held.lock_id, fence=held.fence)
        if how in {"expired", "stolen"}:
            run_out(held.lock_id)
        if how == "stolen":
            take(agent)

        answer = self.open(api(lead), f"{held.lock_id}:{fence}")

        assert (answer.status_code, answer.json()["code"]) == (409, "lease_lost")
        assert not Ticket.objects.exists()

    def test_counts_on_every_kind_of_write_and_with_a_key(self, flow, lead, api):
        ticket = self.open(api(lead), None).json()
        old = {"Lemnos-Fence": f"{take(lead).lock_id}:1", "If-Match": "*"}

        answers = [
            api(lead).patch(f"/api/v1/tickets/{ticket['id']}", {"title": "New"}, format="json",
                            headers=old),
            api(lead).post(f"/api/v1/tickets/{ticket['id']}/cancel", {"reason": "no need now"},
                           format="json", headers=old),
            self.open(api(lead), None, **old, **{"Idempotency-Key": "a"}),
            api(lead).post("/api/v1/tasks/claim", {"capabilities": []}, format="json", headers=old),
        ]  # fmt: skip

        assert [answer.json()["code"] for answer in answers] == ["lease_lost"] * 4
        assert api(lead).get("/api/v1/tickets", headers=old).status_code == 200  # only writes ask

    def test_says_what_is_wrong_with_it(self, flow, lead, outsider, api):
        foreign = take(outsider)

        malformed = self.open(api(lead), "main:7")
        unknown = self.open(api(lead), f"{uuid7()}:7")
        abroad = self.open(api(lead), f"{foreign.lock_id}:{foreign.fence}")

        assert (malformed.status_code, malformed.json()["errors"][0]["path"]) == (
            400, "Lemnos-Fence",
        )  # fmt: skip
        assert (unknown.status_code, abroad.status_code) == (404, 404)

    def test_where_it_would_guard_nothing_it_is_refused(self, db, client):
        answer = client.post("/login", {}, headers={"Lemnos-Fence": f"{uuid7()}:1"})

        assert answer.status_code == 400

    @pytest.mark.slow
    @pytest.mark.django_db(transaction=True)
    def test_nobody_else_gets_the_lock_before_the_write_is_done(self, lead, agent):
        held = take(lead, lease_seconds=1)
        done: list[str] = []

        def newcomer() -> None:
            try:
                done.append(f"taken with {'a greater' if take(agent).fence > held.fence else 'an'}")
            finally:
                connections.close_all()

        with transaction.atomic():
            services.check_fences(actor=lead, header=f"{held.lock_id}:{held.fence}")
            until(lambda: not is_current(held))
            thread = threading.Thread(target=newcomer)
            thread.start()
            until(somebody_waits_for_a_row)
            done.append("written")
        thread.join(30)

        assert done == ["written", "taken with a greater"]


def until(true) -> None:
    while not true():
        time.sleep(0.01)


def is_current(held) -> bool:
    return ResourceLock.objects.filter(
        pk=held.lock_id, expires_at__gt=RawSQL("clock_timestamp()", [])
    ).exists()


def somebody_waits_for_a_row() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype <> 'advisory'")
        return cursor.fetchone()[0] > 0
