"""Web processes of an installation, and programs that talk to them with a token."""

import json
import urllib.error
import urllib.request
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.e2e.processes import Processes
from tests.platform.conftest import free_port


class Web:
    """One web process and a program that talks to it with a token."""

    def __init__(self, processes: Processes, token: str, **extra: str) -> None:
        self.port, self.token = free_port(), token
        self.process = processes.start("web", **extra | {"LEMNOS_PORT": str(self.port)})

    def ask(self, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
        """Status and answer; 0 when nobody answers."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310  http alone
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except OSError:
            return 0, {}

    def ready(self) -> bool:
        return self.ask("/readyz")[0] == 200

    def listen(self) -> ClientConnection:
        return connect(
            f"ws://127.0.0.1:{self.port}/ws/events",
            additional_headers={"Authorization": f"Bearer {self.token}"},
        )
