"""The launcher's parts, without starting anything."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from launch import settings
from launch.failure import Failure, tail
from launch.leftovers import is_same
from launch.locks import ServerLock, refuse_taken_port
from launch.place import LONGEST_SOCKET, socket_directory
from launch.processes import started_at
from launch.secrets import ensure_secrets
from launch.supervisor import DEATHS, Care
from launch.venv import RUNTIME, Virtualenv

ROOT = Path(__file__).resolve().parent.parent.parent


class TestSettings:
    @pytest.mark.parametrize(
        ("wrong", "meant"),
        [
            ("LEMNOS_DATADIR", "LEMNOS_DATA_DIR"),
            ("LEMNOS_ADMIN_PASSWROD", "LEMNOS_ADMIN_PASSWORD"),
        ],
    )
    def test_names_the_nearest_setting(self, wrong, meant):
        with pytest.raises(Failure, match=f"did you mean {meant}") as caught:
            settings.refuse_unknown({wrong: "1"})

        assert caught.value.code == 2

    @pytest.mark.parametrize("text", ["http", "0", "65536", "-1", "8 000", "٨"])
    def test_refuses_a_port_that_is_none(self, monkeypatch, text):
        monkeypatch.setenv("LEMNOS_PORT", text)

        with pytest.raises(Failure, match="LEMNOS_PORT"):
            settings.read_options(ROOT)

    def test_documents_every_variable_that_the_code_reads(self):
        source = (ROOT / "config" / "settings.py").read_text()
        read = set(re.findall(r'env\.\w+\(\s*"([A-Z_0-9]+)"', source))

        assert read - settings.NAMES == set()

    def test_documents_no_variable_that_nothing_reads(self):
        folders = ["config", "guardian", "tools", "memory", "phases", "orchestrator", "script"]
        table = ROOT / "script" / "launch" / "settings.py"
        text = "\n".join(
            path.read_text()
            for folder in [*folders, "tests"]
            for path in (ROOT / folder).rglob("*.py")
            if path != table
        )
        # What the launcher itself acts on is read beside the table.
        text += table.read_text().partition("NAMES = ")[2]

        unread = {name for name in settings.NAMES if f'"{name}"' not in text}

        assert unread == set()

    def test_the_documentation_shows_this_table(self):
        assert settings.as_markdown() in (ROOT / "docs" / "settings.md").read_text()


class TestSecrets:
    def test_stay_the_same_and_private(self, tmp_path, monkeypatch):
        monkeypatch.delenv("LEMNOS_SECRET_KEY", raising=False)

        first = ensure_secrets(tmp_path)
        second = ensure_secrets(tmp_path)

        assert first == second
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}

    def test_the_environment_wins(self, tmp_path, monkeypatch):
        monkeypatch.setenv("LEMNOS_ADMIN_PASSWORD", "chosen by hand")

        assert ensure_secrets(tmp_path)["LEMNOS_ADMIN_PASSWORD"] == "chosen by hand"
        assert not (tmp_path / "admin_password").exists()


class TestLocks:
    def test_a_second_holder_hears_who_is_first(self, tmp_path):
        first = ServerLock(tmp_path / "lock")
        first.take("http://localhost:1/")
        second = ServerLock(tmp_path / "lock")

        with pytest.raises(Failure, match=rf"pid {os.getpid()}, http://localhost:1/") as caught:
            second.take("http://localhost:2/")

        os.close(second.descriptor)
        first.release()
        assert caught.value.code == 3

    def test_an_address_that_is_not_ours_is_named(self):
        with pytest.raises(Failure, match="LEMNOS_BIND"):
            refuse_taken_port("192.0.2.1", 8000)


class TestVirtualenv:
    def test_a_changed_requirement_changes_the_stamp(self, tmp_path):
        for name, _ in RUNTIME:
            (tmp_path / name).write_text("Django\n")
        venv = Virtualenv(tmp_path)
        before = venv.digest(RUNTIME)

        (tmp_path / "requirements.txt").write_text("Django<6\n")

        assert venv.digest(RUNTIME) != before

    def test_half_a_virtualenv_is_not_usable(self, tmp_path):
        venv = Virtualenv(tmp_path)
        venv.python.parent.mkdir(parents=True)
        venv.python.touch()

        assert not venv.usable()


@pytest.mark.slow
class TestInstalling:
    """pip itself, with an index of ours that never answers in place of the network."""

    def test_without_a_network_it_says_what_to_set(self, project, monkeypatch):
        monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
        monkeypatch.setenv("PIP_RETRIES", "0")
        project.require("nothing-of-this-name")

        with pytest.raises(Failure, match=r"no network\? set PIP_INDEX_URL") as caught:
            project.venv.ensure()

        assert caught.value.code == 5
        assert "nothing-of-this-name" in str(caught.value)

    def test_tells_what_it_does_how_long_that_takes_and_that_it_goes_on(
        self, project, capsys, monkeypatch
    ):
        monkeypatch.setattr("launch.venv.TOLD_EACH_SECONDS", 0.05)
        project.require("")

        project.venv.ensure()

        said = capsys.readouterr().out.splitlines()
        assert said[0] == f"Making a Python environment in {project.venv.directory} …"
        assert said[1] == "Installing Python packages (1 to 4 minutes the first time) …"
        assert re.fullmatch(r"… still at it, \d+ s so far", said[2])
        assert re.fullmatch(r"The packages are installed \(\d+ s\)\.", said[-1])
        project.venv.ensure()
        assert capsys.readouterr().out == ""

    def test_goes_on_after_pip_was_killed_half_way(self, project, silent_index, monkeypatch):
        monkeypatch.setenv("PIP_INDEX_URL", silent_index.url)
        project.require("nothing-of-this-name")
        first = subprocess.Popen(project.command, stdout=subprocess.DEVNULL, start_new_session=True)
        silent_index.accept()
        os.killpg(first.pid, signal.SIGKILL)
        first.wait(10)
        assert not list(project.venv.directory.glob("stamp-*"))

        project.require("")
        project.venv.ensure()

        assert (project.venv.directory / "stamp-runtime").exists()


class TestPlaces:
    def test_a_short_path_keeps_its_sockets(self, tmp_path):
        run = Path("/tmp/short")

        assert socket_directory(run, None) == run

    def test_a_long_path_gets_a_private_short_one(self, tmp_path):
        run = tmp_path / ("x" * 120)

        directory = socket_directory(run, None)

        assert len(os.fsencode(directory)) < LONGEST_SOCKET
        assert directory.stat().st_mode & 0o777 == 0o700
        directory.rmdir()


class TestDeaths:
    def test_waits_longer_after_each_death_and_then_gives_up(self, dead_child):
        care = Care(dead_child)
        delays = []

        for _ in range(DEATHS - 1):
            care.note_death()
            delays.append(round(care.due - care.deaths[-1]))

        assert delays == [1, 2, 4, 8]
        with pytest.raises(Failure, match="died 5 times in 60 s") as caught:
            care.note_death()
        assert caught.value.code == 7

    def test_a_reused_pid_is_another_process(self):
        born = started_at(os.getpid())

        assert is_same(os.getpid(), born)
        assert not is_same(os.getpid(), "1")


def test_a_long_line_is_cut_for_the_terminal():
    assert tail("a\n" + "b" * 10_000, lines=1) == "b" * 500


class Project:
    """A directory with requirements of its own, and a virtualenv to be made there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.venv = Virtualenv(root)
        code = (
            "import sys; from pathlib import Path; from launch.venv import Virtualenv;"
            "Virtualenv(Path(sys.argv[1])).ensure()"
        )
        path = f"import sys; sys.path.insert(0, {str(ROOT / 'script')!r});"
        self.command = [sys.executable, "-c", path + code, str(root)]

    def require(self, text: str) -> None:
        for name, _ in RUNTIME:
            (self.root / name).write_text(f"{text}\n")


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


class SilentIndex:
    """Takes a connection and says nothing."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(60)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/simple"
        self.taken: list[socket.socket] = []

    def accept(self) -> None:
        self.taken.append(self.listener.accept()[0])

    def close(self) -> None:
        for each in [*self.taken, self.listener]:
            each.close()


@pytest.fixture
def silent_index():
    index = SilentIndex()
    yield index
    index.close()


@pytest.fixture
def dead_child(tmp_path):
    from launch.children import Child

    child = Child("web", ["/bin/false"], tmp_path / "web.log", tmp_path, {})
    child.start()
    child.process.wait()
    return child


def test_the_engine_script_says_how_it_is_used():
    asked = subprocess.run(
        [ROOT / "script" / "engine", "sideways"], check=False, capture_output=True, text=True
    )

    assert asked.returncode == 2
    assert "usage: script/engine start|stop" in asked.stderr
