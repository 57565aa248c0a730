"""What a host too weak for the work says, and that it is asked anew before it refuses."""

from dataclasses import dataclass, replace

import pytest

from guardian.errors import IsolationUnavailable
from tests.tools.archives import PASSING, tar_gz
from tools import runner, services
from tools.models import SandboxHost
from tools.sandbox import levels
from tools.services.hosts import isolation_error

pytestmark = pytest.mark.usefixtures("tools")

BARE = levels.Findings(
    levels=["none"],
    evidence={
        "container": {"ran": False, "why": "there is no sandbox image"},
        "bwrap+": {"ran": True, "memory_bomb_counted": False, "sockets_refused": True},
    },
)
REPAIRED = replace(BARE, levels=["container", "none"])


@dataclass
class Probes:
    answers: list[levels.Findings]
    made: list[levels.Findings]

    def __call__(self, *_, **__) -> levels.Findings:
        self.made.append(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
        return self.made[-1]


@pytest.fixture
def probes(monkeypatch):
    """The probes this host will make, in order; the last is made again and again."""
    probes = Probes([BARE], [])
    monkeypatch.setattr(levels, "_known", levels.Known())
    monkeypatch.setattr(levels, "probe_host", probes)
    return probes


class TestCause:
    def test_a_refusal_names_it_and_has_no_marks_of_markdown(self):
        error = isolation_error("container", ["none"], [BARE.evidence])

        assert str(error) == (
            "This needs isolation level “container”, which no host offers now:"
            " there is no sandbox image. The best at hand is “none”."
        )
        assert error.data == {"needed": "container", "offered": "none"}
        assert "`" not in f"{error}{error.remedy_text}"

    def test_a_failed_check_is_named_in_words(self):
        error = isolation_error("bwrap+", ["none"], [BARE.evidence])

        assert "the probe failed at: memory bomb counted" in str(error)

    def test_without_any_worker_that_is_the_cause(self, lead):
        SandboxHost.objects.all().delete()

        with pytest.raises(IsolationUnavailable) as refused:
            services.require_level_at_hand(needed="container")

        assert "no host with a sandbox worker is up" in str(refused.value)

    def test_hosts_that_reported_tell_theirs(self, lead):
        services.record_host(
            name="far", levels=["none"], evidence=BARE.evidence, warnings=[], image=""
        )

        with pytest.raises(IsolationUnavailable, match="there is no sandbox image"):
            services.require_level_at_hand(needed="container")


class TestAskedAgain:
    def test_a_repaired_engine_is_seen_with_the_next_try(self, probes, monkeypatch):
        probes.answers[:] = [BARE, REPAIRED]
        assert runner.levels_for("none") == ["none"]
        # What was found a moment ago is believed; a while later it is asked anew.
        monkeypatch.setattr(runner, "ASKED_AGAIN_SECONDS", -1)

        assert runner.weakest_sufficient("container") == "container"
        assert probes.made == [BARE, REPAIRED]
        assert SandboxHost.objects.get(name=runner.host_name()).levels == ["container", "none"]

    def test_a_crowd_of_tickets_is_refused_by_one_probe(self, probes, lead, uploaded):
        for _ in range(5):
            with pytest.raises(IsolationUnavailable, match="there is no sandbox image"):
                runner.execute(
                    tool="pytest_run",
                    actor=lead,
                    input={"archive_id": uploaded(tar_gz(PASSING))},
                    origin="upload",
                )

        assert len(probes.made) == 1

    def test_a_host_strong_enough_is_not_asked_again(self, probes, monkeypatch):
        probes.answers[:] = [REPAIRED]
        monkeypatch.setattr(runner, "ASKED_AGAIN_SECONDS", -1)

        for _ in range(3):
            runner.levels_for("container")

        assert len(probes.made) == 1
