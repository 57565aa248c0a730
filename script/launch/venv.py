"""The project's own virtualenv: made once, filled only when the requirements or Python changed."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from launch.failure import INSTALL_FAILED, Failure, tail
from launch.locks import directory_lock
from launch.say import say

Requirements = tuple[tuple[str, bool], ...]
# (file, with its dependencies)
RUNTIME: Requirements = (("requirements.txt", True), ("requirements-nodeps.txt", False))
DEVELOPMENT: Requirements = (("requirements-dev.txt", True),)
LABELS = {"runtime": "", "development": " for tests and lint"}
# Somebody who waits is told this often that it goes on.
TOLD_EACH_SECONDS = 30


class Virtualenv:
    """`.venv` below the project's root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = root / ".venv"
        self.python = self.directory / "bin" / "python"

    def ensure(self, *, development: bool = False) -> None:
        """Make and fill the virtualenv where needed. Raises Failure (exit 5)."""
        with directory_lock(self.root):
            if not self.usable():
                self.create()
            self.install("runtime", RUNTIME)
            if development:
                self.install("development", DEVELOPMENT)

    def usable(self) -> bool:
        """Whether it was made whole, by this Python: a killed start leaves half of one."""
        made_by = self.directory / "made-by"
        try:
            return (
                self.python.exists()
                and made_by.exists()
                and made_by.read_text() == python_identity()
            )
        except PermissionError as error:
            hint = "run as the user it belongs to, or from a clone of your own"
            message = f"{error.filename} cannot be used by this user; {hint}"
            raise Failure(INSTALL_FAILED, message) from None

    def create(self) -> None:
        if self.directory.is_symlink():
            raise Failure(
                INSTALL_FAILED, f"{self.directory} is a link to another Python; remove it"
            )
        shutil.rmtree(self.directory, ignore_errors=True)
        say(f"Making a Python environment in {self.directory} …")
        failures = []
        for make in (self.by_venv, self.by_virtualenv):
            done = make()
            if done.returncode == 0:
                (self.directory / "made-by").write_text(python_identity())
                return
            failures.append(done.stdout)
            shutil.rmtree(self.directory, ignore_errors=True)
        hint = "no virtualenv could be made; install python3-venv or pip"
        raise Failure(INSTALL_FAILED, "\n".join([*map(tail, failures), hint]))

    def by_venv(self) -> subprocess.CompletedProcess[str]:
        return run([sys.executable, "-m", "venv", str(self.directory)])

    def by_virtualenv(self) -> subprocess.CompletedProcess[str]:
        """Debian's Python has no ensurepip: pip brings virtualenv into a directory thrown away."""
        with tempfile.TemporaryDirectory() as tools:
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", tools]
            got = run([*pip, "virtualenv"])
            if got.returncode != 0:
                return got
            make = [sys.executable, "-m", "virtualenv", str(self.directory)]
            return run(make, PYTHONPATH=tools)

    def install(self, name: str, requirements: Requirements) -> None:
        """Install where the stamp differs. The stamp is written last: a killed pip leaves none."""
        stamp = self.directory / f"stamp-{name}"
        wanted = self.digest(requirements)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        say(f"Installing Python packages{LABELS[name]} (1 to 4 minutes the first time) …")
        started = time.monotonic()
        for file, with_dependencies in requirements:
            options = [] if with_dependencies else ["--no-deps"]
            command = [str(self.python), "-m", "pip", "install", "--no-input", *options]
            done = run([*command, "-r", str(self.root / file)], since=started)
            if done.returncode != 0:
                hint = "no network? set PIP_INDEX_URL"
                raise Failure(INSTALL_FAILED, f"{tail(done.stdout)}\n{hint}")
        stamp.write_text(wanted)
        say(f"The packages are installed ({time.monotonic() - started:.0f} s).")

    def digest(self, requirements: Requirements) -> str:
        """SHA-256 over the requirement files (dev includes runtime's) and the Python."""
        hashed = hashlib.sha256(python_identity().encode())
        for file in dict.fromkeys([*(name for name, _ in RUNTIME), *(n for n, _ in requirements)]):
            hashed.update((self.root / file).read_bytes())
        return hashed.hexdigest()

    @property
    def site_packages(self) -> Path:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.directory / "lib" / version / "site-packages"

    @property
    def environment(self) -> dict[str, str]:
        """What programs of the virtualenv run with: its bin first, nothing of a foreign Python."""
        kept = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONHOME"}}
        path = f"{self.directory / 'bin'}:{os.environ.get('PATH', os.defpath)}"
        return {**kept, "VIRTUAL_ENV": str(self.directory), "PATH": path}


def python_identity() -> str:
    return f"{sys.implementation.cache_tag} {sys.version_info[:3]} {sys.base_prefix}"


def run(
    command: list[str], *, since: float | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run to the end and keep what it says; `since` (monotonic s): tell meanwhile how long."""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **variables},
    ) as process:
        try:
            while True:
                try:
                    said, _ = process.communicate(timeout=TOLD_EACH_SECONDS if since else None)
                except subprocess.TimeoutExpired:
                    say(f"… still at it, {time.monotonic() - (since or 0):.0f} s so far")
                else:
                    return subprocess.CompletedProcess(command, process.returncode, said)
        except BaseException:
            # Asked to stop in the middle: nothing goes on behind the prompt.
            process.kill()
            raise
