"""Many at once: never two holders, and every history is one that a single lock could have had."""

import random
import threading
import time
from dataclasses import dataclass

import pytest
from django.db import DatabaseError, connection, connections, transaction

from guardian import services
from guardian.authority import Actor
from guardian.errors import LeaseLost, LockHeld
from guardian.models import LockRequest, ResourceLock, uuid7
from tests import factories
from tests.guardian.test_locks_fences import take

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.django_db(transaction=True),
]


def at_once(works) -> None:
    """Run them in threads of their own; a failure of one fails the test."""
    errors: list[Exception] = []

    def run(work) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  raised again below
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    if errors:
        raise errors[0]


def crew(team, count: int) -> list[Actor]:
    return [factories.make_actor(team, f"hand-{number}") for number in range(count)]


class TestThousandClients:
    def test_never_two_holders(self, team):
        """1,000 clients over eight connections, while a ninth gives back whatever is held."""
        hands = {hand.id: hand for hand in crew(team, 1000)}
        everybody = list(hands.values())
        served: list[int] = []

        def ask(mine) -> None:
            for hand in mine:
                take(hand, lease_seconds=3600)

        def serve() -> None:
            while len(served) < len(hands):
                held = list(ResourceLock.objects.held())
                assert len(held) <= 1
                for lock in held:
                    served.append(lock.fence)
                    services.release_lock(
                        actor=hands[lock.holder_id], lock_id=lock.pk, fence=lock.fence
                    )
                if not held:
                    time.sleep(0.01)

        at_once([serve, *(lambda mine=everybody[n::8]: ask(mine) for n in range(8))])

        assert served == sorted(served)
        assert len(set(served)) == 1000
        assert LockRequest.objects.filter(state="granted").count() > 500  # most had to wait
        assert not ResourceLock.objects.held().exists()
        assert not LockRequest.objects.waiting().exists()


class TestRawSql:
    MIX = [("exclusive", "exclusive"), ("exclusive", "shared"), ("shared", "exclusive")]

    @pytest.mark.parametrize(("held", "wanted"), MIX)
    def test_a_mix_is_refused_by_the_database(self, lead, held, wanted):
        lock = take(lead, mode=held)
        slot = "int8range(NULL, NULL)" if wanted == "exclusive" else "int8range(7, 7, '[]')"

        with (
            pytest.raises(DatabaseError, match="lock_is_exclusive_or_shared"),
            transaction.atomic(),
        ):
            copy_of(lock, slot, wanted)

        assert ResourceLock.objects.held().count() == 1

    def test_shared_ones_stand_side_by_side(self, lead):
        copy_of(take(lead, mode="shared"), "int8range(7, 7, '[]')", "shared")

        assert ResourceLock.objects.held().count() == 2

    def test_a_state_is_not_set_by_hand(self, lead):
        lock = take(lead)
        services.release_lock(actor=lead, lock_id=lock.lock_id, fence=lock.fence)

        with pytest.raises(DatabaseError), transaction.atomic():
            ResourceLock.objects.filter(pk=lock.lock_id).update(state="held", released_at=None)


