"""A private Docker engine for machines that have none: for tests and first tries, never shared."""

import hashlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from launch.failure import Failure, tail_of
from launch.processes import program_of

START_SECONDS = 60
STOP_SECONDS = 20


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket, as a Docker engine speaks it."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=3)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(3)
        self.sock.connect(self.path)


def answers(docker_host: str) -> bool:
    """Whether an engine answers a ping there. TCP is taken at its word."""
    if not docker_host.startswith("unix://"):
        return bool(docker_host)
    connection = UnixConnection(docker_host.removeprefix("unix://"))
    try:
        connection.request("GET", "/_ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def existing() -> str | None:
    """The DOCKER_HOST of an engine that already answers on this machine, or None."""
    for host in (os.environ.get("DOCKER_HOST", ""), "unix:///var/run/docker.sock"):
        if host and answers(host):
            return host
    return None


class Engine:
    """One private dockerd with everything it owns below one short directory."""

    def __init__(self, root: Path) -> None:
        name = hashlib.sha256(str(root).encode()).hexdigest()[:8]
        self.home = Path("/var/tmp") / f"lemnos-{name}"  # noqa: S108 - a socket path must be short
        self.pid_file = self.home / "pid"
        self.log = self.home / "log"
        self.docker_host = f"unix://{self.home}/s"

    def running_pid(self) -> int | None:
        try:
            pid = int(self.pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if program_of(pid) == "dockerd" else None

    def start(self) -> str:
        """Start the engine, or find it running; returns its DOCKER_HOST. Raises Failure."""
        if self.running_pid() is not None and answers(self.docker_host):
            return self.docker_host
        if os.geteuid() != 0:
            raise Failure(1, "a private Docker engine needs root; set DOCKER_HOST to a running one")
        if shutil.which("dockerd") is None:
            raise Failure(
                1, "dockerd is not installed (apt-get install docker.io); set DOCKER_HOST"
            )
        self.stop()
        self.home.mkdir(mode=0o700)
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                self.command(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not answers(self.docker_host):
            if process.poll() is not None or time.monotonic() > deadline:
                message = f"the Docker engine did not start:\n{tail_of(self.log)}"
                self.stop()
                raise Failure(1, message)
            time.sleep(0.1)
        return self.docker_host

    def command(self) -> list[str]:
        driver = "overlay2" if overlay_works(self.home) else "vfs"
        return [
            "dockerd",
            f"--data-root={self.home}/data",
            f"--exec-root={self.home}/exec",
            f"--pidfile={self.pid_file}",
            f"--host={self.docker_host}",
            f"--storage-driver={driver}",
            "--iptables=false",
            "--ip6tables=false",
            "--bridge=none",
        ]

    def stop(self) -> None:
        """Stop the engine by its own pid and remove all it left."""
        pid = self.running_pid()
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + STOP_SECONDS
            while program_of(pid) == "dockerd":
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.1)
        for mount in sorted(mounts_below(self.home), reverse=True):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)


def mounts_below(directory: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line.split()[1] for line in lines if line.split()[1].startswith(f"{directory}/")]


def overlay_works(directory: Path) -> bool:
    """Whether this file system carries overlay mounts; vfs copies whole images."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        layers = {layer: Path(name, layer) for layer in ("lower", "upper", "work", "merged")}
        for path in layers.values():
            path.mkdir()
        options = ",".join(f"{layer}dir={layers[layer]}" for layer in ("lower", "upper", "work"))
        mounted = subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", options, str(layers["merged"])],
            check=False,
            capture_output=True,
        )
        if mounted.returncode == 0:
            subprocess.run(["umount", str(layers["merged"])], check=True)
        return mounted.returncode == 0


def main(root: Path, arguments: list[str]) -> int:
    engine = Engine(root)
    match arguments:
        case ["start"]:
            print(f"DOCKER_HOST={existing() or engine.start()}")
        case ["stop"]:
            engine.stop()
        case _:
            print("usage: script/engine start|stop", file=sys.stderr)
            return 2
    return 0
