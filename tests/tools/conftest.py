"""The shipped tools, seeded for the team."""

import fcntl
import tempfile
from pathlib import Path

import pytest

from guardian.authority import Actor
from tests import requirements
from tools import services
from tools.models import SandboxHost
from tools.sandbox import docker, image, levels


@pytest.fixture
def tools(team):
    services.seed_team(team=team)


@pytest.fixture(scope="session")
def sandbox_image() -> None:
    """The image in the engine at hand and its root file system; built once where they lack."""
    with Path(tempfile.gettempdir(), "lemnos-sandbox-image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = image.current_image()
        if found.rootfs is None or not engine_has(found.image_id):
            image.build()
            levels.forget()


def engine_has(image_id: str) -> bool:
    """True also without an engine: then there is nothing to give it."""
    if requirements.why_not("docker") is not None:
        return True
    client = docker.connect()
    try:
        return bool(image_id and client.inspect_image(image_id))
    except docker.FAILURES:
        return False
    finally:
        client.close()


def demand(level: str) -> None:
    """An engine that answers must prove its level; bwrap+ also needs writable control groups."""
    found = levels.findings()
    if level == "container":
        assert level in found.levels, found.evidence["container"]
    elif level not in found.levels:
        pytest.skip(f"bwrap: this machine does not prove {level}: {found.evidence[level]}")


@pytest.fixture
def bare_host(monkeypatch):
    """A machine that proved nothing: neither engine nor bubblewrap."""
    found = levels.Findings(levels=["none"])
    monkeypatch.setattr(levels, "findings", lambda **_: found)
    SandboxHost.objects.all().delete()


@pytest.fixture
def uploaded(lead: Actor):
    def go(content: bytes, name: str = "source.tar.gz") -> str:
        artifact, _ = services.store_file(actor=lead, name=name, content=content)
        return str(artifact.pk)

    return go
