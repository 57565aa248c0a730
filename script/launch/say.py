"""What a start and a stop tell the person at the terminal, in plain lines."""

import sys
from contextlib import suppress


def say(line: str) -> None:
    """Print a line at once; a terminal that is gone must not keep anything from ending."""
    with suppress(OSError, ValueError):
        print(line, flush=True)


def below_the_key() -> None:
    """Begin a new line where the terminal has just echoed ^C."""
    with suppress(OSError, ValueError):
        if sys.stdout.isatty():
            print(flush=True)
