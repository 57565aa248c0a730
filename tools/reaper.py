"""Remove what runs left behind: containers of this installation, directories, control groups."""

import os
import shutil
import tempfile
import time
from pathlib import Path
from uuid import UUID

import structlog

from tools import runner
from tools.models import ToolExecution
from tools.sandbox import cgroups, child, docker

log = structlog.get_logger(__name__)
# Nothing younger than this is touched: a run may be about to take its row or to clean up itself.
YOUNG_SECONDS = 120


def reap() -> dict[str, int]:
    """One round: {containers, directories, groups} removed."""
    counts = {"containers": reap_containers(), "directories": reap_directories(), "groups": 0}
    if os.geteuid() == 0:
        counts["groups"] = reap_groups()
    if any(counts.values()):
        log.info("sandbox_leftovers_removed", **counts)
    return counts


def _is_needed(run_id: str) -> bool:
    """Whether a container's run is running under a lease."""
    try:
        wanted = UUID(run_id)
    except ValueError:
        return False
    return ToolExecution.objects.filter(pk=wanted, status="running").exists()


def reap_containers() -> int:
    """Containers with our label whose run is over, unknown, or a probe left alone."""
    removed = 0
    try:
        client = docker.connect()
        found = client.containers(
            all=True, filters={"label": f"{docker.INSTALL_LABEL}={runner.install_id()}"}
        )
        for container in found:
            old = time.time() - container["Created"] > YOUNG_SECONDS
            if old and not _is_needed(container["Labels"].get(docker.RUN_LABEL, "")):
                client.remove_container(container["Id"], force=True, v=True)
                removed += 1
        client.close()
    except docker.FAILURES:
        return removed  # no engine, nothing of ours in it that could be removed now
    return removed


def reap_directories() -> int:
    removed = 0
    for path in Path(tempfile.gettempdir()).glob(f"{child.PREFIX}*"):
        if _age(path) > 3700:  # longer than the longest run
            shutil.rmtree(path, ignore_errors=True)
            removed += 1
    return removed


def reap_groups() -> int:
    """Control groups without processes; a running one cannot be removed anyway."""
    removed = 0
    for name in cgroups.leftovers():
        youngest = min((_age(path) for path in cgroups.folders_of(name)), default=0.0)
        if youngest > YOUNG_SECONDS and cgroups.is_empty(name):
            removed += cgroups.remove(name)
    return removed


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
