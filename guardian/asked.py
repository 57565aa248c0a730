"""What several parts of one admin page need, asked of the database once per request."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.http import HttpRequest

from guardian import stops
from guardian.authority import STAFF_ROLES
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


def teams_operated(request: HttpRequest) -> list[Any]:
    """Ids of the teams in which this user is an operator; to look on in another opens nothing."""
    found: list[Any] = once(request, "teams", partial(_teams_of, request.user))
    return found


def _teams_of(user: Any) -> list[Any]:
    roles = user.memberships.filter(role__in=STAFF_ROLES)
    return list(roles.values_list("team_id", flat=True))
