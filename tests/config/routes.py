"""Every route of the application, as its resolvers know it: nothing registered goes untried."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import get_resolver
from rest_framework.views import APIView

METHODS = ("get", "post", "put", "patch", "delete")
ROOT = "/api/v1/"
# Second roots of the same views, for programs that know them by an older address.
ALIASES = {"/api/events": "/api/v1/events", "/api/runtime": "/api/v1/runtime",
           "/tools": "/api/v1/tools"}  # fmt: skip
# Django's own site, whose pages and roles tests/config/test_admin_roles.py tries one by one.
ADMIN_SITE = "admin:"


@dataclass(frozen=True, slots=True)
class Route:
    """One address. `methods` of an API view: HTTP method → name of the scope it needs."""

    path: str
    view: Any
    methods: dict[str, str]

    @property
    def is_api(self) -> bool:
        return issubclass(self.view, APIView) if isinstance(self.view, type) else False

    @property
    def original(self) -> str:
        """The address below /api/v1 that this one is another name of; "" where it is none."""
        for alias, root in ALIASES.items():
            if self.path == alias or self.path.startswith(f"{alias}/"):
                return root + self.path.removeprefix(alias)
        return ""


def routes() -> list[Route]:
    return sorted(_walk(get_resolver(), ""), key=lambda route: route.path)


def _walk(resolver: Any, prefix: str) -> Iterator[Route]:
    for pattern in resolver.url_patterns:
        where = f"{prefix}{pattern.pattern}"
        if hasattr(pattern, "url_patterns"):
            if f"{pattern.namespace}:" != ADMIN_SITE:
                yield from _walk(pattern, where)
            continue
        yield _route("/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", where), pattern.callback)


def _route(path: str, callback: Any) -> Route:
    path = path.replace("{pk}", "{id}")
    view = getattr(callback, "cls", callback)
    if not hasattr(view, "scopes"):
        return Route(path, view, {})
    actions = getattr(callback, "actions", None) or {m: m for m in METHODS if hasattr(view, m)}
    asked = {method: action for method, action in actions.items() if method in METHODS}
    return Route(path, view, {m: view.scopes.get(action, "") for m, action in asked.items()})


def operations() -> list[tuple[str, str, str]]:
    """(path, method, scope) of each operation of the API, below its first root."""
    return sorted(
        (route.path, method, scope)
        for route in routes()
        if route.methods and not route.original
        for method, scope in route.methods.items()
    )


def aliases() -> list[tuple[str, str, str]]:
    """(path, path below /api/v1, method) of each operation at its second address."""
    return sorted(
        (route.path, route.original, method)
        for route in routes()
        if route.original
        for method in route.methods
    )


def pages() -> list[tuple[str, str]]:
    """(path, method) of everything that is no operation of the API; each by reading and posting."""
    found = [route.path for route in routes() if not route.methods]
    return sorted((path, method) for path in found for method in ("get", "post"))


def sockets() -> list[str]:
    from config.routing import routes as wires

    return sorted(f"/{wire.pattern}" for wire in wires)
