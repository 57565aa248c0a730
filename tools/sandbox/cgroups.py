"""A control group per run, version 1 or 2: limits, counters, removal."""

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "pids", "cpu")
PREFIX = "lemnos-"


def is_v2() -> bool:
    return (ROOT / "cgroup.controllers").exists()


def read(path: Path) -> str:
    """The file's text, "" when it is gone or closed to us."""
    try:
        return path.read_text()
    except OSError:
        return ""


def value_of(text: str, key: str) -> int:
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == key and value.strip().isdigit():
            return int(value)
    return 0


def first_number(text: str) -> int | None:
    word = text.strip()
    return int(word) if word.isdigit() else None


@dataclass
class Counters:
    """What the kernel counted; None = nobody could read it."""

    oom_kill: int = 0
    pids_max_hits: int = 0
    peak_memory_bytes: int | None = None
    readable: bool = False

    def merge(self, other: "Counters") -> None:
        """Keep the higher value of each: files vanish with the container, so they are polled."""
        self.oom_kill = max(self.oom_kill, other.oom_kill)
        self.pids_max_hits = max(self.pids_max_hits, other.pids_max_hits)
        peaks = [p for p in (self.peak_memory_bytes, other.peak_memory_bytes) if p is not None]
        self.peak_memory_bytes = max(peaks, default=None)
        self.readable = self.readable or other.readable


def counters_at(memory: Path, pids: Path) -> Counters:
    """Counters of one group, given its directory for each controller (the same one on v2)."""
    if is_v2():
        events = read(memory / "memory.events")
        peak = first_number(read(memory / "memory.peak"))
        oom = value_of(events, "oom_kill")
    else:
        events = read(memory / "memory.oom_control")
        peak = first_number(read(memory / "memory.max_usage_in_bytes"))
        oom = value_of(events, "oom_kill")
    hits = value_of(read(pids / "pids.events"), "max")
    return Counters(oom, hits, peak, bool(events))


def tree_counters(name: str) -> Counters:
    """Counters of the group `name` and everything below it, as far as readable."""
    found = Counters()
    top = ROOT if is_v2() else ROOT / "memory"
    pids_top = ROOT if is_v2() else ROOT / "pids"
    folders = [top / name]
    with contextlib.suppress(OSError):
        folders += [entry for entry in (top / name).iterdir() if entry.is_dir()]
    for folder in folders:
        found.merge(counters_at(folder, pids_top / folder.relative_to(top)))
    if not found.readable:
        # The memory tree may be gone before the pids tree: still look there.
        with contextlib.suppress(OSError):
            for entry in (pids_top / name).iterdir():
                found.pids_max_hits = max(
                    found.pids_max_hits, value_of(read(entry / "pids.events"), "max")
                )
    return found


def hierarchies() -> list[Path]:
    """Where groups lie: one tree on v2, one for each controller and manager on v1."""
    if is_v2():
        return [ROOT]
    with contextlib.suppress(OSError):
        return [entry for entry in sorted(ROOT.iterdir()) if entry.is_dir()]
    return []


def paths_of(name: str) -> list[Path]:
    return [ROOT / name] if is_v2() else [ROOT / kind / name for kind in CONTROLLERS]


def create(name: str, *, memory_mb: int, pids: int, cpus: float) -> list[Path]:
    """Make the group with its limits; answers its directories. Raises OSError if not writable."""
    paths = paths_of(name)
    memory_bytes = str(memory_mb * 1024 * 1024)
    period = 100_000
    if is_v2():
        (ROOT / "cgroup.subtree_control").write_text("+memory +pids +cpu")
        paths[0].mkdir()
        settings = {
            "memory.max": memory_bytes, "memory.swap.max": "0", "memory.oom.group": "0",
            "pids.max": str(pids), "cpu.max": f"{int(cpus * period)} {period}",
        }  # fmt: skip
        for key, value in settings.items():
            target = paths[0] / key
            if target.exists() or key == "memory.max":
                target.write_text(value)
        return paths
    for path in paths:
        path.mkdir()
    memory, pids_dir, cpu = paths
    (memory / "memory.limit_in_bytes").write_text(memory_bytes)
    if (memory / "memory.memsw.limit_in_bytes").exists():
        (memory / "memory.memsw.limit_in_bytes").write_text(memory_bytes)
    (pids_dir / "pids.max").write_text(str(pids))
    (cpu / "cpu.cfs_period_us").write_text(str(period))
    (cpu / "cpu.cfs_quota_us").write_text(str(int(cpus * period)))
    return paths


def kill_all(paths: list[Path]) -> None:
    """SIGKILL every process still in the group."""
    for path in paths:
        for word in read(path / "cgroup.procs").split():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(word), signal.SIGKILL)


def remove(name: str) -> bool:
    """Remove the group and its children everywhere; False if something is still inside."""
    clean = True
    for path in folders_of(name):
        for _ in range(50):
            for folder, _, _ in os.walk(path, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
            if not path.exists():
                break
            time.sleep(0.02)
        clean = clean and not path.exists()
    return clean


def folders_of(name: str) -> list[Path]:
    """The group's directory in each hierarchy that has one; an engine fills some of its own."""
    return [top / name for top in hierarchies() if (top / name).is_dir()]


def is_empty(name: str) -> bool:
    """Whether no process is in the group or below it, in any hierarchy."""
    return not any(
        read(Path(folder) / "cgroup.procs")
        for top in folders_of(name)
        for folder, _, _ in os.walk(top)
    )


def leftovers() -> list[str]:
    """Names of groups that runs of any install left behind, in whatever hierarchy."""
    found: set[str] = set()
    for top in hierarchies():
        with contextlib.suppress(OSError):
            found |= {entry.name for entry in top.iterdir() if entry.name.startswith(PREFIX)}
    return sorted(found)
