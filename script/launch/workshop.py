"""A PostgreSQL, a Redis and an environment of its own for tests, linters and benches."""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from launch import engine
from launch.children import Child, die_with_parent
from launch.failure import Failure, Stopped
from launch.place import SHARED, find_place, short_hash
from launch.postgres import Postgres
from launch.redis import find_redis, redis_child, redis_url
from launch.settings import refuse_unknown
from launch.signals import Signals
from launch.venv import Virtualenv

PREFIX = "lemnos-test-"
DATABASE = "lemnos"
# Settings of the installation that must not reach what runs here.
FOREIGN = ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE", "WORKER_CONCURRENCY")
LAST_WORDS_SECONDS = 15


class Workshop:
    """Everything lies in one directory that is gone afterwards, however the run ends.

    After kill -9 nobody can clean up: the kernel ends the children, the next run the directory.
    """

    def __init__(self, root: Path, venv: Virtualenv, *, durable: bool, docker: bool) -> None:
        refuse_unknown(os.environ)
        self.root = root
        self.venv = venv
        self.durable = durable
        self.docker = docker
        self.environment: dict[str, str] = {}
        self.endings: list[Callable[[], object]] = []
        self.signals = Signals()

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> None:
        sweep()
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))
        self.endings.append(lambda: shutil.rmtree(directory, ignore_errors=True))
        hold(directory)
        for name in ("pg", "run", "data"):
            (directory / name).mkdir(mode=0o700)
        place = find_place(site_packages=self.venv.site_packages, data_dir=directory)
        apart = SHARED / short_hash(directory)
        self.endings.append(lambda: shutil.rmtree(apart, ignore_errors=True))
        postgres = Postgres(place, directory / "postgres.log", durable=self.durable)
        postgres.ensure_cluster()
        self.endings.append(lambda: postgres.stop(hurried=lambda: True))
        postgres.start()
        postgres.ensure_database(DATABASE)
        self.environment = {
            **{k: v for k, v in self.venv.environment.items() if not is_foreign(k)},
            "DATABASE_URL": postgres.url(DATABASE),
            "LEMNOS_DATA_DIR": str(directory / "data"),
            "LEMNOS_SECRET_KEY": "only-for-tests-" * 4,
            "LEMNOS_TOKEN_PEPPERS": "t1:" + "00" * 32,
            "LEMNOS_WEBHOOK_KEY": "00" * 32,
        }
        program = find_redis(self.venv.site_packages)
        if program is not None:
            redis = redis_child(program, place, place.sockets, directory / "redis.log")
            self.endings.append(lambda: end(redis))
            redis.start()
            self.environment["REDIS_URL"] = redis_url(place.sockets)
        if self.docker:
            self.find_engine()

    def find_engine(self) -> None:
        """Use the machine's Docker engine, else start a private one where that is possible."""
        private = engine.Engine(self.root)
        host = engine.existing()
        if host is None:
            ours = private.running_pid() is None
            try:
                host = private.start()
            except Failure as failure:
                print(f"No Docker engine: {failure}", flush=True)
                return
            if ours:
                self.endings.append(private.stop)
        self.environment["DOCKER_HOST"] = host

    def close(self) -> None:
        self.signals.interrupt = False
        while self.endings:
            self.endings.pop()()

    def run(self, command: list[str], **variables: str) -> int:
        """Run a command here with its output on the terminal; returns its exit code."""
        process = subprocess.Popen(
            command,
            cwd=self.root,
            env={**self.environment, **variables},
            preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509 - one thread only
        )
        try:
            return process.wait()
        except Stopped:
            # Ctrl-C reached it too; SIGTERM did not. Either way it may say what it has done.
            process.send_signal(signal.SIGINT)
            try:
                process.wait(LAST_WORDS_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            raise


def is_foreign(name: str) -> bool:
    ours = name.startswith("LEMNOS_") and name != "LEMNOS_REQUIRE"
    return ours or name in FOREIGN


def end(child: Child) -> None:
    child.signal(signal.SIGTERM)
    child.wait_until(time.monotonic() + 5, lambda: False)
    child.kill()


def hold(directory: Path) -> int:
    """Mark the directory as in use for as long as this process lives."""
    descriptor = os.open(directory / "in-use", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def sweep() -> None:
    """Remove directories of runs that were killed: nobody holds their mark any more."""
    for directory in Path("/tmp").glob(f"{PREFIX}*"):  # noqa: S108 - our own prefix
        try:
            os.close(hold(directory))
        except OSError:
            continue  # in use, or another user's
        shutil.rmtree(directory, ignore_errors=True)
