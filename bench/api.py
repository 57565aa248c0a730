"""What the API's conventions cost: a read with token check, limits and problem shapes against the
plainest REST framework view of the same row, and one thread hop against Django's own ASGI.

Both reads run in this process through Django's WSGI handler, so no network and no server is
measured; both hops are uvicorn processes on loopback that serve the same read to the same clients.
"""

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from bench._measure import Goal, conclude, interleaved, prepare, timed

# A plain view answers at most this much faster than ours.
COST_GOAL = 2.0
HOP_GOAL = 1.0
CLIENTS = 8


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--requests", type=int, default=300, help="of each contestant a round")
    arguments.add_argument("--rounds", type=int, default=7)
    asked = arguments.parse_args()
    prepare()
    path, token = furnish()
    ours, plain = handler_of_all(), handler_of_plain()
    headers = {"HTTP_AUTHORIZATION": f"Bearer {token}"}
    assert call(ours, path, headers)["id"] == call(plain, path, headers)["id"]

    def one(handler: Any) -> float:
        return timed(lambda: [call(handler, path, headers) for _ in range(asked.requests)])

    seconds = interleaved(
        {"conventions": lambda: one(ours), "plain": lambda: one(plain)}, rounds=asked.rounds
    )
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        print(f"{name:12} {value / asked.requests * 1000:7.2f} ms a read")

    with served("config.asgi:application") as hop, served("bench.api:asgi") as direct:
        rates = interleaved(
            {
                "one hop": lambda: load(hop, path, token, asked.requests),
                "asgi": lambda: load(direct, path, token, asked.requests),
            },
            rounds=asked.rounds,
        )
    rate = {name: statistics.median(values) for name, values in rates.items()}
    for name, value in rate.items():
        print(f"{name:12} {value:7.0f} reads/s with {CLIENTS} clients")
    return conclude(
        [
            Goal("read with all conventions / plain REST framework view",
                 medians["conventions"] / medians["plain"], at_most=COST_GOAL),
            Goal("one thread hop / Django's own ASGI handler, reads per second",
                 rate["one hop"] / rate["asgi"], at_least=HOP_GOAL),
        ]
    )  # fmt: skip


def furnish() -> tuple[str, str]:
    """A ticket's address and a token that may read it."""
    from guardian import services as guardian
    from guardian.authority import actor_for
    from phases import services as phases

    slug = f"bench-{uuid4().hex[:8]}"
    team = guardian.create_team(slug=slug, name=slug)
    phases.seed_team(team=team)
    user = guardian.create_user(username=slug, password="a long pass phrase")  # noqa: S106  nobody logs in
    guardian.set_membership(user=user, team=team, role="operator")
    actor = actor_for(user, team)
    ticket = phases.open_ticket(actor=actor, title="Measured")
    _, token = guardian.create_token(actor=actor, name=slug, scopes=["tickets:read"])
    return f"/api/v1/tickets/{ticket.pk}", token


def handler_of_all() -> Any:
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application

    unlimited()
    settings.ALLOWED_HOSTS = ["*"]
    return get_wsgi_application()


def unlimited() -> None:
    from django.conf import settings

    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, 10**9)


def handler_of_plain() -> Any:
    """REST framework without anything of ours: a token looked up by its hash, a row, its shape."""
    from django.core.handlers.wsgi import WSGIHandler
    from django.test import override_settings

    with override_settings(MIDDLEWARE=[]):
        handler = WSGIHandler()

    def plain(environ: dict[str, Any], start_response: Any) -> Any:
        with override_urls():
            return handler(environ, start_response)

    return plain


@contextmanager
def override_urls() -> Iterator[None]:
    from django.conf import settings
    from django.urls import set_urlconf

    kept, settings.ROOT_URLCONF = settings.ROOT_URLCONF, "bench.plain_api"
    set_urlconf(None)
    try:
        yield
    finally:
        settings.ROOT_URLCONF = kept
        set_urlconf(None)


def call(handler: Any, path: str, headers: dict[str, str]) -> dict[str, Any]:
    from django.test import RequestFactory

    environ = RequestFactory().get(path, **headers).environ
    status: list[str] = []
    answer = handler(environ, lambda line, *_: status.append(line))
    content = b"".join(answer)
    answer.close()
    assert status[0].startswith("200"), (status, content[:300])
    found: dict[str, Any] = json.loads(content)
    return found


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The same application through Django's own ASGI handler."""
    await _django()(scope, receive, send)


def _django(made: list[Any] = []) -> Any:  # noqa: B006  made once, on purpose
    if not made:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
        from django.core.asgi import get_asgi_application

        made.append(get_asgi_application())
    return made[0]


@contextmanager
def served(application: str) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", application, "--port", str(port),
               "--log-level", "error", "--lifespan", "off"]  # fmt: skip
    process = subprocess.Popen(command, env={**os.environ, "LEMNOS_LOG_LEVEL": "error"})
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def load(port: int, path: str, token: str, requests: int) -> float:
    """Reads per second of some clients on kept connections, each waiting for its answer."""
    each = max(1, requests // CLIENTS)

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for _ in range(each):
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == 200, content[:300]
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]

    def run() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return each * CLIENTS / timed(run)


if __name__ == "__main__":
    sys.exit(main())
