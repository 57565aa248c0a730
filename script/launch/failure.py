"""How the launcher ends early: a sentence that says what to do, and an exit code of its own."""

from pathlib import Path

WRONG_SETTING = 2
ALREADY_RUNNING = 3
PORT_IN_USE = 4
INSTALL_FAILED = 5
DATABASE_FAILED = 6
CHILD_KEEPS_DYING = 7

LONGEST_LINE = 500


class Failure(Exception):
    """The launcher cannot go on; `code` is the exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Stopped(BaseException):
    """A signal asked the launcher to end while it was busy starting."""


def tail(text: str, lines: int = 20) -> str:
    """The last lines, each cut to what a terminal can show: one may hold a whole traceback."""
    return "\n".join(line[:LONGEST_LINE] for line in text.rstrip().splitlines()[-lines:])


def tail_of(path: Path, lines: int = 20) -> str:
    """The last lines of a log file; an absent file says so."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 64 * 1024))
            return tail(file.read().decode(errors="replace"), lines)
    except FileNotFoundError:
        return f"(no log at {path})"
