"""script/server from outside: what it prints, how it ends, what survives which death."""

import ctypes
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from django.db import connection
from launch.processes import program_of, state_of

from tests.e2e.processes import environment
from tests.platform.test_manage import manage

# A start on a busy machine takes a minute: the schema is made anew.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class TestWhileUp:
    def test_answers_health_and_the_login_page(self, running):
        running.until(running.ready)

        assert running.status("/livez") == 200
        assert running.status("/login") == 200

    def test_prints_url_user_and_password_and_logs_no_password(self, running):
        password = (running.data_dir / "secrets" / "admin_password").read_text().strip()

        assert f"http://localhost:{running.port}/" in running.said()
        assert "User: admin" in running.said()
        assert [line for line in running.said().splitlines() if line.endswith(" …")] == [
            f"Making a new database in {running.data_dir / 'pg' / 'data'} …",
            "Starting the database …",
            "Preparing the database …",
            "Starting web, worker and relay …",
        ]
        for log in (running.data_dir / "log").iterdir():
            assert password not in log.read_text()

    def test_lets_in_with_the_printed_password_and_no_other(self, running):
        running.until(running.ready)

        assert running.login(running.password())
        assert not running.login("another")

    def test_keeps_data_and_secrets_private(self, running):
        secrets = running.data_dir / "secrets"

        assert running.data_dir.stat().st_mode & 0o777 == 0o700
        assert secrets.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o600}

    def test_its_database_is_safe_private_and_its_own_child(self, running):
        running.until(running.ready)
        names = (
            "data_checksums",
            "server_encoding",
            "fsync",
            "full_page_writes",
            "listen_addresses",
        )

        shown = {name: running.ask_database(f"SHOW {name}") for name in names}

        assert shown == {
            "data_checksums": "on", "server_encoding": "UTF8", "fsync": "on",
            "full_page_writes": "on", "listen_addresses": "",
        }  # fmt: skip
        assert running.ask_database("SHOW server_version").startswith("18.")
        sockets = Path(running.ask_database("SHOW unix_socket_directories").strip('"'))
        assert sockets.stat().st_mode & 0o777 == 0o700
        status = Path(f"/proc/{running.postmaster()}/status").read_text()
        found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert int(found["PPid"]) == running.process.pid
        assert int(found["Uid"].split()[0]) != 0

    def test_its_redis_keeps_nothing_and_little(self, running):
        running.until(running.ready)
        sockets = running.ask_database("SHOW unix_socket_directories").strip('"')

        with redis.Redis(unix_socket_path=f"{sockets}/redis.sock") as client:
            shown = client.config_get("*")

        assert shown["port"] == "0"
        assert (shown["save"], shown["appendonly"]) == ("", "no")
        assert (shown["maxmemory"], shown["maxmemory-policy"]) == (str(64 << 20), "allkeys-lru")

    def test_refuses_a_second_server_on_the_same_data(self, running):
        own_words = running.output
        running.output = own_words.with_suffix(".second")

        code, words = running.refused()

        running.output.unlink()
        running.output = own_words
        assert code == 3
        assert f"already running (pid {running.process.pid}, http://localhost:" in words

    def test_heals_when_the_database_is_killed(self, running):
        running.until(running.ready)
        killed = running.postmaster()

        os.kill(killed, signal.SIGKILL)

        running.until(lambda: program_of(killed) is None)
        running.until(running.ready)
        assert running.postmaster() != killed

    @pytest.mark.parametrize("position", [1, 2, 3], ids=["web", "worker", "relay"])
    def test_starts_a_killed_process_again(self, running, position):
        running.until(running.ready)
        role = ROLES[position - 1]
        # The test before may have killed it: its successor is there before it is ready.
        running.until(lambda: role in map(role_of, running.children()))
        before = set(running.children())
        killed = next(pid for pid in sorted(before, reverse=True) if role_of(pid) == role)

        os.kill(killed, signal.SIGKILL)

        running.until(lambda: set(running.children()) > before)
        running.until(running.ready)

    def test_a_web_process_that_is_asked_to_end_says_so_before_it_closes(self, running):
        running.until(running.ready)
        running.until(lambda: "web" in map(role_of, running.children()))
        web = next(pid for pid in running.children() if role_of(pid) == "web")

        os.kill(web, signal.SIGTERM)

        running.until(lambda: '"shutting_down"' in running.ask("/readyz")[1], seconds=10)
        running.until(lambda: role_of(web) is None)
        running.until(running.ready)


