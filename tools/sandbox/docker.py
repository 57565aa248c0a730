"""Level container: one hardened container per run through the Docker SDK."""

import contextlib
import os
import secrets
import socket
from typing import Any

import docker
import requests
from docker.errors import DockerException, ImageNotFound
from docker.types import Ulimit
from docker.utils.socket import SocketError

from tools.sandbox import cgroups, seccomp
from tools.sandbox.job import MIB, Limits
from tools.sandbox.session import BOOT, InfraError, Transport

INSTALL_LABEL, RUN_LABEL = "lemnos.install", "lemnos.run"
FAILURES = (DockerException, requests.RequestException, OSError, SocketError)


def address() -> str:
    """The engine of DOCKER_HOST, or the local socket."""
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


def connect(timeout: float = 10) -> docker.APIClient:
    """A client of the engine at `address()`. Raises DockerException, OSError."""
    base_url = address()
    if base_url.startswith("unix://"):
        # Tried by hand first: the SDK leaks its socket when nobody listens.
        with socket.socket(socket.AF_UNIX) as trial:
            trial.connect(base_url.removeprefix("unix://"))
    return docker.APIClient(base_url=base_url, version="auto", timeout=timeout)


class DockerTransport(Transport):
    """Created, attached, started, always drained, always removed."""

    level = "container"
    python = "python3"

    def __init__(
        self, limits: Limits, inodes: int, *, image: str, install: str, run_id: str = ""
    ) -> None:
        super().__init__(limits, inodes)
        self.image, self.install, self.run_id = image, install, run_id
        self.container = ""
        self.group = f"{cgroups.PREFIX}{secrets.token_hex(8)}"
        self.parent = self.group
        self.seen = cgroups.Counters()
        self.buffer = b""

    def host_config(self, client: docker.APIClient) -> dict[str, Any]:
        limits = self.limits
        tmp = f"rw,noexec,nosuid,nodev,size={limits.tmp_mb}m,nr_inodes={self.inodes},mode=1777"
        out = (
            f"rw,noexec,nosuid,nodev,size={limits.out_mb}m,nr_inodes=1024,mode=0700,"
            "uid=65534,gid=65534"
        )
        ulimits = {"nofile": 256, "core": 0, "fsize": 64 * MIB, "msgqueue": 0, "memlock": 0}
        config: dict[str, Any] = client.create_host_config(
            network_mode="none", read_only=True, cap_drop=["ALL"],
            security_opt=["no-new-privileges", f"seccomp={seccomp.profile()}"],
            mem_limit=limits.memory_mb * MIB, memswap_limit=limits.memory_mb * MIB,
            nano_cpus=int(limits.cpus * 1e9), pids_limit=limits.pids, ipc_mode="private",
            shm_size=8 * MIB, oom_score_adj=500, cgroup_parent=self.parent,
            ulimits=[Ulimit(name=name, soft=v, hard=v) for name, v in ulimits.items()],
            log_config={"Type": "none", "Config": {}}, tmpfs={"/tmp": tmp, "/out": out},
            init=False,
        )  # fmt: skip
        return config

    def start(self) -> None:
        try:
            self.client = connect()
        except FAILURES as error:
            raise InfraError(f"no container engine answers at {address()}") from error
        try:
            if self.client.info().get("CgroupDriver") == "systemd":
                self.parent = f"{self.group}.slice"
            self.container = self.client.create_container(
                self.image,
                ["python3", "-I", "-S", "-c", BOOT],
                user="65534:65534",
                network_disabled=True,
                stdin_open=True,
                tty=False,
                working_dir="/tmp",
                hostname="sandbox",
                environment={
                    "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "SANDBOX": "1",
                    "LEMNOS_CGROUP_VISIBLE": "1",
                },
                labels={INSTALL_LABEL: self.install, RUN_LABEL: self.run_id},
                host_config=self.host_config(self.client),
            )["Id"]  # fmt: skip
            # A client of its own: the attached connection must not share a pool with kill and wait.
            self.attached = connect(timeout=60)
            self.stream = self.attached.attach_socket(
                self.container, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            )
            self.socket = getattr(self.stream, "_sock", self.stream)
            self.socket.settimeout(None)
            self.client.start(self.container)
        except ImageNotFound as error:
            raise InfraError(
                "the engine does not have the sandbox image (script/sandbox-image build makes it)"
            ) from error
        except FAILURES as error:
            raise InfraError(f"the engine refused: {error}") from error

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> bytes:
        """One piece of process 1's stdout; its stderr is kept as complaint."""
        while True:
            head = self._exactly(8)
            if not head:
                return b""
            body = self._exactly(int.from_bytes(head[4:8], "big"))
            if head[0] == 1 and body:
                return body
            self.complaint = (self.complaint + body)[-4096:]

    def _exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            data = self.socket.recv(65536)
            if not data:
                return b""
            self.buffer += data
        piece, self.buffer = self.buffer[:size], self.buffer[size:]
        return piece

    def kill(self) -> None:
        with contextlib.suppress(*FAILURES):  # already gone is what was wanted
            self.client.kill(self.container, "SIGKILL")

    def finish(self) -> bool:
        try:
            self.client.wait(self.container, timeout=10)
            state = self.client.inspect_container(self.container)["State"]
        except FAILURES as error:
            raise InfraError(f"the engine did not report the end: {error}") from error
        return bool(state.get("OOMKilled"))

    def counters(self) -> cgroups.Counters:
        self.seen.merge(cgroups.tree_counters(self.parent))
        return self.seen

    def close(self) -> None:
        if not hasattr(self, "client"):
            return
        if self.container:
            with contextlib.suppress(*FAILURES):  # the reaper removes what stays
                self.client.remove_container(self.container, force=True, v=True)
        # The attached socket was taken out of its response: each of them is closed on its own.
        response = getattr(getattr(self, "stream", None), "_response", None)
        attached = [getattr(self, name, None) for name in ("stream", "socket", "attached")]
        for thing in (response, *attached, self.client):
            # ValueError: closing the response has closed the stream below it already.
            with contextlib.suppress(*FAILURES, ValueError):
                if thing is not None:
                    thing.close()
        cgroups.remove(self.parent)
