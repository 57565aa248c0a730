"""The shipped tools, seeded for the team."""

import pytest

from guardian.authority import Actor
from tools import services
from tools.models import SandboxHost
from tools.sandbox import levels


@pytest.fixture
def tools(team):
    services.seed_team(team=team)


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
