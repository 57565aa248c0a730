"""The cast every test may call for, and the database it plays in."""

import os
import sys
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# An installation has pytest and nothing beside it: enough for the self-check, which is pure.
RUNTIME_ONLY = "pytest_django" not in sys.modules
if RUNTIME_ONLY:
    import django

    django.setup()

import pytest
from rest_framework.test import APIClient

from guardian import context, services
from guardian.authority import ROLE_SCOPES, Actor, actor_for, service_actor
from guardian.models import Team
from tests import factories

pytest_plugins = ["tests.requirements"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz-examples", type=int, default=2, help="requests for each operation of the API"
    )


def pytest_configure(config: pytest.Config) -> None:
    if RUNTIME_ONLY:
        config.addinivalue_line("markers", "django_db: needs the database")
        config.addinivalue_line("markers", "timeout: seconds a test may take")
        return
    from django.test import TransactionTestCase

    from tests.wiping import wipe

    # Its own rebuilds every table and asks for all permissions again: twice as slow as most tests.
    TransactionTestCase._fixture_teardown = lambda _: wipe()  # type: ignore[attr-defined]  # private


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The self-check reads its own files only, and of them what needs no more than pytest.

    That is all an installation has; with the workshop's tools it is the same, and as quick.
    """
    if not collection_path.name.startswith("test_"):
        return None
    if config.option.markexpr != "selfcheck" and not RUNTIME_ONLY:
        return None
    text = collection_path.read_text("utf-8")
    return "mark.selfcheck" not in text or "hypothesis" in text or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that no process is left with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def _no_request() -> None:
    """What a relay or job of an earlier test carried is no request of this one."""
    context.set_request_id("")
    context.set_traceparent("")


@pytest.fixture
def team(db) -> Team:
    return factories.make_team("harbour")


@pytest.fixture
def other_team(db) -> Team:
    return factories.make_team("island")


@pytest.fixture
def admin(team) -> Actor:
    return factories.make_actor(team, "ada", role="admin", authority=5)


@pytest.fixture
def lead(team) -> Actor:
    return factories.make_actor(team, "lena", role="operator", authority=4)


@pytest.fixture
def viewer(team) -> Actor:
    return factories.make_actor(team, "vera", role="viewer")


@pytest.fixture
def agent(team) -> Actor:
    return factories.make_actor(team, "coder-1", role="agent", kind="agent")


@pytest.fixture
def outsider(other_team) -> Actor:
    return factories.make_actor(other_team, "olaf", role="admin", authority=5)


@pytest.fixture
def api():
    """A client for an actor: `api(lead).get(...)`; without one it is anonymous."""

    def client(actor: Actor | None = None) -> APIClient:
        made = APIClient(raise_request_exception=False)
        if actor is not None:
            is_agent = actor.kind == "agent"
            _, text = services.create_token(
                # Agents make no tokens: theirs come from somebody who may.
                actor=service_actor(actor.team) if is_agent else actor_for(actor.user, actor.team),
                user=actor.user,
                name="test",
                scopes=sorted(ROLE_SCOPES[actor.role]),
            )
            made.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
        return made

    return client
