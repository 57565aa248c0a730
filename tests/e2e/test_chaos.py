"""Agents are killed and paused in mid-work: no task is lost, none is done twice."""

import signal
import time
from collections.abc import Iterator

import pytest

from bench import _chaos
from phases import claim_sql, claims
from tests.browser.conftest import server  # noqa: F401  a fixture

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def api(transactional_db, server) -> Iterator[int]:  # noqa: F811  the fixture
    """The port of a real server; what dead agents asked it ends before the tables are emptied."""
    yield server.config.port
    until(lambda: not server.server_state.connections and not server.server_state.tasks)


@pytest.mark.timeout(300)
def test_two_hundred_kills_lose_nothing_and_do_nothing_twice(api, tmp_path):
    outcome = _chaos.run(
        port=api,
        log=tmp_path / "agents.log",
        tasks=250,
        agents=8,
        kills=200,
        pauses=40,
        seconds=240,
    )

    assert outcome.violations == []
    assert (outcome.kills, outcome.pauses) == (200, 40)
    assert outcome.completed + outcome.given_up == 250
    assert outcome.completed >= 180
    assert outcome.stale >= 3


def without(statement: str, *guards: str) -> str:
    for guard in guards:
        assert guard in statement, guard
        statement = statement.replace(guard, "")
    return statement


FENCE = "AND fence = %(fence)s::bigint"
GUARDS = (
    "AND holder_id = %(holder)s",
    "AND fence = %(fence)s::bigint AND status IN ('assigned', 'running')",
    "AND lease_expires_at > clock_timestamp()",
)


class TestBroken:
    """The checker must see what it is there to see: each of these lets something through."""

    @pytest.mark.parametrize(
        "guards", [(FENCE,), GUARDS], ids=["no fence check", "completion without guard"]
    )
    def test_a_late_write_that_is_accepted_is_caught(
        self,
        api,
        tmp_path,
        monkeypatch,
        guards,
    ):
        monkeypatch.setattr(claims, "COMPLETE", without(claim_sql.COMPLETE, *guards))

        outcome = late_write(api, tmp_path / "agents.log")

        assert any("old fence" in text for text in outcome.violations)

    def test_the_same_late_write_is_refused_by_what_is_shipped(self, api, tmp_path):
        outcome = late_write(api, tmp_path / "agents.log")

        assert (outcome.violations, outcome.stale) == ([], 1)

    def test_claims_that_lock_no_row_are_caught(self, api, tmp_path, monkeypatch):
        unlocked = without(
            claim_sql.CLAIM,
            "FOR UPDATE SKIP LOCKED",
            "AND best.task_id IN (SELECT task_id FROM taken)",
            "AND t.status IN ('pending', 'needs_work')\n    RETURNING",
        )
        # The first guard ends the last line of the claim: what it returned stays.
        unlocked = unlocked.replace(
            "t.id, t.fence, t.ticket_id", "RETURNING t.id, t.fence, t.ticket_id", 1
        )
        monkeypatch.setattr(claims, "CLAIM", unlocked)

        outcome = _chaos.run(
            port=api,
            log=tmp_path / "agents.log",
            tasks=60,
            agents=8,
            kills=0,
            pauses=0,
            think=0,
            seconds=20,
        )

        assert any("claimed twice" in text for text in outcome.violations)

    def test_a_run_that_ends_before_all_are_killed_has_failed(self, api, tmp_path):
        outcome = _chaos.run(
            port=api,
            log=tmp_path / "agents.log",
            tasks=4,
            agents=2,
            kills=500,
            pauses=0,
            seconds=1,
        )

        assert 0 < outcome.kills < 500
        told = f"too little chaos: {outcome.kills} of 500 agents were killed"
        assert told in outcome.violations

    def test_whoever_is_gone_already_is_not_counted_as_killed(self, api, tmp_path):
        with _chaos.nursery(api, tmp_path / "agents.log") as home:
            pid = home.start("no such token", think=0)

            assert home.signal(pid, signal.SIGKILL)
            until(lambda: not home.signal(pid, signal.SIGKILL))


def late_write(port, log) -> _chaos.Outcome:
    """An agent sleeps over its lease, its own successor has the task, and then it wakes up."""
    operator, [(user_id, token)] = _chaos.cast(1)
    _chaos.make_tasks(operator, 1)
    with _chaos.nursery(port, log) as home:
        first = home.start(token, think=2)
        until(lambda: len(home.lines()) == 1)
        home.signal(first, signal.SIGSTOP)
        _chaos.time_passes(user_id)
        home.start(token, think=60)
        until(lambda: len(home.lines()) == 2)
        home.signal(first, signal.SIGCONT)
        until(lambda: len(home.lines()) == 3)
        lines = home.lines()
        outcome = _chaos.Outcome(tasks=1, stale=sum(what == "stale" for what, *_ in lines))
    if outcome.stale:  # the successor's own end, which was waited for long enough
        _chaos.time_passes(user_id)
        finish(operator)
        lines = [line for line in lines if line[0] != "stale"]
    _chaos.check(operator, lines, outcome)
    return outcome


def finish(operator) -> None:
    from phases import services

    [claim] = services.claim_tasks(actor=operator, capabilities=["chaos"])
    services.complete_task(
        actor=operator, task_id=claim.taken.task_id, fence=claim.taken.fence, result={}
    )


def until(condition, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
