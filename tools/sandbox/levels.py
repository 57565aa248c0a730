"""Which levels this host has proved, and one job at one of them."""

import threading
import time
from pathlib import Path

from tools.sandbox.bwrap import BwrapTransport
from tools.sandbox.child import ChildTransport
from tools.sandbox.image import Image, current_image
from tools.sandbox.job import Job, Limits, Report, ShouldStop, never
from tools.sandbox.probe import Findings, probe_host
from tools.sandbox.session import InfraError, Transport, drive

FRESH_SECONDS = 60
_lock = threading.Lock()
_known: tuple[float, Findings] | None = None


def findings(*, fresh: bool = False, install: str = "") -> Findings:
    """This process's newest probe, at most 60 s old; probing happens once for all threads."""
    global _known  # noqa: PLW0603  one host, one answer
    with _lock:
        now = time.monotonic()
        if fresh or _known is None or now - _known[0] > FRESH_SECONDS:
            _known = (time.monotonic(), probe_host(transport_for, install=install))
        return _known[1]


def local_levels() -> list[str]:
    """Levels of this host, strongest first; `none` always."""
    return findings().levels


def is_stale() -> bool:
    """Whether the next question would probe anew."""
    return _known is None or time.monotonic() - _known[0] > FRESH_SECONDS


def forget() -> None:
    """After an infra_error nothing is taken for granted."""
    global _known  # noqa: PLW0603  see findings
    with _lock:
        _known = None


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
        raise InfraError("there is no sandbox root file system: script/sandbox-image build")
    return BwrapTransport(
        limits, job.inodes, rootfs=Path(image.rootfs), with_cgroup=level == "bwrap+"
    )


def _container(image: Image, job: Job, limits: Limits, install: str, run_id: str) -> Transport:
    from tools.sandbox.docker import DockerTransport

    if not image.image_id:
        raise InfraError("there is no sandbox image: script/sandbox-image build")
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
