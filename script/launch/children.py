"""One long-running child process: started with its log, asked to end, killed with its group."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from launch.failure import tail_of

LOG_LIMIT_BYTES = 20 * 1024 * 1024
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Account:
    """The user a child runs as when the launcher is root."""

    name: str
    uid: int
    gid: int


@dataclass
class Child:
    """A program and, while it lives, its process. Each has a session of its own, so that
    Ctrl-C reaches the launcher alone and the children end in the right order."""

    name: str
    command: list[str]
    log: Path
    directory: Path
    environment: dict[str, str]
    account: Account | None = None
    death_signal: int = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        rotate(self.log)
        # Appending, so that the log can be cut while the child writes.
        with self.log.open("ab") as log:
            os.fchmod(log.fileno(), 0o600)
            self.process = subprocess.Popen(
                self.command,
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self.account.uid if self.account else None,
                group=self.account.gid if self.account else None,
                extra_groups=[] if self.account else None,
                preexec_fn=die_with_parent(self.death_signal),  # noqa: PLW1509 - one thread only
            )

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """Kill the child and whatever it started: its whole group."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):  # nobody of the group may be left
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait_until(self, deadline: float, hurried: Callable[[], bool]) -> bool:
        """Whether it ended before the deadline (monotonic seconds) and before anyone hurried."""
        while self.alive():
            if time.monotonic() > deadline or hurried():
                return False
            time.sleep(0.05)
        return True

    def last_words(self) -> str:
        return tail_of(self.log)


def die_with_parent(number: int) -> Callable[[], None] | None:
    """Ask the kernel to signal the child when the launcher dies, even by kill -9. Linux only."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def arrange() -> None:
        libc.prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # it died between fork and prctl
            os._exit(1)

    return arrange


def rotate(log: Path) -> None:
    """Keep one older copy of a log that grew too long; the writer appends, so it may be cut."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)
