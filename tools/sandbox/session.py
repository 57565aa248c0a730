"""Drive one run over any level: send the job, read frames, decide, kill, count, judge."""

import contextlib
import json
import struct
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from guardian import metrics
from tools.sandbox.cgroups import Counters
from tools.sandbox.classify import Evidence, classify
from tools.sandbox.collect import accept_file
from tools.sandbox.job import MIB, PYTHON, Job, Limits, Report, ShouldStop, never

SUPERVISOR = (Path(__file__).parent / "supervisor.py").read_bytes()
# Reads the script from the same standard input as the job that follows it.
BOOT = (
    "import os\n"
    "def take(n):\n"
    " b=b''\n"
    " while len(b)<n:\n"
    "  c=os.read(0,n-len(b))\n"
    "  if not c: raise SystemExit('no script')\n"
    "  b+=c\n"
    " return b\n"
    "exec(compile(take(int.from_bytes(take(4),'big')),'supervisor','exec'))\n"
)
TICK = 0.02
STOP_CHECK_SECONDS = 0.25
GRACE_SECONDS = 5.0


class InfraError(Exception):
    """The host, not the tool, failed: create, start, attach or wait."""


class Transport(ABC):
    """One way to start process 1 and to end it."""

    level: str
    python = "python3"
    workdir = "/tmp/work"  # noqa: S108 - a path inside the sandbox's own tmpfs
    outdir = "/out"

    def __init__(self, limits: Limits, inodes: int) -> None:
        self.limits, self.inodes = limits, inodes
        self.complaint = b""  # what process 1 said on its own stderr

    def rlimits(self) -> dict[str, int]:
        """Limits set on the tool by the supervisor; the engine or launcher sets the others."""
        return {}

    @abstractmethod
    def start(self) -> None:
        """Start process 1. Raises InfraError."""

    @abstractmethod
    def send(self, data: bytes) -> None: ...

    @abstractmethod
    def receive(self) -> bytes:
        """The next bytes of process 1's stdout, b"" at its end."""

    @abstractmethod
    def kill(self) -> None:
        """End everything of this run; called from the driving thread, never from the reader."""

    @abstractmethod
    def finish(self) -> bool:
        """Wait for the end after EOF; True if the engine says the kernel ran out of memory."""

    @abstractmethod
    def close(self) -> None:
        """Remove every trace."""

    def counters(self) -> Counters:
        return Counters()


def payload(job: Job, limits: Limits, transport: Transport) -> list[bytes]:
    """The bytes for process 1, see supervisor.py."""
    env = {
        "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": transport.workdir, "LANG": "C.UTF-8",
        "TMPDIR": transport.workdir, "SANDBOX": "1", "SANDBOX_OUT": transport.outdir,
        "PYTHONDONTWRITEBYTECODE": "1", **job.env,
    }  # fmt: skip
    header = json.dumps(
        {
            "argv": [transport.python if word == PYTHON else word for word in job.argv],
            "env": env,
            "cwd": transport.workdir,
            "outdir": transport.outdir,
            "stdin_size": len(job.stdin),
            "files": [{"path": name, "size": len(data)} for name, data in job.files.items()],
            "outputs": job.outputs,
            "output_bytes": limits.output_kb * 1024,
            "rlimits": transport.rlimits(),
            # The runner's deadline comes first; this one holds when the runner is gone.
            "deadline": limits.max_execution_seconds + 2,
        }
    ).encode()
    return [
        struct.pack("!I", len(SUPERVISOR)) + SUPERVISOR,
        struct.pack("!I", len(header)) + header + job.stdin,
        *job.files.values(),
    ]


class Reader(threading.Thread):
    """Takes every frame until the end; it never kills, else an engine may hang."""

    def __init__(self, transport: Transport, limits: Limits) -> None:
        super().__init__(name="sandbox-reader", daemon=True)
        self.transport = transport
        self.room = 2 * limits.output_kb * 1024 + 10 * MIB + 65536
        self.streams: dict[bytes, list[bytes]] = {b"O": [], b"E": []}
        self.files: dict[bytes, bytes] = {}
        self.facts: dict[bytes, Any] = {}
        self.started = threading.Event()
        self.failure = ""
        self.overrun = False

    def run(self) -> None:
        buffer = b""
        try:
            while data := self.transport.receive():
                self.room -= len(data)
                if self.room < 0:
                    self.overrun = True  # drained, not kept
                    continue
                buffer = self.take_frames(buffer + data)
        except (OSError, ValueError) as error:
            self.failure = f"{type(error).__name__}: {error}"

    def take_frames(self, buffer: bytes) -> bytes:
        while len(buffer) >= 5:
            kind, size = buffer[:1], int.from_bytes(buffer[1:5], "big")
            if len(buffer) < 5 + size:
                break
            self.take(kind, buffer[5 : 5 + size])
            buffer = buffer[5 + size :]
        return buffer

    def take(self, kind: bytes, body: bytes) -> None:
        if kind in self.streams:
            self.streams[kind].append(body)
        elif kind == b"F":
            size = int.from_bytes(body[:2], "big")
            self.files[body[2 : 2 + size]] = body[2 + size :]
        else:
            self.facts[kind] = json.loads(body)
            if kind == b"S":
                self.started.set()


