"""One server for each data directory, one installer for each virtualenv, by kernel locks.

A kernel file lock ends with its process, however it dies, so it is never stale.
"""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launch.failure import ALREADY_RUNNING, PORT_IN_USE, Failure


class ServerLock:
    """Held by the running server; its file says who that is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def take(self, url: str) -> None:
        """Raises Failure (exit 3) when another server holds it."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self.path.read_text().strip() or "still starting"
            raise Failure(ALREADY_RUNNING, f"already running ({holder})") from None
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"pid {os.getpid()}, {url}\n".encode(), 0)

    def release(self) -> None:
        os.ftruncate(self.descriptor, 0)
        os.close(self.descriptor)


@contextmanager
def directory_lock(directory: Path) -> Iterator[None]:
    """Wait for, hold and release the lock on a directory itself."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def refuse_taken_port(bind: str, port: int) -> None:
    """Raises Failure (exit 4) when something listens there, or the address is not ours."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the web process does: connections of the last server in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Failure(PORT_IN_USE, f"port {port} is in use; set LEMNOS_PORT") from None
            reason = f"cannot listen on {bind} port {port} ({error.strerror}); set LEMNOS_BIND"
            raise Failure(PORT_IN_USE, reason) from None
