"""Twelve secrets, used as they are in real life, are then sought wherever somebody could read."""

import asyncio
import http.client
import io
import json
import logging
import re
import secrets
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import structlog
import websockets
from django.apps import apps
from django.contrib import admin as site
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import connection
from django.urls import reverse

from guardian import logs
from guardian.models import User
from tests.e2e.processes import Processes, wait_for
from tests.factories import make_actor
from tests.platform.conftest import free_port

PLANTED = (
    "password", "session cookie", "api token", "webhook secret", "pepper", "secret key",
    "llm key", "embedding key", "tool secret", "url password", "csrf", "idempotency answer",
)  # fmt: skip
# What people read of the database: everything but the keeper of the secrets themselves.
TABLES = ("guardian_event", "guardian_errorlog", "guardian_webhookdelivery", "procrastinate_jobs")


def found_in(texts: dict[str, str], canaries: dict[str, str]) -> set[str]:
    """Which canary was seen where."""
    return {
        f"{name} in {place}"
        for place, text in texts.items()
        for name, value in canaries.items()
        if value in text
    }


class Web:
    """A browser and a program in one: it keeps cookies, and every body it was given."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}
        self.bodies: dict[str, str] = {}

    def ask(
        self, method: str, path: str, body: Any = None, *, shown_once: bool = False, **headers: str
    ) -> tuple[int, str]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies and "Authorization" not in told:
            told["Cookie"] = "; ".join(f"{n}={v}" for n, v in self.cookies.items())
        if isinstance(body, dict) and "Content-Type" not in told:
            told["Content-Type"] = "application/json"
            body = json.dumps(body)
        line.request(method, path, body, told)
        answer = line.getresponse()
        text = answer.read().decode(errors="replace")
        for cookie in answer.msg.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        line.close()
        if not shown_once:
            self.bodies[f"{method} {path} #{len(self.bodies)}"] = text
        return answer.status, text

    def form(self, path: str, **fields: str) -> tuple[int, str]:
        _, page = self.ask("GET", path)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token is not None
        return self.ask(
            "POST",
            path,
            urlencode({**fields, "csrfmiddlewaretoken": token[1]}),
            Content_Type="application/x-www-form-urlencoded",
        )


@pytest.fixture
def canaries(settings) -> dict[str, str]:
    """Those that are chosen; the rest the processes make."""
    made = {name: f"canary{secrets.token_hex(12)}" for name in PLANTED}
    made["pepper"] = secrets.token_hex(32)
    settings.SECRET_KEY = made["secret key"] * 2
    settings.TOKEN_PEPPERS = {"c1": bytes.fromhex(made["pepper"])}
    return made


@pytest.fixture
def installation(transactional_db, tmp_path, canaries) -> Iterator[tuple[Web, Processes]]:
    processes = Processes(tmp_path)
    port = free_port()
    told = {
        "LEMNOS_LOG_LEVEL": "debug",
        "LEMNOS_LOG_FORMAT": "json",
        "LEMNOS_PORT": str(port),
        "LEMNOS_SECRET_KEY": canaries["secret key"] * 2,
        "LEMNOS_TOKEN_PEPPERS": f"c1:{canaries['pepper']}",
        "LEMNOS_TOOL_SECRETS": f"registry={canaries['tool secret']}",
        "LLM_API_KEY": canaries["llm key"],
        "EMBEDDING_PROVIDER": "http",
        "EMBEDDING_URL": f"https://u:{canaries['url password']}@127.0.0.1:9/v1",
        "EMBEDDING_MODEL": "m",
        "EMBEDDING_API_KEY": canaries["embedding key"],
    }
    for command in ("web", "relay", "worker"):
        processes.start(command, **told)
    web = Web(port)
    wait_for(lambda: answers(web), seconds=90, why=processes.logs)
    web.bodies.clear()
    yield web, processes
    processes.end()


def answers(web: Web) -> bool:
    try:
        return web.ask("GET", "/livez")[0] == 200
    except OSError:
        return False


def person(team, canaries) -> User:
    user = make_actor(team, "ada", role="admin", authority=5).user
    hashed = PBKDF2PasswordHasher().encode(canaries["password"], "salt" * 6, 1000)
    User.objects.filter(pk=user.pk).update(password=hashed, is_staff=True)
    return user


def log_in(web: Web, canaries: dict[str, str]) -> None:
    assert web.form("/login", username="ada", password=canaries["password"][:-1] + "x")[0] == 200
    assert web.form("/login", username="ada", password=canaries["password"])[0] == 302
    canaries["session cookie"] = web.cookies["sessionid"]
    canaries["csrf"] = web.cookies["csrftoken"]


def use_the_api(web: Web, canaries: dict[str, str]) -> str:
    """Tokens and webhooks, made, used, misused; what is shown once is told in those answers."""
    form = {"X_CSRFToken": csrf_of(web)}
    wish = {"name": "canary", "scopes": ["events:read", "memory:read", "webhooks:write"]}
    status, text = web.ask("POST", "/api/v1/tokens", wish, shown_once=True, **form)
    assert status == 201, text
    canaries["api token"] = json.loads(text)["token"].partition(".")[2]
    bearer = f"Bearer {json.loads(text)['token']}"
    again = {**form, "Idempotency_Key": "once"}
    status, text = web.ask("POST", "/api/v1/tokens", wish, shown_once=True, **again)
    canaries["idempotency answer"] = json.loads(text)["token"].partition(".")[2]
    hook = {"name": "h", "url": "https://example.com/h", "kinds": ["*"]}
    status, text = web.ask("POST", "/api/v1/webhooks", hook, shown_once=True, **form)
    assert status == 201, text
    canaries["webhook secret"] = json.loads(text)["secret"].removeprefix("whsec_")
    misuse = {**hook, "url": f"https://u:{canaries['url password']}@example.com/"}
    assert web.ask("POST", "/api/v1/webhooks", misuse, **form)[0] == 400
    web.ask("POST", "/api/v1/webhooks", {**hook, "password": canaries["password"]}, **form)
    web.ask("POST", f"/api/v1/webhooks/{json.loads(text)['id']}/test", {}, **form)
    web.ask("GET", "/api/v1/events?limit=200", Authorization=bearer)
    web.ask("POST", "/api/v1/memory/search", {"query": "storm"}, Authorization=bearer)
    web.ask("GET", "/api/v1/events", Authorization=bearer[:-2])
    published = {"type": "canary.sung", "payload": {"password": canaries["password"]}}
    assert web.ask("POST", "/api/v1/events/publish", published, **form)[0] == 201
    for path in ("/metrics", "/readyz", "/nowhere", "/docs/errors", "/api/v1/nowhere"):
        web.ask("GET", path)
    web.ask("GET", f"/nowhere?password={canaries['password']}", Accept="text/html")
    return bearer


def csrf_of(web: Web) -> str:
    return web.cookies["csrftoken"]


def look_through_the_admin(web: Web) -> int:
    seen = 0
    for model in apps.get_models():
        if not site.site.is_registered(model):
            continue
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        seen += web.ask("GET", reverse(f"{name}_changelist"))[0] == 200
        first = model._default_manager.first()
        if first is not None:
            web.ask("GET", reverse(f"{name}_change", args=[first.pk]))
    return seen


async def live(web: Web, bearer: str) -> str:
    """What a socket hears of everything that happened."""
    heard: list[str] = []
    address = f"ws://127.0.0.1:{web.port}/ws/events"
    async with websockets.connect(
        address, additional_headers={"Authorization": bearer}, proxy=None
    ) as socket:
        await socket.send(json.dumps({"resume_from": 0}))
        while not any('"canary.sung"' in text for text in heard):
            heard.append(str(await asyncio.wait_for(socket.recv(), 20)))
    return "\n".join(heard)


def stream(web: Web, bearer: str) -> str:
    """The same as server-sent events."""
    line = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    line.request(
        "GET", "/api/v1/events/stream", headers={"Authorization": bearer, "Last-Event-ID": "0"}
    )
    answer = line.getresponse()
    assert answer.status == 200
    assert answer.headers["RateLimit"].startswith('"token";r=')
    heard = ""
    until = time.monotonic() + 20  # the connection has a time limit of its own as well
    while '"canary.sung"' not in heard and time.monotonic() < until:
        heard += answer.readline().decode()
    answer.close()
    line.close()
    return heard


def rows() -> dict[str, str]:
    found = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT to_jsonb(t)::text FROM {table} t")  # noqa: S608  our own names
            found[table] = "\n".join(text for (text,) in cursor.fetchall())
    return found


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_twelve_secrets_in_use_are_seen_nowhere(installation, team, canaries):
    web, processes = installation
    person(team, canaries)

    log_in(web, canaries)
    bearer = use_the_api(web, canaries)
    assert look_through_the_admin(web) >= 30
    frames, told = asyncio.run(live(web, bearer)), stream(web, bearer)
    wait_for(lambda: '"succeeded"' in rows()["procrastinate_jobs"], seconds=30, why=processes.logs)

    written = {path.name: path.read_text() for path in processes.data_dir.glob("*.log")}
    texts = {**web.bodies, **written, **rows(), "socket": frames, "stream": told}
    assert len(written) == 3
    assert all("{" in text for text in written.values())
    assert "canary.sung" in frames
    assert "canary.sung" in told
    assert len(set(canaries.values())) == len(PLANTED) == 12
    assert found_in(texts, canaries) == set()


def test_the_search_finds_each_of_them_once_nothing_hides_them(monkeypatch, settings):
    canaries = {name: f"canary{secrets.token_hex(12)}" for name in PLANTED}
    settings.SECRET_KEY, settings.LLM_API_KEY = canaries["secret key"], canaries["llm key"]
    settings.EMBEDDING_API_KEY = canaries["embedding key"]
    settings.TOOL_SECRETS = {"registry": canaries["tool secret"]}
    canaries["pepper"] = secrets.token_hex(32)
    settings.TOKEN_PEPPERS = {"c1": bytes.fromhex(canaries["pepper"])}
    logs.own_secrets.cache_clear()

    hidden = found_in({"log": written(canaries)}, canaries)
    monkeypatch.setattr(logs, "masked", lambda value: value)
    shown = found_in({"log": written(canaries)}, canaries)

    logs.own_secrets.cache_clear()
    assert hidden == set()
    assert shown == {f"{name} in log" for name in PLANTED}


def written(canaries: dict[str, str]) -> str:
    """A line of the log about each, as careless code would write it."""
    before = logging.getLogger().handlers[:]
    logs.configure({"level": "INFO", "format": "json"})
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(io.StringIO())
    log = structlog.get_logger("careless")
    log.error("login", password=canaries["password"], csrf_token=canaries["csrf"])
    log.error(f"Cookie: sessionid={canaries['session cookie']}")
    token, answer = canaries["api token"], canaries["idempotency answer"]
    log.error(f"token lem_abcdefghijkl.{token}", answer={"token": answer})
    log.error(f"signed with whsec_{canaries['webhook secret']}")
    log.error(f"https://u:{canaries['url password']}@host/")
    for name in ("pepper", "secret key", "llm key", "embedding key", "tool secret"):
        log.error(f"it is {canaries[name]} here")
    logging.getLogger().handlers[:] = before
    return str(handler.stream.getvalue())
