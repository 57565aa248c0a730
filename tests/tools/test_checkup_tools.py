"""What the checkup runs: inventory, tests and lint of archives, at the level each needs."""

import pytest

from tests.tools.archives import PASSING, bomb, tar_gz, zipped
from tests.tools.conftest import demand
from tools import runner, services
from tools.jobs import probe_host
from tools.models import SandboxHost
from tools.sandbox import levels

FAILING = {**PASSING, "pkg-1.0/tests/test_bad.py": "def test_bad():\n    assert 1 == 2\n"}
MISSING = {"pkg/tests/test_x.py": "import requests_not_there\n\ndef test_x():\n    pass\n"}


def run(actor, tool, value, origin="upload"):
    return runner.execute(tool=tool, actor=actor, input=value, origin=origin)


@pytest.fixture
def engine(tools, sandbox_image):
    demand("container")
    found = levels.findings()
    services.record_host(
        name="here", levels=found.levels, evidence=found.evidence, warnings=[], image=""
    )


@pytest.fixture
def bwrap_only(tools, sandbox_image, monkeypatch):
    demand("bwrap+")
    found = levels.Findings(levels=["bwrap+", "bwrap", "none"])
    monkeypatch.setattr(levels, "findings", lambda **_: found)
    services.record_host(name="here", levels=found.levels, evidence={}, warnings=[], image="")


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
class TestUploadedTestsRunInAContainer:
    def test_passing(self, lead, uploaded):
        done = run(lead, "pytest_run", {"archive_id": uploaded(tar_gz(PASSING))})

        assert (done.status, done.isolation_level) == ("completed", "container")
        output = done.output_data
        assert (output["total"], output["passed"], output["exit_code"]) == (1, 1, 0)
        assert output["reason"] == ""
        assert done.artifacts.get().name == "junit.xml"

    def test_failing(self, lead, uploaded):
        output = run(lead, "pytest_run", {"archive_id": uploaded(zipped(FAILING))}).output_data

        assert (output["total"], output["passed"], output["failed"]) == (2, 1, 1)
        assert output["exit_code"] == 1
        assert output["failures"][0]["test"].endswith("::test_bad")

    def test_none(self, lead, uploaded):
        done = run(lead, "pytest_run", {"archive_id": uploaded(tar_gz({"p/a.py": "x = 1\n"}))})

        assert (done.output_data["total"], done.output_data["exit_code"]) == (0, 5)
        assert done.output_data["reason"] == "The source has no tests."

    def test_missing_modules_are_named(self, lead, uploaded):
        output = run(lead, "pytest_run", {"archive_id": uploaded(tar_gz(MISSING))}).output_data

        assert output["missing_modules"] == ["requests_not_there"]
        assert "requests_not_there" in output["reason"]
        assert output["errors"] == 1

    def test_endless(self, lead, uploaded):
        endless = {"p/test_x.py": "def test_x():\n    while True: pass\n"}

        done = run(
            lead, "pytest_run", {"archive_id": uploaded(tar_gz(endless)), "timeout_seconds": 3}
        )

        assert (done.status, done.result_class) == ("timeout", "timeout")
        assert "longer than its 3 seconds" in done.error_message

    def test_a_bomb_is_refused(self, lead, uploaded):
        done = run(lead, "pytest_run", {"archive_id": uploaded(bomb(210 * 1024 * 1024))})

        assert (done.status, done.output_data["refused"]["code"]) == ("failed", "archive_too_large")

    def test_code_runs_and_hands_out_files(self, lead):
        code = "import os;open(os.environ['SANDBOX_OUT']+'/a.txt','w').write('hi');print('done')"

        done = run(lead, "run_python", {"code": code, "outputs": ["a.txt"]}, origin="")

        assert done.output_data["stdout"] == "done\n"
        assert [f["name"] for f in done.output_data["files"]] == ["a.txt"]
        assert done.resource_usage["peak_memory_bytes"] > 0

    def test_the_probe_stores_its_evidence(self):
        probe_host.func()

        host = SandboxHost.objects.live().get(name=runner.host_name())

        assert host.levels[0] == "container"
        assert host.evidence["container"]["no_capabilities"] is True


@pytest.mark.bwrap
@pytest.mark.usefixtures("bwrap_only")
class TestWithBubblewrapOnly:
    def test_lint_reads_an_upload(self, lead, uploaded):
        bad = {"p/a.py": "import os\n"}

        done = run(lead, "lint_run", {"archive_id": uploaded(tar_gz(bad))})

        assert (done.status, done.isolation_level) == ("completed", "bwrap+")
        assert done.output_data["count"] == 1
        finding = done.output_data["findings"][0]
        assert (finding["file"], finding["code"], finding["line"]) == ("a.py", "F401", 1)

    def test_a_lowered_floor_lets_tests_run_in_bubblewrap(self, lead, uploaded, settings):
        settings.UNTRUSTED_LEVEL = "bwrap+"

        done = run(lead, "pytest_run", {"archive_id": uploaded(tar_gz(PASSING))})

        assert (done.status, done.isolation_level) == ("completed", "bwrap+")
        assert done.output_data["passed"] == 1


@pytest.mark.usefixtures("tools", "bare_host")
class TestOwnSourceOnABareMachine:
    def test_its_selfcheck_subset_runs(self, lead):
        done = run(lead, "pytest_run", {}, origin="self")

        assert (done.status, done.isolation_level) == ("completed", "none"), done.error_message
        assert done.output_data["exit_code"] == 0, done.stderr[-2000:]
        assert done.output_data["total"] >= 20

    def test_lint_runs(self, lead):
        done = run(lead, "lint_run", {}, origin="self")

        assert done.status == "completed", done.stderr
        assert isinstance(done.output_data["count"], int)
