"""Level none: a child process with limits and a deadline, for trusted code only."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.sandbox.job import MIB, Limits
from tools.sandbox.session import BOOT, InfraError, Transport

PREFIX = "lemnos-run-"


class ChildTransport(Transport):
    """The server's own interpreter in its own session and temporary directory."""

    level = "none"

    def __init__(self, limits: Limits, inodes: int) -> None:
        super().__init__(limits, inodes)
        self.python = sys.executable
        self.base = ""
        self.process: subprocess.Popen[bytes] | None = None

    def rlimits(self) -> dict[str, int]:
        return {
            "RLIMIT_AS": 4 * self.limits.memory_mb * MIB,
            "RLIMIT_CORE": 0,
            "RLIMIT_FSIZE": 256 * MIB,
            "RLIMIT_NOFILE": 1024,
        }

    def start(self) -> None:
        try:
            self.base = tempfile.mkdtemp(prefix=PREFIX)
            self.workdir, self.outdir = f"{self.base}/work", f"{self.base}/out"
            Path(self.outdir).mkdir(mode=0o700)
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", BOOT],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                cwd=self.base, env={"LANG": "C.UTF-8"}, start_new_session=True, bufsize=0,
            )  # fmt: skip
        except OSError as error:
            raise InfraError(f"cannot start a child process: {error}") from error

    def send(self, data: bytes) -> None:
        pipe = self._running().stdin
        view = memoryview(data)
        while pipe is not None and view:
            view = view[pipe.write(view) or 0 :]

    def receive(self) -> bytes:
        pipe = self._running().stdout
        return pipe.read(65536) or b"" if pipe is not None else b""

    def kill(self) -> None:
        process = self._running()
        # TERM makes the supervisor end all descendants, also those in other sessions.
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def finish(self) -> bool:
        process = self._running()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()
        if process.stderr is not None:
            os.set_blocking(process.stderr.fileno(), False)
            self.complaint = process.stderr.read(65536) or b""
        return False

    def close(self) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                self.kill()
                self.process.wait(5)
            for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        if self.base:
            shutil.rmtree(self.base, ignore_errors=True)

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise InfraError("the child process was never started")
        return self.process
