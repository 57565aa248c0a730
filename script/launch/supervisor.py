"""Keeps the processes of a run alive and ends them in order: users first, their database last."""

import signal
import time
from collections import deque
from collections.abc import Callable

from launch.children import Child, rotate
from launch.failure import CHILD_KEEPS_DYING, Failure
from launch.postgres import Postgres

DEATHS = 5
DEATHS_WINDOW_SECONDS = 60
LONGEST_DELAY_SECONDS = 30
# Beyond the time the children were given, before they are killed.
GRACE_SECONDS = 5
LOG_LOOK_SECONDS = 60


class Care:
    """One child's deaths: how long to wait before the next start, and when to give up."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.deaths: deque[float] = deque(maxlen=DEATHS)
        self.streak = 0
        self.started = time.monotonic()
        self.due: float | None = None

    def note_death(self) -> None:
        """Raises Failure (exit 7) at the fifth death within a minute."""
        now = time.monotonic()
        self.streak = 1 if now - self.started > DEATHS_WINDOW_SECONDS else self.streak + 1
        self.deaths.append(now)
        if len(self.deaths) == DEATHS and now - self.deaths[0] < DEATHS_WINDOW_SECONDS:
            name, words = self.child.name, self.child.last_words()
            message = f"{name} died {DEATHS} times in {DEATHS_WINDOW_SECONDS} s:\n{words}"
            raise Failure(CHILD_KEEPS_DYING, message)
        delay = min(2 ** (self.streak - 1), LONGEST_DELAY_SECONDS)
        code = self.child.process.returncode if self.child.process else None
        print(f"{self.child.name} ended (code {code}); starting it again in {delay} s", flush=True)
        self.due = now + delay


class Supervisor:
    """Children in the order of their start; the database, if it is ours, is kept apart."""

    def __init__(self, stopping: Callable[[], bool], hurried: Callable[[], bool]) -> None:
        self.stopping = stopping
        self.hurried = hurried
        self.database: Postgres | None = None
        self.database_care: Care | None = None
        self.cares: list[Care] = []
        self.on_start: Callable[[int], None] = lambda _pid: None
        self.logs_looked_at = time.monotonic()

    def start_database(self, postgres: Postgres) -> None:
        self.database = postgres
        self.database_care = Care(postgres.child)
        postgres.start(self.stopping)

    def start(self, child: Child) -> None:
        self.cares.append(Care(child))
        self.launch(self.cares[-1])

    def launch(self, care: Care) -> None:
        care.child.start()
        care.started = time.monotonic()
        care.due = None
        if care.child.pid is not None:
            self.on_start(care.child.pid)

    def watch(self) -> None:
        """Look after all until somebody asks to stop. Raises Failure (exit 6, 7)."""
        while not self.stopping():
            self.look_after_all()
            time.sleep(0.1)

    def look_after_all(self) -> None:
        """Start again what is dead and due. Without their database the others wait for it."""
        if not self.database_is_fine():
            return
        for care in self.cares:
            if not self.is_fine(care) and self.is_due(care):
                self.launch(care)
        if time.monotonic() - self.logs_looked_at > LOG_LOOK_SECONDS:
            self.logs_looked_at = time.monotonic()
            for care in self.cares:
                rotate(care.child.log)

    def database_is_fine(self) -> bool:
        """Whether it lives; a dead one is started again once that is due."""
        database, care = self.database, self.database_care
        if database is None or care is None or self.is_fine(care):
            return True
        if self.is_due(care):
            database.start(self.stopping)
            care.started = time.monotonic()
            care.due = None
        return False

    def is_fine(self, care: Care) -> bool:
        if care.child.alive():
            return True
        if care.due is None:
            care.note_death()
        return False

    def is_due(self, care: Care) -> bool:
        return care.due is not None and time.monotonic() >= care.due

    def stop(self, seconds: int) -> None:
        """End everything: our own processes together, then Redis, then PostgreSQL."""
        own = [care.child for care in self.cares if care.child.name != "redis"]
        for child in own:
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + seconds + GRACE_SECONDS
        for child in own:
            child.wait_until(deadline, self.hurried)
        for child in own:
            child.kill()
        for care in self.cares:
            if care.child.name == "redis":
                care.child.signal(signal.SIGTERM)
                care.child.wait_until(time.monotonic() + 5, self.hurried)
                care.child.kill()
        if self.database is not None:
            self.database.stop(self.hurried)