def copy_of(lock, slot: str, mode: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""INSERT INTO guardian_resourcelock (id, team_id, created_at, updated_at,
                  resource_type, resource_id, key_range, slot, mode, state, holder_id, fence,
                  lease_seconds, expires_at, acquired_at, release_reason, metadata)
                SELECT %s, team_id, now(), now(), resource_type, resource_id, key_range, {slot},
                  %s, 'held', holder_id, nextval('guardian_fence_seq'), 60, now() + interval '1 h',
                  now(), '', '{{}}' FROM guardian_resourcelock WHERE id = %s""",  # noqa: S608  ours
            [uuid7(), mode, lock.lock_id],
        )


# Histories


@dataclass(frozen=True)
class Call:
    """One call of one client: when it began and ended, and what it was answered."""

    client: int
    verb: str
    mode: str
    answer: str
    began: float
    ended: float


class Model:
    """A lock in plain Python that nobody waits for: who holds it, in which mode."""

    def __init__(self, holders: frozenset[tuple[int, str]] = frozenset()) -> None:
        self.holders = holders

    def after(self, call: Call) -> "Model | None":
        """The lock after a call that was answered so, or None where it would not have been."""
        mine = {holder for holder in self.holders if holder[0] == call.client}
        if call.verb == "release":
            ok = bool(mine)
            left = Model(self.holders - mine)
            return (left if ok else self) if (call.answer == "ok") is ok else None
        others = self.holders - mine
        free = not others if call.mode == "exclusive" else all(m == "shared" for _, m in others)
        free = free and not mine
        if (call.answer == "ok") is not free:
            return None
        return Model(self.holders | {(call.client, call.mode)}) if free else self


def linearizable(calls: list[Call]) -> bool:
    """Whether some order that keeps "ended before the other began" explains every answer.

    Depth first over the calls that may come next, each reached state once (Wing and Gong 1993;
    Lowe 2017).
    """
    seen: set[tuple[frozenset[int], frozenset[tuple[int, str]]]] = set()

    def search(left: frozenset[int], model: Model) -> bool:
        if not left:
            return True
        if (left, model.holders) in seen:
            return False
        seen.add((left, model.holders))
        first_end = min(calls[place].ended for place in left)
        for place in left:
            if calls[place].began <= first_end:
                following = model.after(calls[place])
                if following is not None and search(left - {place}, following):
                    return True
        return False

    return search(frozenset(range(len(calls))), Model())


class TestHistories:
    def history(self, hands, resource: str, seed: int) -> list[Call]:
        """Three clients at once, each a few random calls."""
        calls: list[Call] = []

        def client(number: int) -> None:
            dice = random.Random(f"{seed}/{number}")  # noqa: S311  repeatable
            hand, held = hands[number], None
            for _ in range(dice.randint(3, 5)):
                mode = dice.choice(["exclusive", "exclusive", "shared"])
                began = time.monotonic()
                if held is None:
                    held, verb = attempt(hand, resource, mode), "acquire"
                    answer = "ok" if held else "held"
                else:
                    verb, answer = "release", give_back(hand, held)
                    held = None
                calls.append(Call(number, verb, mode, answer, began, time.monotonic()))

        at_once([lambda n=n: client(n) for n in range(len(hands))])
        return calls

    def test_100_random_ones_are_linearizable(self, team):
        hands = crew(team, 3)
        contested = 0

        for seed in range(100):
            calls = self.history(hands, f"r{seed}", seed)
            contested += any(call.answer == "held" for call in calls)
            assert linearizable(calls), (seed, calls)
            for hand in hands:
                services.release_all(actor=hand, holder_id=hand.id, reason="next round")

        assert contested > 10  # or nothing was raced for

    def test_the_checker_refuses_what_no_lock_could_have_done(self):
        def call(client, verb, answer, began, ended, mode="exclusive") -> Call:
            return Call(client, verb, mode, answer, began, ended)

        overlapping = [call(0, "acquire", "ok", 0, 3), call(1, "acquire", "ok", 1, 2)]
        stolen = [call(0, "acquire", "ok", 0, 1), call(1, "acquire", "ok", 2, 3)]
        forgotten = [
            call(0, "acquire", "ok", 0, 1),
            call(0, "release", "ok", 2, 3),
            call(1, "acquire", "held", 4, 5),
        ]
        mixed = [
            call(0, "acquire", "ok", 0, 1, "shared"),
            call(1, "acquire", "ok", 2, 3, "exclusive"),
        ]
        twice = [*stolen[:1], call(0, "release", "ok", 2, 3), call(0, "release", "ok", 4, 5)]
        good = [
            call(0, "acquire", "ok", 0, 5),
            call(1, "acquire", "held", 1, 2),
            call(0, "release", "ok", 6, 9),
            call(1, "acquire", "ok", 7, 8),
        ]

        assert [linearizable(h) for h in (overlapping, stolen, forgotten, mixed, twice)] == [
            False
        ] * 5
        assert linearizable(good)

    def test_a_lock_without_its_guard_would_be_found_out(self, team):
        """The same clients on a lock that looks first and takes then, without asking anybody."""
        found = 0
        for _ in range(20):
            careless = Careless()
            calls: list[Call] = []

            def client(number: int, careless=careless, calls=calls) -> None:
                began = time.monotonic()
                answer = "ok" if careless.take(number) else "held"
                calls.append(Call(number, "acquire", "exclusive", answer, began, time.monotonic()))

            at_once([lambda n=n, c=client: c(n) for n in range(3)])
            found += not linearizable(calls)

        assert found > 0


class Careless:
    """Check, then act."""

    def __init__(self) -> None:
        self.holder: int | None = None
        self.meeting = threading.Barrier(3)

    def take(self, number: int) -> bool:
        free = self.holder is None
        self.meeting.wait(30)
        if free:
            self.holder = number
        return free


def attempt(hand, resource: str, mode: str):
    try:
        return take(hand, resource, mode=mode, wait=False)
    except LockHeld:
        return None


def give_back(hand, held) -> str:
    try:
        services.release_lock(actor=hand, lock_id=held.lock_id, fence=held.fence)
    except LeaseLost:
        return "lost"
    return "ok"
