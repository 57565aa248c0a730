"""Prove each level of this host by real runs; what fails a check is not offered."""

import json
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tools.sandbox.job import PYTHON, Job, Limits, Report
from tools.sandbox.session import InfraError, Transport, drive

MakeTransport = Callable[..., Transport]
SMALL = Limits(
    max_execution_seconds=10, memory_mb=64, cpus=1, pids=24, tmp_mb=8, out_mb=2, output_kb=64
)
LOOK = """
import ctypes, errno, json, os, socket
lines = open("/proc/self/status").read().splitlines()
status = dict(line.split(":\\t", 1) for line in lines if ":\\t" in line)
def refused(family, kind=socket.SOCK_STREAM):
    try:
        socket.socket(family, kind).close()
    except OSError:
        return True
    return False
def read(path):
    try:
        with open(path, "rb") as f:
            f.read(1)
    except OSError:
        return False
    return True
def writable(path):
    try:
        with open(path, "w"):
            pass
        os.unlink(path)
    except OSError:
        return False
    return True
print(json.dumps({
    "uid_is_nobody": os.getuid() == os.geteuid() == 65534,
    "no_capabilities": int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0,
    "no_new_privs": status["NoNewPrivs"].strip() == "1",
    "seccomp_filter": status["Seccomp"].strip() == "2",
    "root_read_only": not writable("/probe") and not writable("/usr/probe"),
    "only_loopback": set(os.listdir("/sys/class/net")) <= {"lo"} if os.path.isdir("/sys/class/net")
        else open("/proc/net/dev").read().count(":") <= 1,
    "sockets_refused":
        refused(socket.AF_INET) and refused(40) and refused(38, socket.SOCK_SEQPACKET),
    "process_1_unreadable": not read("/proc/1/environ") and not read("/proc/1/mem"),
    "tmp_writable": writable("/tmp/probe"),
}))
"""
MEMORY_BOMB = "x=[]\nwhile 1: x.append(bytearray(8<<20))"
FORK_BOMB = (
    "import os,time\n"
    "for _ in range(200):\n"
    " try:\n"
    "  if os.fork()==0:\n"
    "   time.sleep(20); os._exit(0)\n"
    " except OSError: break\n"
)
SLEEPER = "import time\ntime.sleep(60)"
PATCHED = ((1, 2, 8), (1, 3, 3))


@dataclass
class Findings:
    """What this host offers, strongest first, with evidence per level and warnings."""

    levels: list[str] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    image: str = ""


def attempt(
    make: MakeTransport, level: str, code: str, install: str, limits: Limits = SMALL
) -> Report:
    job = Job([PYTHON, "-E", "-s", "-c", code])
    try:
        transport = make(level, job, limits, install=install, run_id="probe")
    except InfraError as error:
        return Report("infra_error", level, error=str(error))
    return drive(transport, job, limits)


def looked_at(report: Report) -> dict[str, Any]:
    """The checks a run printed; a failed run is itself the finding."""
    if report.result_class != "ok":
        said = report.stderr.decode("utf-8", "replace").strip()[-300:]
        return {"ran": False, "why": report.error or f"{report.result_class}: {said}"}
    facts = json.loads(report.stdout)
    return {"ran": True, **facts} if isinstance(facts, dict) else {"ran": False}


def prove(
    make: MakeTransport, level: str, install: str, bombed: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Evidence for one level; every value True means proved.

    `bombed` is earlier evidence that held: then the costly bombs are not thrown again.
    """
    evidence = looked_at(attempt(make, level, LOOK, install))
    if not evidence["ran"] or level == "bwrap":
        return evidence
    if bombed is not None:
        return {**bombed, **evidence}
    memory = attempt(make, level, MEMORY_BOMB, install)
    evidence["memory_bomb_counted"] = memory.result_class == "oom_killed"
    forks = attempt(make, level, FORK_BOMB, install)
    evidence["fork_bomb_counted"] = "pids_exceeded" in forks.flags
    short = SMALL.lowered({"max_execution_seconds": 1})
    sleeper = attempt(make, level, SLEEPER, install, short)
    kill_ms = sleeper.usage.get("kill_ms")
    evidence["sleeper_gone_in_2_s"] = (
        sleeper.result_class == "timeout" and kill_ms is not None and kill_ms <= 2000
    )
    return evidence


def holds(evidence: dict[str, Any]) -> bool:
    return all(value is True for value in evidence.values())


def runc_warning() -> list[str]:
    """The known-vulnerable runc versions are named, not hidden."""
    if not shutil.which("runc"):
        return []
    done = subprocess.run(["runc", "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", done.stdout)
    if not found:
        return []
    version = tuple(int(part) for part in found.groups())
    old = version < PATCHED[0] or (1, 3, 0) <= version < PATCHED[1]
    text = ".".join(map(str, version))
    return [f"runc {text} has known escapes; use 1.2.8, 1.3.3 or newer."] if old else []


def bwrap_version() -> tuple[int, ...]:
    if not shutil.which("bwrap"):
        return ()
    done = subprocess.run(["bwrap", "--version"], capture_output=True, text=True, check=False)
    return tuple(int(part) for part in re.findall(r"\d+", done.stdout)[:3])


def probe_host(
    make: MakeTransport, *, install: str = "", earlier: Findings | None = None
) -> Findings:
    """Try every level by real runs; with `earlier` findings, proved bombs are not repeated."""
    started = time.monotonic()
    found = Findings()
    candidates = ["container"]
    if bwrap_version() >= (0, 8):
        candidates += ["bwrap+", "bwrap"]
    else:
        for level in ("bwrap+", "bwrap"):
            found.evidence[level] = {
                "ran": False,
                "why": "bubblewrap 0.8 or newer is not installed",
            }
    for level in candidates:
        proved = earlier is not None and level in earlier.levels
        known = earlier.evidence[level] if earlier is not None and proved else None
        found.evidence[level] = prove(make, level, install, known)
        if holds(found.evidence[level]):
            found.levels.append(level)
    found.levels.append("none")
    found.evidence["none"] = {"ran": True}
    found.evidence["host"] = {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "seconds": round(time.monotonic() - started, 2),
    }
    if "container" in found.levels:
        found.warnings += runc_warning()
    return found
