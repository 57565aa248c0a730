"""Locks against a plain-Python model: any verbs in any order leave the same holders and lines."""

from dataclasses import dataclass, field
from itertools import count

import pytest
from django.db.models.functions import Now
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from guardian import services
from guardian.errors import AlreadyExists, LeaseLost, LockDeadlock, LockHeld
from guardian.models import LockRequest, ResourceLock
from guardian.outbox import PRIORITIES
from tests import factories

HANDS = ("ann", "bob", "cid")
RESOURCES = ("a", "b")
MODES = ("exclusive", "shared")
NUMBERS = count()  # each example plays in a team of its own


@dataclass
class Resource:
    """Who holds it, and who stands in its line: (hand, mode, priority, arrival)."""

    holders: dict[str, str] = field(default_factory=dict)
    line: list[tuple[str, str, int, int]] = field(default_factory=list)

    def fits(self, mode: str) -> bool:
        held = set(self.holders.values())
        return not held or (mode == "shared" and held == {"shared"})

    def sorted_line(self) -> list[tuple[str, str, int, int]]:
        return sorted(self.line, key=lambda place: (place[2], place[3]))

    def settle(self) -> None:
        for place in self.sorted_line():
            hand, mode = place[:2]
            if not self.fits(mode):
                return
            self.holders[hand] = mode
            self.line.remove(place)

    def waits_for(self, hand: str) -> set[str]:
        """Whom somebody in this line waits for."""
        mine = next((place for place in self.line if place[0] == hand), None)
        if mine is None:
            return set()
        mode = mine[1]
        blockers = {h for h, m in self.holders.items() if "exclusive" in {m, mode}}
        for place in self.sorted_line():
            if place == mine:
                break
            if "exclusive" in {place[1], mode}:
                blockers.add(place[0])
        return blockers


class Locks(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        number = next(NUMBERS)
        self.team = factories.make_team(f"model-{number}")
        self.hands = {name: factories.make_actor(self.team, f"{name}-{number}") for name in HANDS}
        self.model = {name: Resource() for name in RESOURCES}
        self.arrival = 0
        self.fence = 0
        self.old: list[tuple[str, ResourceLock]] = []

    @rule(
        hand=st.sampled_from(HANDS), name=st.sampled_from(RESOURCES), mode=st.sampled_from(MODES),
        priority=st.sampled_from(list(PRIORITIES)), wait=st.booleans(),
    )  # fmt: skip
    def acquire(self, hand, name, mode, priority, wait) -> None:
        expected = self.expect(hand, name, mode, PRIORITIES[priority], wait=wait)
        try:
            got = services.acquire_lock(
                actor=self.hands[hand], resource_type="thing", resource_id=name, mode=mode,
                priority=priority, wait=wait,
            )  # fmt: skip
        except (LockHeld, LockDeadlock, AlreadyExists) as error:
            answer = error.code
        else:
            answer = "waits" if isinstance(got, LockRequest) else "renewed" if got.renewed else "ok"
            if answer == "ok":
                assert got.fence > self.fence
                self.fence = got.fence
        assert answer == expected

    def expect(self, hand, name, mode, priority, *, wait) -> str:
        resource = self.model[name]
        if resource.holders.get(hand) == mode:
            return "renewed"
        mine = next((place for place in resource.line if place[0] == hand), None)
        ahead = any(place[2] <= priority for place in resource.line)
        if resource.fits(mode) and not ahead:
            resource.holders[hand] = mode
            return "ok"
        if not wait:
            return "lock_held"
        if mine is not None:
            return "waits" if mine[1] == mode else "already_exists"
        self.arrival += 1
        place = (hand, mode, priority, self.arrival)
        resource.line.append(place)
        if self.in_circle(hand):
            resource.line.remove(place)
            return "lock_deadlock"
        return "waits"

    def in_circle(self, start: str) -> bool:
        seen: set[str] = set()
        edge = {start}
        while edge:
            onward = {b for hand in edge for r in self.model.values() for b in r.waits_for(hand)}
            if start in onward:
                return True
            edge = onward - seen
            seen |= edge
        return False

    def held(self, hand, name) -> ResourceLock | None:
        return ResourceLock.objects.held().filter(
            holder=self.hands[hand].user, resource_id=name
        ).order_by("fence").first()  # fmt: skip

    @rule(hand=st.sampled_from(HANDS), name=st.sampled_from(RESOURCES))
    def release(self, hand, name) -> None:
        lock = self.held(hand, name)
        assert (lock is not None) == (hand in self.model[name].holders)
        if lock is None:
            return
        services.release_lock(actor=self.hands[hand], lock_id=lock.pk, fence=lock.fence)
        self.old.append((hand, lock))
        self.gone(name, hand)

    @rule(hand=st.sampled_from(HANDS), name=st.sampled_from(RESOURCES))
    def run_out(self, hand, name) -> None:
        lock = self.held(hand, name)
        if lock is None:
            return
        ResourceLock.objects.filter(pk=lock.pk).update(expires_at=Now())
        services.sweep_locks()
        self.old.append((hand, lock))
        self.gone(name, hand)

    def gone(self, name, hand) -> None:
        del self.model[name].holders[hand]
        self.model[name].settle()

    @rule(hand=st.sampled_from(HANDS), name=st.sampled_from(RESOURCES))
    def leave_the_line(self, hand, name) -> None:
        resource = self.model[name]
        waiting = LockRequest.objects.waiting().filter(
            requester=self.hands[hand].user, resource_id=name
        ).first()  # fmt: skip
        mine = next((place for place in resource.line if place[0] == hand), None)
        assert (waiting is not None) == (mine is not None)
        if waiting is None:
            return
        services.cancel_request(actor=self.hands[hand], request_id=waiting.pk)
        resource.line.remove(mine)
        resource.settle()

    @rule(hand=st.sampled_from(HANDS))
    def release_everything(self, hand) -> None:
        actor = self.hands[hand]
        services.release_all(actor=actor, holder_id=actor.id, reason="all of it")
        for resource in self.model.values():
            resource.holders.pop(hand, None)
            resource.line = [place for place in resource.line if place[0] != hand]
        for resource in self.model.values():
            resource.settle()

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def bring_an_old_fence(self, data) -> None:
        hand, lock = data.draw(st.sampled_from(self.old))
        try:
            services.renew_lock(actor=self.hands[hand], lock_id=lock.pk, fence=lock.fence)
        except LeaseLost:
            return
        raise AssertionError("an old fence was renewed")

    @invariant()
    def holders_and_lines_are_those_of_the_model(self) -> None:
        for name, resource in self.model.items():
            locks = ResourceLock.objects.for_team(self.team.pk).held().filter(resource_id=name)
            held = {
                lock.holder.username.partition("-")[0]: lock.mode
                for lock in locks.select_related("holder")
            }
            waiting = LockRequest.objects.for_team(self.team.pk).waiting()
            waiting = waiting.filter(resource_id=name)
            line = [
                (r.requester.username.partition("-")[0], r.mode)
                for r in waiting.select_related("requester").order_by("priority", "number")
            ]
            assert held == resource.holders
            assert line == [place[:2] for place in resource.sorted_line()]


@pytest.mark.slow
@pytest.mark.django_db
def test_locks_are_as_the_model_says():
    run_state_machine_as_test(
        Locks,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
