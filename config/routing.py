"""Websocket routes of all apps, behind the session."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter

routes: list[Any] = []
for app in ("guardian", "phases", "orchestrator"):
    if find_spec(f"{app}.consumers") is not None:
        routes.extend(getattr(import_module(f"{app}.consumers"), "websocket_urlpatterns", []))

websockets = AuthMiddlewareStack(URLRouter(routes))
