"""Web, worker and relay as their containers run them: root read-only, nobody's uid, one place."""

import contextlib
import os
import socket
import subprocess
import sys
import threading

import pytest
from django.conf import settings
from django.db import connection

from guardian import services as guardian
from guardian.authority import ROLE_SCOPES
from phases import services as phases
from tests.config.test_containers import dockerfile_environment, health_command
from tests.e2e.doors import Web
from tests.e2e.processes import Processes, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.bwrap,
    pytest.mark.timeout(200),
    pytest.mark.django_db(transaction=True),
]

UID = "10001"
# Stands for /data, which no read-only root of ours has a place for.
DATA = "/mnt"
# Writes where nothing may be written, and where it may.
TRIAL = f"""
import os, pathlib
for place in ({str(settings.BASE_DIR)!r}, "/etc", {DATA!r}, "/tmp"):
    try:
        pathlib.Path(place, "trial").write_text("x")
        print(place, "yes")
    except OSError:
        print(place, "no")
print(os.getuid())
"""


def forward(door: str, inner: str) -> None:
    """Lead everybody who comes to one socket on to another, until the process ends."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(door)
        listening.listen(50)
        while True:
            outside, _ = listening.accept()
            inside = socket.socket(socket.AF_UNIX)
            inside.connect(inner)
            for one, other in ((outside, inside), (inside, outside)):
                threading.Thread(target=copy, args=(one, other), daemon=True).start()


def copy(source: socket.socket, target: socket.socket) -> None:
    with source:
        with contextlib.suppress(OSError):  # a killed process resets its connections
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            # Else the database waits for the dead, and holds their locks meanwhile.
            target.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def contained(tmp_path):
    """What compose.yaml asks of an engine, done by bubblewrap."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    processes = Processes(data)
    sockets = str(connection.settings_dict["HOST"] or "")
    # The database's directory lets in its own user alone; this door of ours leads there.
    door = data.parent / "door"
    shared = ["--ro-bind", str(door), sockets] if sockets.startswith("/") else []
    if shared:
        door.mkdir()
        name = f".s.PGSQL.{connection.settings_dict['PORT'] or 5432}"
        threading.Thread(
            target=forward, args=(str(door / name), f"{sockets}/{name}"), daemon=True
        ).start()
    processes.inside = [
        "bwrap", "--unshare-user", "--unshare-pid", "--uid", UID, "--gid", UID,
        "--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
        "--tmpfs", "/tmp", "--bind", str(data), DATA, *shared,
        "--chdir", str(settings.BASE_DIR), "--die-with-parent", "--",
    ]  # fmt: skip
    yield processes
    processes.end()


def test_all_three_work_and_can_write_nowhere_else(contained, admin, team):
    phases.seed_team(team=team)
    _, token = guardian.create_token(
        actor=admin, user=admin.user, name="ro", scopes=sorted(ROLE_SCOPES["admin"])
    )
    image = dockerfile_environment() | {"LEMNOS_DATA_DIR": DATA}
    tried = subprocess.run(
        [*contained.inside, sys.executable, "-c", TRIAL],
        check=True, capture_output=True, text=True,
    )  # fmt: skip

    web = Web(contained, token, **image | {"LEMNOS_BIND": "127.0.0.1"})
    contained.start("worker", **image)
    contained.start("relay", **image)
    wait_for(web.ready, seconds=90, why=contained.logs)

    assert tried.stdout.split("\n")[:5] == [
        f"{settings.BASE_DIR} no", "/etc no", f"{DATA} yes", "/tmp yes", UID,
    ]  # fmt: skip
    healthy = subprocess.run(
        [sys.executable, *health_command()[1:]],
        check=False, env={**os.environ, "LEMNOS_PORT": str(web.port)},
    )  # fmt: skip
    assert healthy.returncode == 0
    status, made = web.ask("/api/v1/tickets", {"title": "written all the same"})
    assert status == 201, made
    assert [process.poll() for process in contained.running] == [None, None, None]
