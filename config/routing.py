"""Websocket routes of all apps, behind the session; who it is, `guardian.sockets` asks."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from channels.routing import URLRouter
from channels.sessions import SessionMiddlewareStack

routes: list[Any] = []
for app in ("guardian", "phases", "orchestrator"):
    if find_spec(f"{app}.consumers") is not None:
        routes.extend(getattr(import_module(f"{app}.consumers"), "websocket_urlpatterns", []))

websockets = SessionMiddlewareStack(URLRouter(routes))
