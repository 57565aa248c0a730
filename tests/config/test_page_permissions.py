"""Everything that is no operation of the API: who gets a page, a file of figures or a socket."""

import asyncio
import csv
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.db import transaction
from django.test import Client

from config.routing import websockets
from guardian.authority import Actor
from phases import services as phases
from tests import factories
from tests.config import routes

TABLE = settings.BASE_DIR / "docs" / "permissions-pages.csv"
ROLES = ("viewer", "operator", "author", "admin")
WHO = ("anonymous", *ROLES)
PLACES = {"{code}": "not_found", "{workflow}": "default", "{number}": "1"}
QUERIES = {"/ws/board": b"workflow=default"}
# No neighbour of the server: /metrics would ask nothing of one.
AFAR = "203.0.113.9"
SECRET = "a long pass phrase"


def expected() -> dict[tuple[str, str], dict[str, str]]:
    with TABLE.open(newline="", encoding="utf-8") as file:
        return {(row["path"], row["method"]): row for row in csv.DictReader(file)}


def cast() -> dict[str, Actor]:
    team = factories.make_team("harbour")
    phases.seed_team(team=team)
    people = {role: factories.make_actor(team, f"harbour-{role}", role=role) for role in ROLES}
    ticket = phases.open_ticket(actor=people["author"], title="A ship")
    PLACES["{ticket_id}"] = str(ticket.pk)
    return people


def sessions_of(people: dict[str, Actor]) -> dict[str, str]:
    """A session's key for each; nobody has none."""
    keys = {}
    for who, actor in people.items():
        client = Client()
        client.force_login(actor.user)
        keys[who] = client.cookies[settings.SESSION_COOKIE_NAME].value
    return keys


def form_for(path: str) -> dict[str, str]:
    """What a person would send there."""
    new = "another long pass phrase"
    return {
        "/login": {"username": "harbour-viewer", "password": SECRET},
        "/admin/login/": {"username": "harbour-operator", "password": SECRET},
        "/team": {"team": "harbour"},
        "/password": {"present": SECRET, "new": new, "again": new},
    }.get(path, {})


def outcome(session: str | None, path: str, method: str) -> str:
    """`yes`, `login` for the way there, or the status of the refusal; it is undone."""
    address = path
    for place, value in PLACES.items():
        address = address.replace(place, value)
    with transaction.atomic():
        client = Client(raise_request_exception=False, REMOTE_ADDR=AFAR)
        if session is not None:
            client.cookies[settings.SESSION_COOKIE_NAME] = session
        answer = client.get(address) if method == "get" else client.post(address, form_for(path))
        transaction.set_rollback(True)
    if answer.status_code in {301, 302, 303}:
        to = answer["Location"].partition("?")[0]
        return "login" if to in {"/login", "/admin/login/"} and to != path else "yes"
    if path == "/readyz" and answer.status_code == 503:  # nothing works beside the tests: told
        return "yes"
    return "yes" if answer.status_code < 400 else str(answer.status_code)


def test_every_page_and_socket_has_its_row():
    known = set(expected())
    found = {*routes.pages(), *((path, "ws") for path in routes.sockets())}

    assert found - known == set(), "add these to docs/permissions-pages.csv"
    assert known - found == set(), "these are gone"


@pytest.mark.django_db
def test_each_page_is_shown_to_whom_the_table_says():
    sessions, known = sessions_of(cast()), expected()

    wrong = [
        f"{method} {path} {who}: is {is_now}, should be {known[path, method][who]}"
        for path, method in routes.pages()
        for who in WHO
        if (is_now := outcome(sessions.get(who), path, method)) != known[path, method][who]
    ]

    assert wrong == [], "\n".join(wrong)


def headers_of(session: str | None) -> list[tuple[bytes, bytes]]:
    headers = [(b"host", b"testserver"), (b"origin", b"http://testserver")]
    cookie = f"{settings.SESSION_COOKIE_NAME}={session}".encode()
    return [*headers, (b"cookie", cookie)] if session else headers


async def knock(path: str, headers: list[tuple[bytes, bytes]]) -> str:
    """`yes`, or the code the socket is closed with."""
    scope = {
        "type": "websocket", "path": path, "query_string": QUERIES.get(path, b""),
        "headers": headers, "subprotocols": [], "client": (AFAR, 1),
    }  # fmt: skip
    wire = ApplicationCommunicator(websockets, scope)
    await wire.send_input({"type": "websocket.connect"})
    answer: dict[str, Any] = await wire.receive_output(5)
    if answer["type"] == "websocket.accept":
        answer = await wire.receive_output(5)
    await wire.send_input({"type": "websocket.disconnect", "code": 1001})
    await wire.wait(5)
    return str(answer["code"]) if answer["type"] == "websocket.close" else "yes"


@pytest.mark.django_db(transaction=True)
def test_each_socket_opens_for_whom_the_table_says():
    sessions, known = sessions_of(cast()), expected()

    async def found() -> dict[tuple[str, str], str]:
        return {
            (path, who): await knock(path, headers_of(sessions.get(who)))
            for path in routes.sockets()
            for who in WHO
        }

    opened = asyncio.run(found())
    assert opened == {(path, who): known[path, "ws"][who] for path, who in opened}


class TestTheTableItself:
    """What must hold of every row, so that a wrong cell is not simply written down."""

    OPEN = frozenset(
        (
            "/", "/livez", "/readyz", "/login", "/logout", "/api/schema", "/api/docs", "/llms.txt",
            "/docs/errors", "/docs/errors/{code}", "/admin/login/", "/admin/password_change/",
        )
    )  # fmt: skip

    def test_nobody_unknown_is_shown_what_belongs_to_a_team(self):
        for (path, method), row in expected().items():
            if path not in self.OPEN:
                assert row["anonymous"] in {"401", "4401", "login", "405"}, (method, path)

    def test_pages_of_operators_are_closed_to_viewers(self):
        for (path, method), row in expected().items():
            if path.startswith("/operators/") or path == "/metrics":
                assert row["viewer"] in {"login", "403", "405"}, (method, path)
