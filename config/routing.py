"""Websocket routes of all apps, behind the session; who it is, `guardian.sockets` asks."""

import json
from importlib import import_module
from importlib.util import find_spec
from typing import Any, cast

from channels.routing import URLRouter
from channels.sessions import SessionMiddlewareStack
from django.urls import re_path

from guardian.errors import NotFound
from guardian.problems import PROBLEM, problem_body

routes: list[Any] = []
for app in ("guardian", "phases", "orchestrator"):
    if find_spec(f"{app}.consumers") is not None:
        routes.extend(getattr(import_module(f"{app}.consumers"), "websocket_urlpatterns", []))


async def _no_socket(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """404 instead of a handshake, as for any address that leads nowhere."""
    await receive()  # the knock itself
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 4404, "reason": NotFound.remedy})
        return
    body = problem_body(
        code=NotFound.code,
        status=NotFound.status,
        detail="There is no socket at this address.",
        instance=scope["path"],
        remedy="Open /ws/events or /ws/board?workflow=<key>.",
    )
    headers = [(b"content-type", PROBLEM.encode())]
    await send({"type": "websocket.http.response.start", "status": 404, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": json.dumps(body).encode()})


# Channels routes to ASGI applications with Django's paths, whose types know views alone.
_ELSE = re_path("", cast("Any", _no_socket))
websockets = SessionMiddlewareStack(URLRouter([*routes, _ELSE]))
