"""Single steps of script/server and script/test: which Python, which database, who ends how."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from launch.children import Child
from launch.failure import Failure
from launch.leftovers import is_same
from launch.place import find_place
from launch.postgres import Postgres
from launch.processes import program_of, started_at
from launch.redis import NOTICE
from launch.server import Server
from launch.settings import read_options
from launch.supervisor import GRACE_SECONDS, Supervisor
from launch.venv import Virtualenv

from tests import requirements
from tests.platform.conftest import until

ROOT = Path(__file__).resolve().parent.parent.parent


class TestPython:
    """script/python, with programs of ours that answer as Pythons do."""

    def pythons(self, folder: Path, **versions: str) -> dict[str, str]:
        for name, version in versions.items():
            program = folder / name.replace("_", ".")
            new = tuple(map(int, version.split("."))) >= (3, 11)
            program.write_text(
                f'#!/bin/sh\ncase "$2" in *exit*) exit {0 if new else 1};; esac\necho {version}\n'
            )
            program.chmod(0o755)
        return {"PATH": f"{folder}:/usr/bin:/bin"}

    def asked(self, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["/bin/sh", ROOT / "script" / "python"],
            env=environment, check=False, capture_output=True, text=True,
        )  # fmt: skip

    def test_takes_the_newest_of_those_it_knows(self, tmp_path):
        found = self.pythons(
            tmp_path,
            python3="3.11.2",
            python3_11="3.11.2",
            python3_12="3.12.4",
            python3_13="3.13.0",
        )

        assert self.asked(found).stdout.strip() == str(tmp_path / "python3.13")

    def test_takes_the_one_it_is_told(self, tmp_path):
        found = self.pythons(tmp_path, python3_13="3.13.0", python3_12="3.12.4")

        told = found | {"LEMNOS_PYTHON": str(tmp_path / "python3.12")}
        assert self.asked(told).stdout.strip() == str(tmp_path / "python3.12")

    def test_names_the_version_that_is_too_old(self, tmp_path):
        versions = dict.fromkeys(("python3", "python3_11", "python3_12", "python3_13"), "3.9.18")

        answer = self.asked(self.pythons(tmp_path, **versions))

        assert answer.returncode == 2
        assert answer.stderr == "Lemnos needs Python 3.11+; found 3.9.18. Set LEMNOS_PYTHON.\n"


class TestVirtualenv:
    def test_without_ensurepip_it_is_made_by_pip_s_virtualenv(self, tmp_path, monkeypatch):
        venv = Virtualenv(tmp_path)
        made: list[str] = []

        def maker(name: str, code: int):
            def make() -> "subprocess.CompletedProcess[str]":
                made.append(name)
                venv.directory.mkdir()
                return subprocess.CompletedProcess([], code, f"{name} said this")

            return make

        monkeypatch.setattr(venv, "by_venv", maker("venv", 1))
        monkeypatch.setattr(venv, "by_virtualenv", maker("virtualenv", 0))
        venv.create()
        monkeypatch.setattr(venv, "by_virtualenv", maker("virtualenv", 1))
        with pytest.raises(Failure, match="install python3-venv or pip") as caught:
            venv.create()

        assert made == ["venv", "virtualenv", "venv", "virtualenv"]
        assert caught.value.code == 5
        assert "venv said this" in str(caught.value)

    def test_of_another_user_it_says_whose_to_be(self, tmp_path):
        venv = Virtualenv(tmp_path)
        venv.python.parent.mkdir(parents=True)
        venv.directory.chmod(0)
        tmp_path.chmod(0o755)
        before = os.geteuid()
        try:
            if before == 0:
                os.seteuid(65534)
            with pytest.raises(Failure, match="cannot be used by this user") as caught:
                venv.usable()
        finally:
            os.seteuid(before)
            venv.directory.chmod(0o700)

        assert caught.value.code == 5


@pytest.fixture
def cluster():
    """A new cluster in a place its user reaches."""
    directory = Path(tempfile.mkdtemp(prefix="lemnos-start-", dir="/tmp"))
    for name in ("pg", "run"):
        (directory / name).mkdir(mode=0o700)
    venv = Virtualenv(ROOT)
    if not (ROOT / ".venv" / "stamp-runtime").exists():
        pytest.skip("no .venv here: script/test makes it")
    place = find_place(site_packages=venv.site_packages, data_dir=directory)
    postgres = Postgres(place, directory / "postgres.log", durable=False)
    postgres.ensure_cluster()
    yield postgres
    postgres.stop(hurried=lambda: True)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.slow
class TestDatabase:
    def test_one_that_cannot_start_says_its_last_words(self, cluster):
        with (cluster.place.cluster / "postgresql.conf").open("a") as file:
            file.write("no_such_setting = on\n")

        with pytest.raises(Failure, match="no_such_setting") as caught:
            cluster.start()

        assert caught.value.code == 6
        assert not cluster.child.alive()

    def test_one_of_another_version_is_left_alone(self, cluster):
        (cluster.place.cluster / "PG_VERSION").write_text("17\n")

        with pytest.raises(Failure, match="is of PostgreSQL 17, Lemnos runs 18") as caught:
            cluster.ensure_cluster()

        assert caught.value.code == 6

    def test_one_that_another_server_left_running_is_stopped_first(self, cluster):
        cluster.start()
        first = cluster.child.pid
        second = Postgres(cluster.place, cluster.log, durable=False)

        second.start()

        assert program_of(first) != "postgres"
        assert second.answers()
        second.stop(hurried=lambda: True)


@pytest.fixture
def stubborn(tmp_path):
    """A child that hears SIGTERM and stays."""
    code = "import signal, time; signal.signal(15, lambda *_: print('no', flush=True))\n"
    code += "print('up', flush=True)\nwhile True: time.sleep(1)"
    log = tmp_path / "web.log"
    child = Child("web", [sys.executable, "-c", code], log, tmp_path, dict(os.environ))
    yield child
    child.kill()


class TestEnds:
    def test_who_does_not_end_is_killed_five_seconds_after_the_time_is_up(self, stubborn):
        supervisor = Supervisor(stopping=lambda: False, hurried=lambda: False)
        supervisor.start(stubborn)
        until(lambda: "up" in stubborn.log.read_text(), stubborn.last_words, 30)
        begun = time.monotonic()

        supervisor.stop(1)

        assert GRACE_SECONDS == 5
        assert "no" in stubborn.log.read_text()
        assert stubborn.process.returncode == -signal.SIGKILL
        assert time.monotonic() - begun >= 1 + GRACE_SECONDS

    def test_asked_a_second_time_nobody_is_waited_for(self, stubborn):
        supervisor = Supervisor(stopping=lambda: True, hurried=lambda: True)
        supervisor.start(stubborn)
        until(lambda: "up" in stubborn.log.read_text(), stubborn.last_words, 30)

        supervisor.stop(3600)

        assert not stubborn.alive()


class TestTelling:
    @pytest.fixture
    def server(self, tmp_path, monkeypatch):
        monkeypatch.setenv("LEMNOS_DATA_DIR", str(tmp_path))
        monkeypatch.delenv("REDIS_URL", raising=False)
        kept = {number: signal.getsignal(number) for number in (1, 2, 15)}
        made = Server(ROOT, read_options(ROOT))
        made.secrets = {"LEMNOS_ADMIN_PASSWORD": "first-password"}
        yield made
        for number, handler in kept.items():
            signal.signal(number, handler)

    def test_the_password_is_shown_until_it_is_changed(self, server, capsys):
        server.announce(password_changed=False)
        before = capsys.readouterr().out
        server.announce(password_changed=True)
        after = capsys.readouterr().out

        assert "User: admin  Password: first-password" in before
        assert "User: admin  Password: (changed)" in after
        assert "first-password" not in after

    def test_a_short_bootstrap_token_is_warned_of(self, server, capsys, monkeypatch):
        monkeypatch.setenv("LEMNOS_BOOTSTRAP_TOKEN", "x" * 23)
        server.announce(password_changed=True)
        short = capsys.readouterr().out
        monkeypatch.setenv("LEMNOS_BOOTSTRAP_TOKEN", "x" * 24)
        server.announce(password_changed=True)

        assert "fewer than 24 characters" in short
        assert "characters" not in capsys.readouterr().out

    def test_without_a_redis_it_says_so_and_goes_on(self, server, capsys, monkeypatch):
        monkeypatch.setattr("launch.server.find_redis", lambda _: None)

        server.start_redis(None)

        assert NOTICE in capsys.readouterr().out
        assert "REDIS_URL" not in server.environment
        assert server.supervisor.cares == []


WORK = """
import json, os, sys
sys.path.insert(0, "script")
from pathlib import Path
from launch.venv import Virtualenv
from launch.workshop import Workshop
root = Path.cwd()
with Workshop(root, Virtualenv(root), durable=False, docker=False) as workshop:
    shown = {k: workshop.environment.get(k) for k in ("DATABASE_URL", "LEMNOS_DATA_DIR")}
    print(json.dumps(shown), flush=True)
    sys.stdin.readline()
