"""Whole installations: script/server with a data directory and a port of its own."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from launch.children import die_with_parent
from launch.place import find_place
from launch.postgres import Postgres
from launch.processes import program_of
from launch.redis import find_redis, redis_child
from launch.venv import Virtualenv

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 180
# A killed server takes its database along; its worker then ends only when its time is up.
BRIEF = {"LEMNOS_SHUTDOWN_SECONDS": "5"}
FOREIGN = ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE")


class Installation:
    """One data directory; started, asked and ended as a person would."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.output = data_dir.with_suffix(".out")
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self, **variables: str) -> "subprocess.Popen[bytes]":
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("LEMNOS_") and name not in FOREIGN
        }
        own = {"LEMNOS_DATA_DIR": str(self.data_dir), "LEMNOS_PORT": str(self.port)}
        with self.output.open("wb") as output:
            return subprocess.Popen(
                [ROOT / "script" / "server"],
                env={**kept, **own, "LEMNOS_DEMO": "0", **BRIEF, **variables},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A suite that is killed in the middle leaves no server behind.
                preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509 - nothing else forks
            )

    def start(self, **variables: str) -> None:
        """Start and wait for the printed URL."""
        self.process = self.launch(**variables)
        self.until(lambda: "Lemnos is ready" in self.said() or self.process.poll() is not None)
        assert self.process.poll() is None, self.said()

    def refused(self, **variables: str) -> tuple[int, str]:
        """The exit code and words of a start that must fail."""
        process = self.launch(**variables)
        return process.wait(60), self.said()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def said(self) -> str:
        return self.output.read_text()

    def until(self, condition: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        until(condition, self.said, seconds)

    def ask(self, path: str) -> tuple[int, str]:
        """The HTTP status and the body there; 0 when nobody answers."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}{path}", timeout=10
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def password(self) -> str:
        return (self.data_dir / "secrets" / "admin_password").read_text().strip()

    def login(self, password: str) -> bool:
        """Whether the login form lets `admin` in."""
        jar = urllib.request.HTTPCookieProcessor()
        opener = urllib.request.build_opener(jar)
        url = f"http://localhost:{self.port}/login"
        page = opener.open(url, timeout=20).read().decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        form = {"csrfmiddlewaretoken": token[1], "username": "admin", "password": password}
        with suppress(urllib.error.HTTPError):  # refused
            opener.open(url, urllib.parse.urlencode(form).encode(), timeout=20).close()
        return any(cookie.name == "sessionid" for cookie in jar.cookiejar)

    def status(self, path: str) -> int:
        return self.ask(path)[0]

    def ready(self) -> bool:
        return self.status("/readyz") == 200

    def postmaster(self) -> int:
        return int((self.data_dir / "pg" / "data" / "postmaster.pid").read_text().split()[0])

    def children(self) -> list[int]:
        """Web, worker, relay and Redis, as the server remembers them."""
        return [int(pid) for pid in json.loads(self.remembered().read_text())]

    def remembered(self) -> Path:
        return self.data_dir / "run" / "children.json"

    def processes(self) -> list[int]:
        return [pid for pid in [*self.children(), self.postmaster()] if program_of(pid)]

    def ask_database(self, sql: str) -> str:
        """One value, asked through its own socket as the database's own user."""
        place = find_place(
            site_packages=Virtualenv(ROOT).site_packages, data_dir=self.data_dir.resolve()
        )
        return (
            Postgres(place, self.data_dir / "log" / "asked.log").ask("lemnos", sql).stdout.strip()
        )

    def kill_everything(self) -> None:
        """kill -9 for all, the server held still first so that it restarts nothing."""
        self.process.send_signal(signal.SIGSTOP)
        for pid in [self.postmaster(), *self.children(), self.process.pid]:
            with suppress(ProcessLookupError):  # one restarted earlier has an older entry too
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)

    def kill_starting(self, process: "subprocess.Popen[bytes]") -> None:
        """kill -9 for the launcher and whatever it runs just then."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def remove(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
        shutil.rmtree(self.data_dir, ignore_errors=True)
        self.output.unlink(missing_ok=True)


def until(
    condition: Callable[[], bool], why: Callable[[], str], seconds: float = START_SECONDS
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited too long:\n{why()}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_installation() -> Installation:
    if not (ROOT / ".venv" / "stamp-runtime").exists():
        pytest.skip("no .venv here: script/test makes it")
    # Not pytest's own directory: the database's user could not reach below it.
    return Installation(Path(tempfile.mkdtemp(prefix="lemnos-server-", dir="/tmp")))


@pytest.fixture
def installation() -> Iterator[Installation]:
    """An empty one."""
    made = make_installation()
    yield made
    made.remove()


@pytest.fixture
def own_redis(tmp_path) -> Iterator[Path]:
    """The socket of a Redis that the launcher did not start."""
    program = find_redis(Virtualenv(ROOT).site_packages)
    if program is None:
        pytest.skip("redis: no redis-server here")
    child = redis_child(program, None, tmp_path, tmp_path / "redis.log")
    child.start()
    until((tmp_path / "redis.sock").exists, child.last_words)
    yield tmp_path / "redis.sock"
    child.kill()


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    """One that is up; tests that share it leave it up."""
    made = make_installation()
    try:
        made.start()
        yield made
    finally:
        made.remove()