class TestStartAndEnd:
    def test_ends_cleanly_and_starts_again_without_installing(self, installation):
        installation.start()
        processes = installation.processes()

        code = installation.stop()

        assert code == 0
        assert len(processes) >= 4
        assert [pid for pid in processes if program_of(pid)] == []
        assert not installation.remembered().exists()
        installation.start()
        assert "Installing" not in installation.said()
        assert installation.ready()

    def test_starts_after_all_was_killed_whoever_has_the_old_pid(self, installation, children_stay):
        installation.start()
        zombie = installation.postmaster()
        installation.kill_everything()
        installation.until(lambda: state_of(zombie) == "Z")

        installation.start()
        assert installation.ready()
        assert installation.postmaster() != zombie

        installation.kill_everything()
        pid_file = installation.data_dir / "pg" / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")

        installation.start()
        assert installation.ready()
        assert installation.postmaster() != os.getpid()
        proved = manage(installation.data_dir, "audit_verify")
        assert proved.returncode == 0, proved.stderr

    def test_ends_the_children_of_a_killed_server(self, installation):
        installation.start()
        children = installation.processes()

        installation.process.kill()
        installation.process.wait(10)

        installation.until(lambda: not any(program_of(pid) for pid in children))

    def test_ends_at_once_when_asked_while_starting(self, installation):
        process = installation.launch()
        installation.until((installation.data_dir / "log" / "postgres.log").exists)

        process.send_signal(signal.SIGINT)

        assert process.wait(60) == 0
        assert installation.said().splitlines()[-2:] == [
            "Stopping … (Ctrl-C again stops at once)",
            "Stopped.",
        ]
        installation.process = None

    def test_starts_after_initdb_was_killed_half_way(self, installation):
        process = installation.launch()
        draft = installation.data_dir / "pg" / "data.new"
        installation.until((draft / "base").exists)
        installation.kill_starting(process)
        assert not (installation.data_dir / "pg" / "data").exists()

        installation.start()

        assert installation.ready()
        assert not draft.exists()

    @pytest.mark.django_db(transaction=True)
    def test_uses_the_database_it_is_given(self, installation, tmp_path):
        with connection.cursor() as cursor:
            cursor.execute("DROP DATABASE IF EXISTS lemnos_given")
            cursor.execute("CREATE DATABASE lemnos_given")
        name = connection.settings_dict["NAME"]
        given = environment(tmp_path)["DATABASE_URL"].replace(f"/{name}?", "/lemnos_given?")

        installation.start(DATABASE_URL=given)

        assert installation.ready()
        assert not (installation.data_dir / "pg" / "data").exists()
        assert not (installation.data_dir / "log" / "postgres.log").exists()
        assert installation.stop() == 0
        with connection.cursor() as cursor:
            cursor.execute("DROP DATABASE lemnos_given")

    def test_uses_the_redis_it_is_given(self, installation, own_redis):
        installation.start(REDIS_URL=f"unix://{own_redis}")

        listed = json.loads(installation.ask("/readyz")[1])
        with redis.Redis(unix_socket_path=str(own_redis)) as client:
            assert client.info("stats")["total_connections_received"] > 1
        assert listed["status"] == "ready"
        assert not (installation.data_dir / "log" / "redis.log").exists()


class TestRefusals:
    def test_names_the_setting_that_was_meant(self, installation):
        code, words = installation.refused(LEMNOS_PROT="8000")

        assert code == 2
        assert "unknown setting LEMNOS_PROT; did you mean LEMNOS_PORT?" in words

    def test_says_which_python_it_needs(self, installation):
        code, words = installation.refused(LEMNOS_PYTHON="/bin/false")

        assert code == 2
        assert "Lemnos needs Python 3.11+; found none. Set LEMNOS_PYTHON." in words

    def test_says_that_the_port_is_taken(self, installation):
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", installation.port))
            holder.listen()

            code, words = installation.refused()

        assert code == 4
        assert f"port {installation.port} is in use; set LEMNOS_PORT" in words

    def test_ends_when_a_child_cannot_live(self, installation):
        code, words = installation.refused(WORKER_CONCURRENCY="many")

        assert code in {6, 7}
        assert "WORKER_CONCURRENCY" in words


@pytest.fixture
def children_stay():
    """Orphans become children of this process, which does not wait: the dead stay as zombies."""
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform != "linux" or libc.prctl(PR_SET_CHILD_SUBREAPER, 1) != 0:
        pytest.skip("linux: no subreaper here")
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0)
    with suppress(ChildProcessError):  # none is left
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


PR_SET_CHILD_SUBREAPER = 36
ROLES = ("web", "worker", "relay")


def role_of(pid: int) -> str | None:
    """Which of our processes this is, by its command line."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().decode().split("\0")
    except FileNotFoundError:
        return None
    return next((role for role in ROLES if role in words), None)
