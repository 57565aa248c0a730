"""The embedded PostgreSQL 18: one cluster, served by our own child process."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from launch.account import give, run_as
from launch.children import Child
from launch.failure import DATABASE_FAILED, Failure, tail
from launch.place import Place
from launch.processes import all_pids, directory_of, program_of

SUPERUSER = "lemnos"
START_SECONDS = 60
FAST_STOP_SECONDS = 30
BACKENDS_SECONDS = 10


class Postgres:
    """Makes, starts, heals and stops one cluster. `durable=False` is for throw-away clusters."""

    def __init__(self, place: Place, log: Path, *, durable: bool = True) -> None:
        self.place = place
        self.log = log
        self.durable = durable
        self.child = Child(
            name="postgres",
            command=self.command(),
            log=log,
            directory=place.home,
            environment={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            account=place.account,
            # Left by a killed launcher it stops fast: its clients die with the launcher too.
            death_signal=signal.SIGINT,
        )

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": f'"{self.place.sockets}"',
            "max_connections": "200",
            "shared_buffers": "128MB",
            "log_timezone": "UTC",
            "timezone": "UTC",
        }
        if not self.durable:
            settings |= {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
        flags = [f"--{name}={value}" for name, value in settings.items()]
        return [self.program("postgres"), "-D", str(self.place.cluster), *flags]

    def program(self, name: str) -> str:
        return str(self.place.binaries / "bin" / name)

    def url(self, database: str) -> str:
        return f"postgres://{SUPERUSER}@/{database}?host={quote(str(self.place.sockets), safe='/')}"

    def ensure_cluster(self) -> None:
        """Make the cluster where there is none. It gets its name only when it is complete."""
        cluster = self.place.cluster
        draft = cluster.with_name("data.new")
        shutil.rmtree(draft, ignore_errors=True)
        if not cluster.exists():
            draft.mkdir(mode=0o700)
            give(draft, self.place.account)
            options = ["-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--locale=C"]
            options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            options += ["--data-checksums"] if self.durable else ["--no-sync"]
            command = [self.program("initdb"), "-D", str(draft), *options]
            made = run_as(self.place.account, command)
            if made.returncode != 0:
                raise Failure(DATABASE_FAILED, f"initdb failed:\n{tail(made.stdout)}")
            draft.rename(cluster)
        version = (cluster / "PG_VERSION").read_text().strip()
        if version != "18":
            message = f"{cluster} is of PostgreSQL {version}, Lemnos runs 18; restore a backup"
            raise Failure(DATABASE_FAILED, message)

    def start(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Start and wait until it answers. Raises Failure (exit 6) after 60 s."""
        self.clear_the_way()
        self.child.start()
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if not self.child.alive() or time.monotonic() > deadline:
                self.stop(hurried=lambda: True)
                message = f"PostgreSQL did not start:\n{self.child.last_words()}"
                raise Failure(DATABASE_FAILED, message)
            if stopping():
                return
            time.sleep(0.05)

    def answers(self) -> bool:
        return self.ask("postgres", "SELECT 1").returncode == 0

    def ask(self, database: str, sql: str) -> subprocess.CompletedProcess[str]:
        connect = ["-h", str(self.place.sockets), "-U", SUPERUSER, "-d", database]
        return run_as(self.place.account, [self.program("psql"), "-XAtq", *connect, "-c", sql])

    def ensure_database(self, name: str) -> None:
        if self.ask(name, "SELECT 1").returncode == 0:
            return
        made = self.ask("postgres", f'CREATE DATABASE "{name}"')
        if made.returncode != 0:
            raise Failure(DATABASE_FAILED, f"cannot make database {name}:\n{tail(made.stdout)}")

    def clear_the_way(self) -> None:
        """Judge what an earlier server left: stop one that lives, clean up after one that died.

        After kill -9 PostgreSQL itself cannot tell a zombie or a stranger with the old pid from
        a living server, and would refuse to start.
        """
        pid_file = self.place.cluster / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().splitlines()[0])
        except FileNotFoundError:
            pid = 0
        except (ValueError, IndexError):
            pid = 0  # cut off while it was written: its server never ran
        if pid and pid in self.our_processes():
            self.stop_foreign(pid)
        deadline = time.monotonic() + BACKENDS_SECONDS
        while self.our_processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        for left in self.our_processes():
            signal_if_there(left, signal.SIGKILL)
        while self.our_processes():
            time.sleep(0.05)
        pid_file.unlink(missing_ok=True)
        # The socket has a lock file with the same pid; its directory is private, so it is ours.
        for name in (".s.PGSQL.5432.lock", ".s.PGSQL.5432"):
            (self.place.sockets / name).unlink(missing_ok=True)

    def our_processes(self) -> list[int]:
        """Every live `postgres` process, server or backend, that works in our cluster."""
        cluster = self.place.cluster.resolve()
        return [
            pid
            for pid in all_pids()
            if program_of(pid) == "postgres" and directory_of(pid) == cluster
        ]

    def stop_foreign(self, pid: int) -> None:
        for number, seconds in ((signal.SIGINT, FAST_STOP_SECONDS), (signal.SIGQUIT, 5)):
            signal_if_there(pid, number)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                if program_of(pid) != "postgres":
                    return
                time.sleep(0.05)

    def stop(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """Fast stop; immediate after 30 s or when somebody is in a hurry."""
        self.child.signal(signal.SIGINT)
        if not self.child.wait_until(time.monotonic() + FAST_STOP_SECONDS, hurried):
            self.child.signal(signal.SIGQUIT)
            if not self.child.wait_until(time.monotonic() + 5, lambda: False):
                self.child.kill()


def signal_if_there(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):  # it may have ended by itself
        os.kill(pid, number)
