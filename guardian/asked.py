"""What several parts of one admin page need, asked of the database once per request."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.http import HttpRequest

from guardian import stops
from guardian.models import User


def once(request: HttpRequest, key: str, ask: Callable[[], Any]) -> Any:
    """Ask the database once per request."""
    known: dict[str, Any] = request.__dict__.setdefault("lemnos_operators", {})
    if key not in known:
        known[key] = ask()
    return known[key]


def stops_seen(request: HttpRequest) -> list[stops.Stop]:
    """The kill switches that are on where the operator of this request works."""
    user = request.user
    if not isinstance(user, User) or not user.is_staff:
        return []
    found: list[stops.Stop] = once(request, "stops", partial(stops.seen_by, user))
    return found
