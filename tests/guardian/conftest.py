"""What the tests of guardian share."""

import pytest

from guardian import outbox


@pytest.fixture
def hear():
    """Register a receiver for one test only."""
    made: list[str] = []

    def register(kind, receiver):
        receiver.__module__ = "tests"
        receiver.__name__ = f"receiver_{len(made)}_{id(receiver)}"
        outbox.on(kind)(receiver)
        made.append(f"tests.{receiver.__name__}")
        return made[-1]

    yield register
    for name in made:
        outbox._subscriptions.pop(name)
