"""Hostile programs against the real levels: the right class, and no escape."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import requirements
from tests.tools.conftest import demand
from tools.sandbox import levels
from tools.sandbox.job import PYTHON, Job, Limits

pytestmark = pytest.mark.slow

LIMITS = Limits(
    max_execution_seconds=4, memory_mb=128, cpus=1, pids=64, tmp_mb=32, out_mb=16, output_kb=256
)
HOSTILE = (Path(__file__).parent / "hostile.py").read_bytes()
CLASSES = {
    "ok": "ok", "exit3": "failed", "fake_oom": "killed_self", "fake_oom_code": "killed_self",
    "segv": "killed_self", "mem_bomb": "oom_killed", "mem_bomb_child": "oom_killed",
    "mem_bomb_fast_child": "oom_killed", "mem_spike": "ok", "fork_bomb": "pids_exceeded",
    "thread_bomb": "pids_exceeded", "fork_bomb_recursive": "timeout", "spin": "timeout",
    "sleep_forever": "timeout", "ignore_signals": "timeout", "stop_self": "timeout",
    "kill_parent": None, "zombie_stdout": "ok", "daemon_survivor": "ok", "tmp_fill": "disk_full",
    "fd_fill": None, "write_outside": None, "out_flood": "output_truncated",
    "err_flood": "output_truncated", "out_spoof": "ok", "read_secrets": None, "fd_leak": None,
    "net": None, "setuid": None, "syscalls": None, "out_files": "ok",
}  # fmt: skip
MARKS = {"container": pytest.mark.docker, "bwrap+": pytest.mark.bwrap}


@pytest.fixture(scope="module", params=[pytest.param(k, marks=v) for k, v in MARKS.items()])
def level(request, sandbox_image) -> str:
    # Asked here too: a module's fixture is made before the markers of its tests are looked at.
    requirements.require({"container": "docker", "bwrap+": "bwrap"}[request.param])
    demand(request.param)
    return request.param


def run(level: str, name: str):
    job = Job(
        [PYTHON, "-E", "-s", "hostile.py", name], files={"hostile.py": HOSTILE}, outputs=["*"]
    )
    return levels.run_at(level, job, LIMITS, install="test")


@pytest.mark.parametrize("name", CLASSES)
def test_hostile_program_gets_its_class_and_no_escape(level, name):
    started = time.monotonic()
    report = run(level, name)
    seconds = time.monotonic() - started

    said = (report.stderr[-600:], report.usage, report.error)
    if CLASSES[name] is not None:
        assert report.result_class == CLASSES[name], said
    escapes = [line for line in report.stdout.splitlines() if b'"got": true' in line]
    assert not escapes, escapes
    assert report.level == level
    assert seconds < 12
    if name == "fork_bomb_recursive":
        assert "pids_exceeded" in report.flags
    if name == "mem_spike" and report.usage["peak_memory_bytes"]:
        assert 64 << 20 <= report.usage["peak_memory_bytes"] <= 110 << 20
    if name in {"zombie_stdout", "daemon_survivor"}:
        assert seconds < 4
    if name == "out_files":
        assert set(report.files) <= {"good.txt", "suid", "hard"}
        assert report.files["good.txt"] == b"good"
        assert len(report.refused) >= 8
    if name == "out_spoof":
        assert b"X" in report.stdout
        assert report.exit_code == 0


def test_nothing_is_left_behind(level, own_groups):
    from tools.sandbox import cgroups, docker

    run(level, "daemon_survivor")
    run(level, "sleep_forever")

    assert len(own_groups) == 2
    assert [name for name in cgroups.leftovers() if name.removesuffix(".slice") in own_groups] == []
    if level == "container":
        client = docker.connect()
        found = client.containers(all=True, filters={"label": f"{docker.INSTALL_LABEL}=test"})
        client.close()
        assert found == []


@pytest.fixture
def own_groups(monkeypatch):
    """The names of the control groups made by this process: others run on the machine too."""
    from tools.sandbox import bwrap, docker

    names: set[str] = set()
    for backend in (docker.DockerTransport, bwrap.BwrapTransport):
        monkeypatch.setattr(backend, "__init__", noting(backend.__init__, names))
    return names


def noting(init, names):
    def noted(self, *args, **kwargs):
        init(self, *args, **kwargs)
        names.add(self.group)

    return noted


def test_cancelling_ends_the_run_at_once(level):
    job = Job([PYTHON, "-c", "import time; time.sleep(60)"])
    begin = time.monotonic()

    report = levels.run_at(
        level, job, LIMITS, install="test", should_stop=lambda: time.monotonic() - begin > 0.5
    )

    assert report.result_class == "cancelled"
    assert report.usage["kill_ms"] <= 2000


def test_a_secret_of_the_worker_is_not_in_the_sandbox(level, monkeypatch):
    monkeypatch.setenv("LEMNOS_CANARY", "canary-4711")
    code = (
        "import os,glob\nfor p in glob.glob('/proc/*/environ'):\n"
        " try: print(open(p).read())\n except OSError: pass\nprint(dict(os.environ))"
    )

    report = levels.run_at(level, Job([PYTHON, "-c", code]), LIMITS, install="test")

    assert report.result_class == "ok"
    assert b"canary-4711" not in report.stdout


def test_the_programs_refuse_to_run_outside_a_sandbox():
    done = subprocess.run(
        [sys.executable, Path(__file__).parent / "hostile.py", "mem_bomb"],
        capture_output=True, env={}, check=False,
    )  # fmt: skip

    assert done.returncode != 0
    assert b"only inside a sandbox" in done.stderr
