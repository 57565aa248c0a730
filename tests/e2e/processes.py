"""Real relay and worker processes beside a test, on the test's own database."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.db import connection

from guardian.models import Team
from phases.models import Ticket


def environment(data_dir: Path) -> dict[str, str]:
    """The installation's settings, with the test's database in place of the real one."""
    at = connection.settings_dict
    host, port = str(at["HOST"] or ""), str(at["PORT"] or "")
    user = quote(str(at["USER"] or ""))
    password = f":{quote(str(at['PASSWORD']))}" if at["PASSWORD"] else ""
    address = f"/{at['NAME']}?host={quote(host)}" if host.startswith("/") else None
    url = (
        f"postgres://{user}{password}@{address}"
        if address
        else f"postgres://{user}{password}@{host}{':' + port if port else ''}/{at['NAME']}"
    )
    if address and port:
        url += f"&port={port}"
    peppers = ",".join(f"{name}:{key.hex()}" for name, key in settings.TOKEN_PEPPERS.items())
    return {
        **os.environ,
        "DATABASE_URL": url,
        "REDIS_URL": "",
        "LEMNOS_DATA_DIR": str(data_dir),
        # What every host of one installation shares.
        "LEMNOS_SECRET_KEY": settings.SECRET_KEY,
        "LEMNOS_TOKEN_PEPPERS": peppers,
        "LEMNOS_WEBHOOK_KEY": settings.WEBHOOK_KEY,
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }


class Processes:
    """Started as a user's supervisor would; each ends with the test."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        # A program with its arguments that runs each of them in surroundings of its making.
        self.inside: list[str] = []
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, command: str, **extra: str) -> "subprocess.Popen[bytes]":
        log = (self.data_dir / f"{command}-{len(self.running)}.log").open("wb")
        process = subprocess.Popen(
            [*self.inside, sys.executable, "manage.py", command],
            cwd=settings.BASE_DIR,
            env={**environment(self.data_dir), **extra},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log.close()
        self.running.append(process)
        return process

    def kill(self, process: "subprocess.Popen[bytes]") -> None:
        """SIGKILL to it and to whatever it started, as when the machine loses power."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def end(self) -> None:
        for process in self.running:
            if process.poll() is None:
                self.kill(process)

    def logs(self) -> str:
        """The last lines of everything, for a failure's message."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}"
            for path in sorted(self.data_dir.glob("*.log"))
        )


def wait_for(what: Callable[[], Any], *, seconds: float, why: Callable[[], str]) -> Any:
    """Ask a few times a second until the answer is true; fails with the reason when time is up."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = what()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(why())


def reached(ticket: Ticket, *phases: str) -> Ticket | None:
    """The ticket once it is in one of the phases."""
    row = Ticket.objects.select_related("phase").get(pk=ticket.pk)
    return row if row.phase.key in phases else None


def story(team: Team) -> str:
    """What the database says happened, for a failure's message."""
    from orchestrator.models import AgentExecution, StepRun
    from phases.models import Task
    from tools.models import ToolExecution

    rows: list[Any] = [
        *Ticket.objects.values_list(
            "number", "phase__key", "status", "blocked_reason", "auto_wait"
        ),
        *Task.objects.values_list("task_type", "status", "fence", "error_code", "dispatch_note"),
        *AgentExecution.objects.values_list("state", "attempt", "error_code", "error"),
        *StepRun.objects.values_list("step_id", "state", "error_code", "error"),
        *ToolExecution.objects.values_list("tool__name", "status", "result_class", "error_message"),
    ]
    return "\n".join(map(str, rows))
