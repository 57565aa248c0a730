"""Which levels this host has proved, and one job at one of them."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tools.sandbox.bwrap import BwrapTransport
from tools.sandbox.child import ChildTransport
from tools.sandbox.image import Image, current_image
from tools.sandbox.job import Job, Limits, Report, ShouldStop, never
from tools.sandbox.probe import Findings, probe_host
from tools.sandbox.session import InfraError, Transport, drive

FRESH_SECONDS = 45
# So long the bombs of a full proof are believed; the plain checks are made each minute.
PROVED_SECONDS = 600
_lock = threading.Lock()


@dataclass
class Known:
    """This process's newest findings and when they, and their full proof, were made."""

    findings: Findings | None = None
    at: float = 0.0
    proved_at: float = 0.0


_known = Known()


def findings(
    *, fresh: bool = False, install: str = "", believed: float = FRESH_SECONDS
) -> Findings:
    """This process's newest probe, at most `believed` seconds old; made once for all threads."""
    with _lock:
        found = _known.findings
        if fresh or found is None or is_stale(believed):
            now = time.monotonic()
            proved = not fresh and now - _known.proved_at < PROVED_SECONDS
            earlier = found if proved else None
            found = probe_host(transport_for, install=install, earlier=earlier)
            _known.findings = found
            _known.at = time.monotonic()
            if earlier is None:
                _known.proved_at = _known.at
        return found


def local_levels() -> list[str]:
    """Levels of this host, strongest first; `none` always."""
    return findings().levels


def is_stale(believed: float = FRESH_SECONDS) -> bool:
    """Whether the next question would probe anew."""
    return _known.findings is None or time.monotonic() - _known.at > believed


def forget() -> None:
    """After an infra_error nothing is taken for granted."""
    with _lock:
        _known.findings = None


def transport_for(
    level: str, job: Job, limits: Limits, *, install: str = "", run_id: str = ""
) -> Transport:
    """The transport of a level. Raises InfraError without an image."""
    if level == "none":
        return ChildTransport(limits, job.inodes)
    image = current_image()
    if level == "container":
        return _container(image, job, limits, install, run_id)
    if image.rootfs is None:
        raise InfraError("there is no sandbox image (script/sandbox-image build makes it)")
    return BwrapTransport(
        limits, job.inodes, rootfs=Path(image.rootfs), with_cgroup=level == "bwrap+"
    )


def _container(image: Image, job: Job, limits: Limits, install: str, run_id: str) -> Transport:
    from tools.sandbox.docker import DockerTransport

    if not image.image_id:
        raise InfraError("there is no sandbox image (script/sandbox-image build makes it)")
    return DockerTransport(limits, job.inodes, image=image.image_id, install=install, run_id=run_id)


def run_at(
    level: str,
    job: Job,
    limits: Limits,
    *,
    install: str = "",
    run_id: str = "",
    should_stop: ShouldStop = never,
) -> Report:
    """Run one job at exactly this level; never at a weaker one."""
    try:
        transport = transport_for(level, job, limits, install=install, run_id=run_id)
    except InfraError as error:
        return Report("infra_error", level, error=str(error))
    return drive(transport, job, limits, should_stop)
