"""Processes of a server that was killed before it could end them."""

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from launch.processes import started_at, state_of

PATIENCE_SECONDS = 5


class Leftovers:
    """Remembers each child by pid and start time, which together never name another process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, str | None] = {}

    def remember(self, pid: int) -> None:
        self.known[str(pid)] = started_at(pid)
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps(self.known))
        draft.rename(self.path)

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)

    def end(self) -> None:
        """End what the last server left running: it holds our port and our database."""
        try:
            found = json.loads(self.path.read_text())
        except (FileNotFoundError, ValueError):
            return
        alive = {int(pid): born for pid, born in found.items() if is_same(int(pid), born)}
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in alive:
                signal_group(pid, number)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while alive and time.monotonic() < deadline:
                alive = {pid: born for pid, born in alive.items() if is_same(pid, born)}
                time.sleep(0.05)
        self.forget()


def is_same(pid: int, born: str | None) -> bool:
    return state_of(pid) not in {None, "Z"} and started_at(pid) == born


def signal_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # gone, or meanwhile somebody else's
        os.killpg(pid, number)
