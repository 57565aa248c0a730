"""Locks end with what they are for: a task, an instance, a holder; and by operators."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections, transaction
from django.utils import timezone

from guardian import services
from guardian.errors import IllegalTransition, NotFound
from guardian.models import LockRequest, ResourceLock, uuid7
from orchestrator import services as orchestrator
from orchestrator.models import AgentInstance
from phases import services as phases
from phases.models import Task
from tests import factories
from tests.guardian.test_locks_api import LOCKS, ask, lock_of, request_of
from tests.guardian.test_locks_fences import somebody_waits_for_a_row, take, until

WANT = {"task_type": "noop", "title": "x", "required_capabilities": ["noop"]}


@pytest.fixture
def ticket(team, lead):
    phases.seed_team(team=team)
    return phases.open_ticket(
        actor=lead, title="T", workflow="software_development", phase="PHASE_BACKLOG"
    )


@pytest.fixture
def begin(ticket, lead, agent):
    def claimed(**fields):
        phases.create_task(actor=lead, ticket=ticket, **{**WANT, **fields})
        return phases.claim_tasks(actor=agent, capabilities=["noop"])[0].taken

    return claimed


def ends(agent, lead, held) -> dict[str, Any]:
    ask = {"actor": agent, "task_id": held.task_id, "fence": held.fence}
    return {
        "completed": lambda: phases.complete_task(**ask, result={}),
        "handed over": lambda: phases.complete_and_claim(**ask, result={}, capabilities=["noop"]),
        "released": lambda: phases.release_task(**ask, reason="not now, later"),
        "failed": lambda: phases.fail_task(**ask, code="x", message="y"),
        "lost": lambda: lose(held.task_id),
    }


def lose(task_id) -> None:
    Task.objects.filter(pk=task_id).update(lease_expires_at=timezone.now())
    phases.sweep_leases()


class TestTask:
    @pytest.mark.parametrize("end", ["completed", "handed over", "released", "failed", "lost"])
    def test_its_end_frees_its_locks_and_grants_the_line(self, begin, agent, lead, admin, end):
        held = begin()
        lock = take(agent, "a", task_id=held.task_id)
        next_one = take(admin, "a")
        take(lead, "b")
        own_place = take(agent, "b", task_id=held.task_id)

        ends(agent, lead, held)[end]()

        assert ResourceLock.objects.get(pk=lock.lock_id).state == "released"
        assert LockRequest.objects.get(pk=next_one.pk).state == "granted"
        assert LockRequest.objects.get(pk=own_place.pk).state == "cancelled"

    def test_a_place_in_a_line_alone_is_given_up_too(self, begin, agent, lead):
        held = begin()
        take(lead, "b")
        place = take(agent, "b", task_id=held.task_id)

        ends(agent, lead, held)["handed over"]()

        assert LockRequest.objects.get(pk=place.pk).state == "cancelled"

    def test_nobody_takes_a_lock_for_a_task_that_is_not_theirs(self, begin, agent, lead, api):
        held = begin()

        others = ask(api(lead), task_id=str(held.task_id))
        unknown = ask(api(agent), task_id=str(uuid7()))
        ends(agent, lead, held)["completed"]()
        over = ask(api(agent), task_id=str(held.task_id))

        assert [(a.status_code, a.json()["code"]) for a in (others, unknown, over)] == [
            (409, "lease_lost"), (404, "not_found"), (409, "lease_lost"),
        ]  # fmt: skip
        assert others.json()["holder"]["id"] == str(agent.id)
        assert not ResourceLock.objects.exists()

    @pytest.mark.slow
    @pytest.mark.timeout(300)
    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("end", ["completed", "handed over"])
    def test_a_lock_taken_in_the_moment_it_ends_never_outlives_it(self, begin, agent, lead, end):
        held = begin()
        taken = threading.Event()

        def take_late() -> None:
            try:
                with transaction.atomic():
                    take(agent, "late", task_id=held.task_id)
                    taken.set()
                    until(somebody_waits_for_a_row)  # the end below has begun and looked
            finally:
                connections.close_all()

        thread = threading.Thread(target=take_late)
        thread.start()
        taken.wait(30)
        ends(agent, lead, held)[end]()
        thread.join(30)

        assert ResourceLock.objects.get().state == "released"

    def test_a_claim_asks_for_its_locks_and_never_passes_who_waits(self, begin, agent, lead, admin):
        lock = [{"resource_type": "repo", "resource_id": "main", "mode": "shared"}]
        shared = take(lead, mode="shared")
        take(admin)  # waits for lead

        with pytest.raises(IndexError):
            begin(required_locks=lock)
        assert Task.objects.get().dispatch_note == "lock_held"

        services.release_all(actor=admin, holder_id=admin.id, reason="no longer")
        taken = phases.claim_tasks(actor=agent, capabilities=["noop"])[0]
        assert taken.locks[0].fence > shared.fence

    @pytest.mark.parametrize("how", ["claimed with it", "taken for it"])
    def test_its_heartbeat_holds_its_locks_on(self, begin, agent, how):
        lock = {"resource_type": "repo", "resource_id": "main", "mode": "exclusive"}
        held = begin(required_locks=[lock] if how == "claimed with it" else [])
        if how == "taken for it":
            services.acquire_lock(
                actor=agent, resource_type="repo", resource_id="main", task_id=held.task_id
            )
        soon = timezone.now() + timedelta(seconds=30)
        ResourceLock.objects.update(expires_at=soon, lease_seconds=60)

        phases.extend_lease(actor=agent, task_id=held.task_id, fence=held.fence, lease_seconds=900)

        assert ResourceLock.objects.get().expires_at > soon + timedelta(seconds=800)

    def test_its_heartbeat_brings_no_lost_lock_back(self, begin, agent):
        held = begin(required_locks=[{"resource_type": "r", "resource_id": "m", "mode": "shared"}])
        over = timezone.now() - timedelta(seconds=1)
        ResourceLock.objects.update(expires_at=over)

        phases.extend_lease(actor=agent, task_id=held.task_id, fence=held.fence)

        assert ResourceLock.objects.get().expires_at == over


class TestInstance:
    @pytest.fixture
    def instance(self, team):
        phases.seed_team(team=team)
        return orchestrator.seed_agents(team=team)[0]

    def test_a_lock_knows_the_instance_that_took_it(self, instance, team):
        robot = factories.actor_for(instance.user, team)

        lease = take(robot)

        assert ResourceLock.objects.get(pk=lease.lock_id).instance_id == instance.pk

    def test_stopping_it_frees_them_and_grants_the_line(self, instance, team, lead, agent):
        robot = factories.actor_for(instance.user, team)
        lease, other = take(robot), take(lead, "b")
        next_one, own_place = take(agent), take(robot, "b")

        orchestrator.stop_agent(actor=lead, instance_id=instance.pk, reason="night")

        assert ResourceLock.objects.get(pk=lease.lock_id).state == "released"
        assert LockRequest.objects.get(pk=next_one.pk).state == "granted"
        assert LockRequest.objects.get(pk=own_place.pk).state == "cancelled"
        assert ResourceLock.objects.get(pk=other.lock_id).state == "held"
        assert AgentInstance.objects.get(pk=instance.pk).state == "stopped"
        assert ResourceLock.objects.get(pk=take(robot, "c").lock_id).instance_id is None


class TestReleaseAll:
    def everything(self, client, **body):
        return client.post(
            f"{LOCKS}/release-all", {"reason": "gone for good", **body}, format="json"
        )

    def test_by_holder_with_what_waits_behind(self, lead, agent, admin, api):
        take(agent, "a"), take(agent, "b", mode="shared"), take(lead, "c")
        take(admin, "a"), take(agent, "c")

        answer = self.everything(api(lead), holder_id=str(agent.id))

        assert answer.json() == {"released": 2, "cancelled": 1, "granted": 1}
        assert not ResourceLock.objects.held().filter(holder=agent.user).exists()

    def test_by_task_and_by_instance(self, lead, agent, api):
        task, instance = uuid7(), uuid7()
        services.acquire_locks(
            actor=agent, task_id=task, wanted=[{"resource_type": "repo", "resource_id": "a"}]
        )
        other = take(agent, "b")
        ResourceLock.objects.filter(pk=other.lock_id).update(instance_id=instance)

        assert self.everything(api(lead), task_id=str(task)).json()["released"] == 1
        assert self.everything(api(lead), instance_id=str(instance)).json()["released"] == 1
        assert self.everything(api(lead), instance_id=str(uuid7())).json()["released"] == 0

    def test_others_need_the_right_to_break_them(self, lead, agent, team, outsider, api):
        low = factories.make_actor(team, "low", role="operator", authority=3)
        take(lead, "a"), take(agent, "b")

        by_agent = self.everything(api(agent), holder_id=str(lead.id))
        by_low = self.everything(api(low), holder_id=str(lead.id))
        own = self.everything(api(agent), holder_id=str(agent.id))
        stranger = self.everything(api(lead), holder_id=str(outsider.id))

        assert (by_agent.status_code, by_agent.json()["code"]) == (403, "scope_missing")
        assert (by_low.status_code, by_low.json()["code"]) == (403, "authority_too_low")
        assert own.json()["released"] == 1
        assert stranger.status_code == 404
        assert ResourceLock.objects.held().get().holder_id == lead.id

    def test_names_exactly_one(self, lead, api):
        assert self.everything(api(lead)).status_code == 400
        both = self.everything(api(lead), task_id=str(uuid7()), holder_id=str(lead.id))
        assert (both.status_code, both.json()["code"]) == (400, "invalid")


class TestUser:
    @pytest.fixture(params=["deactivated", "left"])
    def goes(self, request, admin):
        def go(actor):
            why = {"actor": admin, "reason": "works elsewhere now"}
            if request.param == "deactivated":
                services.deactivate_user(user_id=actor.id, **why)
            else:
                membership = actor.user.memberships.get(team=actor.team)
                services.end_membership(membership_id=membership.pk, **why)

        return go

    def test_who_goes_holds_nobody_up(self, goes, team, lead, agent):
        somebody = factories.make_actor(team, "sam")
        take(somebody)
        take(lead)
        take(agent, "other")
        take(somebody, "other")

        goes(somebody)

        held = {lock.resource_id: lock.holder_id for lock in ResourceLock.objects.held()}
        assert held == {"main": lead.id, "other": agent.id}
        assert not LockRequest.objects.waiting().exists()


class TestBreak:
    def test_ends_anothers_lock_with_a_reason_and_grants_the_line(self, lead, agent, admin, api):
        held, place = lock_of(ask(api(agent))), request_of(ask(api(admin)))
        where = f"{LOCKS}/{held['id']}/break"

        too_short = api(lead).post(where, {"reason": "x"}, format="json")
        by_agent = api(agent).post(where, {"reason": "it is mine"}, format="json")

        assert too_short.status_code == 400
        assert (by_agent.status_code, by_agent.json()["release_reason"]) == (200, "it is mine")
        assert LockRequest.objects.get(pk=place["id"]).state == "granted"
        assert api(lead).post(where, {"reason": "again please"}, format="json").status_code == 409

    def test_needs_scope_and_level_for_anothers(self, lead, agent, team, api):
        low = factories.make_actor(team, "low", role="operator", authority=3)
        held = lock_of(ask(api(lead)))
        where, body = f"{LOCKS}/{held['id']}/break", {"reason": "in my way"}

        refused = [api(who).post(where, body, format="json") for who in (agent, low)]

        assert [a.json()["code"] for a in refused] == ["scope_missing", "authority_too_low"]
        assert ResourceLock.objects.get().state == "held"

    def test_a_place_is_cancelled_by_its_requester_or_who_may(self, lead, agent, admin, outsider):
        take(lead)
        mine, other = take(agent), take(admin)

        with pytest.raises(NotFound):
            services.cancel_request(actor=outsider, request_id=mine.pk)
        services.cancel_request(actor=agent, request_id=mine.pk)
        services.cancel_request(actor=lead, request_id=other.pk, reason="not today")

        with pytest.raises(IllegalTransition):
            services.cancel_request(actor=agent, request_id=mine.pk)
        assert {r.state for r in LockRequest.objects.all()} == {"cancelled"}