class Run:
    """One run: the clock, the one decision, the evidence."""

    def __init__(
        self, transport: Transport, job: Job, limits: Limits, should_stop: ShouldStop
    ) -> None:
        self.transport, self.job, self.limits = transport, job, limits
        self.should_stop = should_stop
        self.reader = Reader(transport, limits)
        self.counters = Counters()
        self.decision = self.failure = ""
        self.kill_ms: int | None = None

    def write_all(self) -> None:
        with contextlib.suppress(OSError):  # process 1 died: its exit says why
            for part in payload(self.job, self.limits, self.transport):
                self.transport.send(part)

    def decide(self, what: str) -> None:
        """Store the decision, then kill: the order makes the cause certain."""
        self.decision = self.decision or what
        self.counters.merge(self.transport.counters())
        started = time.monotonic()
        self.transport.kill()
        self.reader.join(GRACE_SECONDS)
        self.kill_ms = int((time.monotonic() - started) * 1000)

    def watch(self) -> None:
        begin = time.monotonic()
        deadline: float | None = None
        next_stop_check = 0.0
        while self.reader.is_alive():
            self.reader.join(TICK)
            self.counters.merge(self.transport.counters())
            now = time.monotonic()
            if deadline is None and self.reader.started.is_set():
                deadline = now + self.limits.max_execution_seconds
            if deadline is None and now - begin > 30:
                self.failure = "process 1 did not start the tool within 30 s"
                self.transport.kill()
                return
            if deadline is not None and now > deadline:
                self.decide("timeout")
                return
            if self.reader.overrun:
                self.decide("output_truncated")
                return
            if now >= next_stop_check:
                next_stop_check = now + STOP_CHECK_SECONDS
                if self.should_stop():
                    self.decide("cancelled")
                    return

    def report(self, *, engine_oom: bool) -> Report:
        facts = self.reader.facts
        own = facts.get(b"C", {})
        self.counters.merge(
            Counters(
                own.get("oom_kill", 0), own.get("pids_max_hits", 0), own.get("peak_memory_bytes")
            )
        )
        ended = facts.get(b"X")
        decision = self.decision or facts.get(b"L", {}).get("decision", "")
        out, err = (b"".join(self.reader.streams[kind]) for kind in (b"O", b"E"))
        infra = self.failure or self.reader.failure
        if not (ended or decision or infra or engine_oom or self.counters.oom_kill):
            said = self.transport.complaint.decode(errors="replace")[-500:]
            infra = f"process 1 ended without a report: {said or 'it said nothing'}"
        evidence = Evidence(
            infra_error=infra,
            decision=decision,
            oom_kill=self.counters.oom_kill,
            engine_oom=engine_oom,
            pids_max_hits=self.counters.pids_max_hits,
            exit_code=ended["code"] if ended else None,
            stderr=err,
        )
        result, flags = classify(evidence)
        files: dict[str, bytes] = {}
        refused = list(facts.get(b"R", []))
        for name, content in self.reader.files.items():
            accept_file(name, content, files, refused)
        usage = {
            "peak_memory_bytes": self.counters.peak_memory_bytes,
            "cpu_seconds": own.get("cpu_seconds"),
            "wall_ms": ended["wall_ms"] if ended else None,
            "kill_ms": self.kill_ms,
            "stdout_bytes": len(out),
            "stderr_bytes": len(err),
            "limits_hit": flags,
            "evidence": {
                "oom_kill": self.counters.oom_kill,
                "pids_max_hits": self.counters.pids_max_hits,
                "engine_oom": engine_oom,
                "cgroup_readable": self.counters.readable,
            },
        }
        return Report(
            result, self.transport.level, flags, evidence.exit_code, out, err, files, refused,
            usage, infra,
        )  # fmt: skip


def drive(
    transport: Transport, job: Job, limits: Limits, should_stop: ShouldStop = never
) -> Report:
    """Run the job to its end and judge it; failures of the host come back as infra_error."""
    run = Run(transport, job, limits, should_stop)
    try:
        with metrics.SANDBOX_START_SECONDS.timed():
            transport.start()
        run.reader.start()
        writer = threading.Thread(target=run.write_all, name="sandbox-writer", daemon=True)
        writer.start()
        run.watch()
        run.reader.join(GRACE_SECONDS)
        engine_oom = transport.finish()
        run.counters.merge(transport.counters())
        return run.report(engine_oom=engine_oom)
    except InfraError as error:
        return Report("infra_error", transport.level, error=str(error))
    finally:
        transport.close()
