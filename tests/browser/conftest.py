"""A real server on a real port, a relay beside it, and people with Chromium."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest
import uvicorn
from django.db import connections

from guardian import relay
from guardian import services as guardian
from orchestrator import services as orchestrator
from phases import services as phases
from phases.models import Ticket, Workflow
from phases.services.workflows import SHIPPED
from tests.e2e.processes import Processes
from tests.platform.conftest import free_port
from tests.requirements import BROWSERS
from tools import services as tools

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PASSWORD = "a long pass phrase"  # the factories' one
BAD = b"no archive at all"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One browser for a module: its loop must not run on while other tests start theirs."""
    from playwright.sync_api import sync_playwright

    # Playwright's loop runs in this thread; what the tests ask the database is no part of it.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    program = next(filter(None, map(shutil.which, BROWSERS)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="session")
def server() -> Iterator[uvicorn.Server]:
    """The web process's application, in a thread: it shares the test's database and settings."""
    from config.asgi import application

    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(
            application, port=port, log_level="warning", ws="websockets-sansio", lifespan="off"
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    yield server
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def relaying(transactional_db) -> Iterator[None]:
    """The relay's work, as often as the process would do it, until the database is emptied."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            relay.run_once(limit=500)
            stop.wait(0.05)
        connections.close_all()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    stop.set()
    thread.join(10)


@pytest.fixture
def site(team, server, relaying) -> Iterator[str]:
    """The address of a server whose relay has given the team its workflows."""
    until(lambda: Workflow.objects.filter(team=team).count() == len(SHIPPED))
    yield f"http://127.0.0.1:{server.config.port}"
    # A socket may tell the page of a move before its request is answered: the database must not
    # be emptied under a transaction that is still open.
    until(lambda: not server.server_state.connections and not server.server_state.tasks)


@pytest.fixture
def crew(site, team) -> None:
    """The built-in agents of the shipped workflow, and what their claims cost."""
    guardian.build_first_pack()
    orchestrator.seed_patterns()
    orchestrator.seed_agents(team=team)


@pytest.fixture
def blocked(site, lead) -> Ticket:
    """A checkup whose upload is no archive."""
    row, _ = tools.store_file(actor=lead, name="pkg-1.0.tar.gz", content=BAD)
    ticket = phases.open_ticket(
        actor=lead,
        title="Check pkg",
        workflow="repo_checkup",
        context={"source": {"kind": "archive", "file_id": str(row.pk)}},
    )
    phases.transition(
        actor=lead, ticket_id=ticket.pk, to_phase="PHASE_BLOCKED", reason="This is no archive."
    )
    return ticket


@pytest.fixture
def processes(tmp_path) -> Iterator[Processes]:
    made = Processes(tmp_path)
    yield made
    made.end()


@pytest.fixture
def visit(site, chromium, request, tmp_path) -> Iterator[Callable[..., Any]]:
    """`visit(lead, "/board/…")`: a window of its own in which this person is logged in."""
    contexts: list[Any] = []
    problems: list[str] = []

    def open_window(actor, path: str, *, width: int = 1440, height: int = 860, **options: Any):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, reduced_motion="reduce", **options
        )
        context.set_default_timeout(15_000)
        context.tracing.start(screenshots=True, snapshots=True)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: _note(problems, said))
        page.goto(f"{site}/login?next={quote(path)}")
        page.get_by_label("Name").fill(actor.user.username)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        live(page)
        return page

    yield open_window
    failed = getattr(request.node, "failed", False)
    for number, context in enumerate(contexts):
        path = tmp_path / f"trace-{number}.zip"
        context.tracing.stop(path=path if failed else None)
        if failed:
            print(f"trace kept: {path}")  # noqa: T201  for whoever reads the failure
        context.close()
    assert problems == []


def _note(problems: list[str], said: Any) -> None:
    """A refused move and a broken line are expected to be told; anything else is a fault."""
    expected = ("Failed to load resource", "WebSocket connection to")
    if said.type == "error" and not said.text.startswith(expected):
        problems.append(said.text)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call":
        item.failed = report.failed
    return report


def live(page: Any) -> None:
    page.get_by_role("status").filter(has_text="Live").wait_for()


def column(page: Any, name: str) -> Any:
    return page.get_by_role("region", name=name, exact=True)


def card(where: Any, title: str) -> Any:
    return where.get_by_role("listitem").filter(has=where.page.get_by_role("link", name=title))


def until(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def dragged(page: Any, what: Any, to: Any) -> Iterator[None]:
    """Carry a card over a column with the mouse; it is let go at the end."""
    start, end = what.bounding_box(), to.bounding_box()
    page.mouse.move(start["x"] + 40, start["y"] + 12)
    page.mouse.down()
    page.mouse.move(start["x"] + 60, start["y"] + 30, steps=3)
    page.mouse.move(end["x"] + end["width"] / 2, end["y"] + 320, steps=8)
    yield
    page.mouse.up()
