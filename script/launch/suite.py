"""script/test: installs what the suite needs, lints, runs all tests on a database of its own."""

import os
import shutil
import subprocess
from pathlib import Path

from launch.failure import Stopped, tail
from launch.lint import check_everything
from launch.settings import refuse_unknown
from launch.venv import Virtualenv
from launch.workshop import Workshop

INTERRUPTED = 130
# Files stay whole (their modules' fixtures are dear) and start in the order the suite gives them.
SHARED = ["--dist", "loadfile", "--no-loadscope-reorder"]
# Program: the Debian packages that bring it.
PACKAGES = {
    "chromium": ["chromium", "fonts-dejavu-core"],
    "dockerd": ["docker.io"],
    "bwrap": ["bubblewrap"],
    "redis-server": ["redis-server"],
    "debootstrap": ["debootstrap"],
}


def main(root: Path, arguments: list[str]) -> int:
    """Without arguments everything; arguments go to pytest, and then nothing is linted."""
    refuse_unknown(os.environ)
    venv = Virtualenv(root)
    venv.ensure(development=True)
    install_programs()
    try:
        with Workshop(root, venv, durable=False, docker=True) as workshop:
            failed = [] if arguments else check_everything(workshop)
            if failed:
                print(f"Lint failed: {', '.join(failed)}. The tests run all the same.", flush=True)
            how = arguments or ["-n", str(processes()), *SHARED]
            code = workshop.run([str(venv.python), "-m", "pytest", "--strict-config", *how])
    except Stopped:
        return INTERRUPTED
    return code or (1 if failed else 0)


def processes() -> int:
    """One more than cores, each with a database of its own: one of them mostly waits for the
    servers and workers that its test has started. More than four wait for the disk."""
    return min(4, len(os.sched_getaffinity(0)) + 1)


def install_programs() -> None:
    """Bring missing programs by apt where that is allowed; elsewhere their tests skip visibly."""
    missing = [program for program in PACKAGES if shutil.which(program) is None]
    if not missing or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    print(f"Installing {', '.join(missing)} …", flush=True)
    packages = [package for program in missing for package in PACKAGES[program]]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q"], ["install", "-qy", "--no-install-recommends", *packages]):
        done = subprocess.run(
            ["apt-get", *command],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        if done.returncode != 0:
            print(f"apt-get {command[0]} failed; some tests will skip:\n{tail(done.stdout, 5)}")
            return