"""


@pytest.mark.slow
class TestWorkshop:
    """What script/test runs everything in."""

    @pytest.mark.parametrize("way", ["by itself", signal.SIGTERM, signal.SIGINT])
    def test_has_a_database_of_its_own_and_leaves_nothing(self, tmp_path, way):
        if not (ROOT / ".venv" / "stamp-runtime").exists():
            pytest.skip("no .venv here: script/test makes it")
        theirs = {"DATABASE_URL": "postgres://elsewhere/x", "LEMNOS_DATA_DIR": str(tmp_path)}
        process = subprocess.Popen(
            [sys.executable, "-c", WORK],
            cwd=ROOT, env={**os.environ, **theirs}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        shown = json.loads(process.stdout.readline())
        directory = Path(shown["LEMNOS_DATA_DIR"]).parent
        postmaster = int((directory / "pg" / "data" / "postmaster.pid").read_text().split()[0])
        born = started_at(postmaster)

        if way == "by itself":
            process.stdin.write("go on\n")
        else:
            process.send_signal(way)
        process.communicate(timeout=60)

        assert "elsewhere" not in shown["DATABASE_URL"]
        assert directory.name.startswith("lemnos-test-")
        assert list(tmp_path.iterdir()) == []
        assert not directory.exists()
        assert not is_same(postmaster, born)


class TestMissingPrograms:
    def test_what_is_missing_skips_aloud_and_is_counted(self, monkeypatch):
        monkeypatch.delenv("LEMNOS_REQUIRE", raising=False)
        monkeypatch.setattr(requirements, "why_not", lambda name: "none here")
        counted: Counter[str] = Counter()
        monkeypatch.setattr(requirements, "_missing", counted)

        with pytest.raises(pytest.skip.Exception, match="docker: none here"):
            requirements.require("docker")

        assert counted == {"docker: none here": 1}

    def test_what_must_be_there_fails_instead(self, monkeypatch):
        monkeypatch.setenv("LEMNOS_REQUIRE", "docker,browser")
        monkeypatch.setattr(requirements, "why_not", lambda name: "none here")

        with pytest.raises(pytest.fail.Exception, match="LEMNOS_REQUIRE names docker"):
            requirements.require("docker")


def test_private_directories_are_nobody_else_s(tmp_path, monkeypatch):
    monkeypatch.setenv("LEMNOS_DATA_DIR", str(tmp_path / "data"))
    kept = {number: signal.getsignal(number) for number in (1, 2, 15)}
    try:
        lock = Server(ROOT, read_options(ROOT)).prepare_data_dir()
        lock.release()
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
    assert modes == dict.fromkeys(("pg", "run", "log", "secrets", "backups"), 0o700)
