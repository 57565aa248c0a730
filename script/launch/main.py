"""The one entry of every script: picks the command, prints a failure, gives its exit code."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from launch.failure import Failure

ROOT = Path(__file__).resolve().parent.parent.parent
COMMANDS = {
    "server": "launch.server",
    "test": "launch.suite",
    "lint": "launch.lint",
    "bench": "launch.bench",
    "manage": "launch.manage",
    "engine": "launch.engine",
    "sandbox-image": "launch.image",
}


def main() -> None:
    """Run `argv[1]`'s module with the rest of the arguments and exit with its code."""
    run: Callable[[Path, list[str]], int] = import_module(COMMANDS[sys.argv[1]]).main
    try:
        code = run(ROOT, sys.argv[2:])
    except Failure as failure:
        print(failure, file=sys.stderr)
        code = failure.code
    sys.exit(code)
