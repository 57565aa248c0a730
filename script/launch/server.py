"""script/server: from an empty machine to a running Lemnos, and all its processes until the end."""

import http.client
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from launch.children import Child
from launch.failure import (
    CHILD_KEEPS_DYING,
    DATABASE_FAILED,
    WRONG_SETTING,
    Failure,
    Stopped,
    tail_of,
)
from launch.leftovers import Leftovers
from launch.locks import ServerLock, refuse_taken_port
from launch.place import Place, find_place, socket_directory
from launch.postgres import Postgres
from launch.redis import NOTICE, find_redis, redis_child, redis_url
from launch.say import below_the_key, say
from launch.secrets import ensure_secrets
from launch.settings import Options, read_options
from launch.signals import Signals
from launch.supervisor import Supervisor
from launch.venv import Virtualenv

READY_SECONDS = 60
# Shorter ones can be guessed.
SHORTEST_TOKEN = 24
DATABASE = "lemnos"


class Server:
    """One run of Lemnos: the steps of a start in their order, then the watch over its processes."""

    def __init__(self, root: Path, options: Options) -> None:
        self.root = root
        self.options = options
        self.data_dir = options.data_dir
        self.venv = Virtualenv(root)
        self.signals = Signals()
        self.supervisor = Supervisor(self.signals.stopping, self.signals.hurried)
        self.environment: dict[str, str] = {}
        self.secrets: dict[str, str] = {}

    def run(self) -> int:
        lock = self.prepare_data_dir()
        leftovers = Leftovers(self.data_dir / "run" / "children.json")
        self.supervisor.on_start = leftovers.remember
        try:
            leftovers.end()
            refuse_taken_port(self.options.bind, self.options.port)
            self.start()
            self.signals.interrupt = False
            self.supervisor.watch()
        except Stopped:
            pass  # the end is the same, however far the start had come
        finally:
            self.signals.interrupt = False
            self.end(lock, leftovers)
        return 0

    def end(self, lock: ServerLock, leftovers: Leftovers) -> None:
        """End all processes; whoever asked for it is told when it begins and when it is done."""
        asked = self.signals.stopping()
        if asked:
            below_the_key()
            say("Stopping … (Ctrl-C again stops at once)")
        self.supervisor.stop(self.options.shutdown_seconds)
        leftovers.forget()
        lock.release()
        if asked:
            say("Stopped.")

    def start(self) -> None:
        self.venv.ensure()
        self.secrets = ensure_secrets(self.data_dir / "secrets")
        place = self.start_database()
        self.start_redis(place)
        say("Preparing the database …")
        facts = self.prepare_database()
        say("Starting web, worker and relay …")
        self.environment["PROMETHEUS_MULTIPROC_DIR"] = str(self.empty_metrics())
        for child in self.own_processes():
            self.supervisor.start(child)
        self.wait_until_ready()
        self.announce(password_changed=facts["password_changed"])

    def prepare_data_dir(self) -> ServerLock:
        """The private directories and the lock that makes them ours. Raises Failure."""
        try:
            for name in ("", "pg", "run", "log", "secrets", "backups"):
                directory = self.data_dir / name
                directory.mkdir(mode=0o700, parents=not name, exist_ok=True)
                directory.chmod(0o700)
            lock = ServerLock(self.data_dir / "run" / "server.lock")
        except OSError as error:
            message = f"cannot use the data directory: {error}; set LEMNOS_DATA_DIR"
            raise Failure(WRONG_SETTING, message) from None
        lock.take(self.options.url)
        return lock

    def set_environment(self) -> None:
        """What every process of Lemnos is told; a database of our own is added by its start."""
        self.environment = {
            **self.venv.environment,
            **self.secrets,
            "LEMNOS_DATA_DIR": str(self.data_dir),
            "LEMNOS_PORT": str(self.options.port),
            "LEMNOS_BIND": self.options.bind,
            "LEMNOS_SHUTDOWN_SECONDS": str(self.options.shutdown_seconds),
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "PYTHONUNBUFFERED": "1",
            # Compiled once for all processes. Not below the data directory: root runs this code,
            # and the data directory belongs to the database's user.
            "PYTHONPYCACHEPREFIX": str(self.venv.directory / "pycache"),
        }
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        if self.options.database_url:
            self.environment["DATABASE_URL"] = self.options.database_url
        else:
            self.environment.setdefault("LEMNOS_BACKUPS", "hourly")

    def empty_metrics(self) -> Path:
        """Where web, worker and relay count together; what an earlier run counted is over."""
        directory = self.data_dir / "run" / "metrics"
        directory.mkdir(mode=0o700, exist_ok=True)
        for file in directory.glob("*.db"):
            file.unlink()
        return directory

    def start_database(self) -> Place | None:
        self.set_environment()
        if self.options.database_url:
            return None
        place = find_place(site_packages=self.venv.site_packages, data_dir=self.data_dir)
        if not place.cluster.exists():
            say(f"Making a new database in {place.cluster} …")
        postgres = Postgres(place, self.log("postgres"))
        postgres.ensure_cluster()
        say("Starting the database …")
        self.supervisor.start_database(postgres)
        postgres.ensure_database(DATABASE)
        self.environment["DATABASE_URL"] = postgres.url(DATABASE)
        return place

    def start_redis(self, place: Place | None) -> None:
        if self.options.redis_url:
            self.environment["REDIS_URL"] = self.options.redis_url
            return
        program = find_redis(self.venv.site_packages)
        if program is None:
            say(NOTICE)
            return
        sockets = place.sockets if place else socket_directory(self.data_dir / "run", None)
        self.supervisor.start(redis_child(program, place, sockets, self.log("redis")))
        self.environment["REDIS_URL"] = redis_url(sockets)

    def prepare_database(self) -> dict[str, Any]:
        """Back up, migrate, seed: one Django process under one lock. Raises Failure (exit 6)."""
        backup = []
        if self.supervisor.database is not None:
            backup = ["--backups", str(self.data_dir / "backups")]
        log = self.log("prepare")
        with log.open("ab") as file:
            process = subprocess.Popen(
                [str(self.venv.python), "manage.py", "prepare", *backup],
                cwd=self.root,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=file,
            )
            try:
                answer, _ = process.communicate()
            except Stopped:
                process.terminate()
                process.wait()
                raise
        if process.returncode != 0:
            message = f"the database could not be prepared:\n{tail_of(log)}"
            raise Failure(DATABASE_FAILED, message)
        facts: dict[str, Any] = json.loads(answer.splitlines()[-1])
        if facts["backup"]:
            say(f"Backed up before migrating: {facts['backup']}")
        return facts

    def own_processes(self) -> list[Child]:
        python = str(self.venv.python)
        # What each is told stands in its environment: the same commands run in containers.
        commands = {name: [python, "manage.py", name] for name in ("web", "worker", "relay")}
        return [
            Child(name, command, self.log(name), self.root, self.environment)
            for name, command in commands.items()
        ]

    def log(self, name: str) -> Path:
        return self.data_dir / "log" / f"{name}.log"

    def wait_until_ready(self) -> None:
        """Raises Failure (exit 7) when /readyz does not say yes within 60 s."""
        deadline = time.monotonic() + READY_SECONDS
        while not self.ready():
            self.supervisor.look_after_all()
            if time.monotonic() > deadline:
                logs = "\n".join(
                    f"{name}: {tail_of(self.log(name), 7)}" for name in ("web", "worker", "relay")
                )
                message = f"not ready after {READY_SECONDS} s; the last log lines:\n{logs}"
                raise Failure(CHILD_KEEPS_DYING, message)
            time.sleep(0.1)

    def ready(self) -> bool:
        anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - only compared with
        host = anywhere.get(self.options.bind, self.options.bind)
        connection = http.client.HTTPConnection(host, self.options.port, timeout=5)
        try:
            connection.request("GET", "/readyz", headers={"Host": "localhost"})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def announce(self, *, password_changed: bool) -> None:
        """To the terminal only: the password is in no log."""
        password = "(changed)" if password_changed else self.secrets["LEMNOS_ADMIN_PASSWORD"]
        print(f"Lemnos is ready: {self.options.url}")
        print(f"User: admin  Password: {password}")
        if 0 < len(os.environ.get("LEMNOS_BOOTSTRAP_TOKEN", "")) < SHORTEST_TOKEN:
            print(
                f"Warning: LEMNOS_BOOTSTRAP_TOKEN has fewer than {SHORTEST_TOKEN} characters: "
                "it works, but can be guessed."
            )
        print(f"Logs: {self.data_dir / 'log'}  Ctrl-C stops everything.", flush=True)


def main(root: Path, arguments: list[str]) -> int:
    if arguments:
        raise Failure(WRONG_SETTING, "script/server takes no arguments; see docs/settings.md")
    os.umask(0o022)
    return Server(root, read_options(root)).run()
