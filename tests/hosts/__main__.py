"""Reads `start ARGUMENTS…` and `kill PID` line by line; answers each with a pid."""

import os
import signal
import sys

import django


def begin(arguments: list[str]) -> int:
    """A worker process of its own, which ends with its own exit code."""
    pid = os.fork()
    if pid:
        return pid
    from django.core.management import call_command

    code = 1
    try:
        call_command("worker", *arguments)
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    django.setup()
    living: set[int] = set()
    for line in sys.stdin:
        verb, *arguments = line.split()
        if verb == "start":
            pid = begin(arguments)
            living.add(pid)
        else:
            pid = int(arguments[0])
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            living.discard(pid)
        print(pid, flush=True)  # noqa: T201  the answer
    for pid in living:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
