"""Claims under chaos: agents are killed and paused in mid-work, a checker reads what came of it.

The agents work through the REST API of a real server. An agent that is killed or paused loses its
leases as if their time had passed: the clock of `lease_expires_at` is turned, the sweep is the
product's own. A paused one wakes up when another has its task, and writes with its old fence.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FLOW = "software_development"
# A batch of the API holds 100.
BATCH = 100


@dataclass
class Outcome:
    """What a run did and what the checker found; no violation is the goal."""

    tasks: int = 0
    completed: int = 0
    given_up: int = 0  # lost three leases, told as a failure
    kills: int = 0  # that struck a living agent, as `pauses`
    pauses: int = 0
    stale: int = 0
    seconds: float = 0
    violations: list[str] = field(default_factory=list)


class Nursery:
    """Where agents are forked; `pids` are alive or paused."""

    def __init__(self, port: int, log: Path) -> None:
        self.log = log
        self.pids: set[int] = set()
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", str(Path(__file__).with_name("_chaos_agent.py")),
             "127.0.0.1", str(port), str(log)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def start(self, token: str, think: float) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"token": token, "think": think}) + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        self.pids.add(pid)
        return pid

    def signal(self, pid: int, number: int) -> bool:
        """Whether there was anybody to hear it."""
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            self.pids.discard(pid)
            return False
        if number == signal.SIGKILL:
            self.pids.discard(pid)
        return True

    def end(self) -> None:
        for pid in list(self.pids):
            self.signal(pid, signal.SIGKILL)
        with self._process:  # closes its pipes, waits for its end
            self._process.kill()

    def lines(self) -> list[list[str]]:
        """[what, pid, task, fence] of all agents so far."""
        text = self.log.read_text() if self.log.exists() else ""
        return [line.split() for line in text.splitlines()]


@contextmanager
def nursery(port: int, log: Path) -> Iterator[Nursery]:
    made = Nursery(port, log)
    try:
        yield made
    finally:
        made.end()


def cast(count: int) -> tuple[Any, list[tuple[Any, str]]]:
    """An operator, and agents as (user id, token), of a new team."""
    from uuid import uuid4

    from guardian import services as guardian
    from guardian.authority import actor_for
    from phases import services

    name = f"chaos-{uuid4().hex[:6]}"
    team = guardian.create_team(slug=name, name="Chaos")
    services.seed_team(team=team)
    lead = guardian.create_user(username=f"{name}-lead")
    guardian.set_membership(user=lead, team=team, role="admin")
    operator = actor_for(lead, team)
    agents = []
    for number in range(count):
        user = guardian.create_user(username=f"{name}-{number}", kind="agent")
        guardian.set_membership(user=user, team=team, role="agent")
        _, text = guardian.create_token(
            actor=operator, user=user, name="chaos", scopes=["tasks:work"]
        )
        agents.append((user.pk, text))
    return operator, agents


def make_tasks(operator: Any, count: int) -> None:
    """`count` ready tasks that only these agents can take."""
    from phases import services
    from phases.services import NewTask

    ticket = services.open_ticket(actor=operator, title="Chaos", workflow=FLOW)
    for begin in range(0, count, BATCH):
        services.create_tasks(
            actor=operator,
            tasks=[
                NewTask(
                    ticket_id=ticket.pk,
                    task_type="chaos",
                    title=f"Task {number}",
                    required_capabilities=["chaos"],
                )
                for number in range(begin, min(count, begin + BATCH))
            ],
        )


def time_passes(user_id: Any) -> None:
    """The leases of this agent run out, the sweep finds them, and all waits are over."""
    from django.db import connection

    from phases import services

    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE phases_task SET lease_expires_at = clock_timestamp() - interval '1 second'"
            " WHERE holder_id = %s AND status IN ('assigned', 'running')",
            [user_id],
        )
    services.sweep_leases()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE phases_readytask r SET not_before = clock_timestamp() WHERE task_id IN ("
            "SELECT task_id FROM phases_readytask WHERE not_before > clock_timestamp()"
            " ORDER BY task_id FOR UPDATE SKIP LOCKED)"
        )


def run(
    *,
    port: int,
    log: Path,
    tasks: int,
    agents: int,
    kills: int,
    pauses: int,
    think: float = 0.01,
    seconds: float = 120,
    seed: int = 1,
) -> Outcome:
    """Work off `tasks` with `agents` at once while `kills` and `pauses` strike them at random."""
    from phases import services

    chance = random.Random(seed)
    operator, crew = cast(agents)
    make_tasks(operator, tasks)
    begin = time.monotonic()
    outcome = Outcome(tasks=tasks)
    strikes = [signal.SIGKILL] * kills + [signal.SIGSTOP] * pauses
    chance.shuffle(strikes)
    with nursery(port, log) as home:
        alive = {number: home.start(token, think) for number, (_, token) in enumerate(crew)}
        asleep: list[tuple[int, int]] = []  # (pid, wakes up when so many strikes are left)
        while (strikes or _open(operator)) and time.monotonic() - begin < seconds:
            if not strikes:
                _wake(home, asleep, 0)
                # A claim that was under way when its agent died ends as any lease does.
                services.sweep_leases()
                time.sleep(0.1)
                continue
            number = chance.randrange(agents)
            user_id, token = crew[number]
            strike = strikes.pop()
            if not home.signal(alive[number], strike):
                strikes.append(strike)  # it had ended by itself: another gets it
            elif strike == signal.SIGSTOP:
                outcome.pauses += 1
                asleep.append((alive[number], len(strikes) - chance.randint(1, 6)))
            else:
                outcome.kills += 1
            # Its last words are still under way: the server ends what it began.
            time_passes(user_id)
            alive[number] = home.start(token, think)
            _wake(home, asleep, len(strikes))
            time.sleep(chance.random() * 0.04)
        _wake(home, asleep, -1_000)
        _quiet(home)
        lines = home.lines()
    for done, asked, word in ((outcome.kills, kills, "killed"), (outcome.pauses, pauses, "paused")):
        if done < asked:
            outcome.violations.append(f"too little chaos: {done} of {asked} agents were {word}")
    outcome.seconds = time.monotonic() - begin
    outcome.stale = sum(what == "stale" for what, *_ in lines)
    check(operator, lines, outcome)
    return outcome


def _open(operator: Any) -> bool:
    from phases.models import Task

    return Task.objects.for_team(operator.team_id).filter(task_type="chaos").still_open().exists()


def _wake(home: Nursery, asleep: list[tuple[int, int]], left: int) -> None:
    for pid, until in list(asleep):
        if left <= until or left <= 0:
            asleep.remove((pid, until))
            home.signal(pid, signal.SIGCONT)


def _quiet(home: Nursery, seconds: float = 3) -> None:
    """Wait until nobody has written for a while: those who woke up have had their say."""
    before, deadline = -1, time.monotonic() + seconds
    while time.monotonic() < deadline:
        size = len(home.lines())
        if size == before:
            return
        before = size
        time.sleep(0.4)


@dataclass
class _Told:
    """What the ledger tells of one task, and who was answered that it is done."""

    claims: list[int] = field(default_factory=list)
    ends: int = 0  # leases lost or given back
    done: list[int] = field(default_factory=list)
    accepted: set[tuple[str, int]] = field(default_factory=set)  # (pid, fence)

    def faults(self) -> Iterator[str]:
        newest = max(self.claims, default=0)
        by = sorted(self.accepted)
        if len(self.done) > 1 or len({fence for _, fence in by}) > 1:
            yield f"done twice, fences {self.done}, accepted {by}"
        if len(by) > 1:
            yield f"done by two, {by}"
        if any(fence != newest for fence in [*self.done, *(fence for _, fence in by)]):
            yield f"done with an old fence, {self.done} {by} of {self.claims}"
        if len(set(self.claims)) != len(self.claims):
            yield f"one fence for two, {self.claims}"
        if len(self.claims) > 1 + self.ends:
            yield f"claimed twice, {len(self.claims)} claims and {self.ends} ends"


def check(operator: Any, lines: list[list[str]], outcome: Outcome) -> None:
    """Read rows, ledger and what the agents saw; add what must never be to `outcome`."""
    from phases.models import Task

    told = _ledger(operator)
    for what, pid, task, fence in lines:
        if what == "ok":
            told[task].accepted.add((pid, int(fence)))
    rows = list(Task.objects.for_team(operator.team_id).filter(task_type="chaos"))
    for task in rows:
        outcome.violations += [f"{task.title}: {fault}" for fault in told[str(task.pk)].faults()]
        outcome.completed += task.status == "completed"
        outcome.given_up += task.status == "failed" and task.lease_losses >= 3
    if outcome.completed + outcome.given_up != outcome.tasks:
        ended = f"{outcome.completed} completed and {outcome.given_up} given up"
        left = [f"{task.title} is {task.status}" for task in rows if task.is_open]
        outcome.violations.append(f"lost: {ended} of {outcome.tasks}; {left[:5]}")


def _ledger(operator: Any) -> dict[str, _Told]:
    from guardian.models import Event

    found: dict[str, _Told] = defaultdict(_Told)
    rows = Event.objects.filter(team=operator.team_id, subject_label="phases.task")
    for kind, subject, data in rows.values_list("kind", "subject_id", "data"):
        if kind == "phases.task.claimed":
            found[subject].claims.append(data["fence"])
        elif kind == "phases.task.completed":
            found[subject].done.append(data["fence"])
        elif kind in {"phases.task.lease_lost", "phases.task.released"}:
            found[subject].ends += 1
    return found
