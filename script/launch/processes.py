"""What other processes on this machine are: told by /proc, else by ps."""

import subprocess
from pathlib import Path


def state_of(pid: int) -> str | None:
    """The one-letter state ("Z" is a zombie), or None when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ask_ps(pid, "state")
    return stat.rpartition(")")[2].split()[0]


def program_of(pid: int) -> str | None:
    """The program's file name; None for no process, a zombie, or one that cannot be looked into."""
    if (state_of(pid) or "Z").startswith("Z"):
        return None
    try:
        return Path(f"/proc/{pid}/exe").readlink().name.removesuffix(" (deleted)")
    except OSError:
        command = ask_ps(pid, "comm")
        return Path(command).name if command else None


def directory_of(pid: int) -> Path | None:
    """The process's working directory, or None when it cannot be told."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None


def started_at(pid: int) -> str | None:
    """The kernel's start time of a process: with the pid it names one process for ever."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ask_ps(pid, "lstart")
    return stat.rpartition(")")[2].split()[19]


def all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]


def ask_ps(pid: int, column: str) -> str | None:
    if Path("/proc/self/stat").exists():
        return None
    answer = subprocess.run(
        ["ps", "-o", f"{column}=", "-p", str(pid)], check=False, capture_output=True, text=True
    )
    return answer.stdout.strip() or None
