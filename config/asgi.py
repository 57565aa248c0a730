"""The web process: HTTP through one thread hop to Django's sync views, sockets through channels."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from typing import Any, cast

from a2wsgi import WSGIMiddleware
from django.core.wsgi import get_wsgi_application

django_wsgi = get_wsgi_application()

from config.routing import websockets  # noqa: E402  needs Django set up
from guardian import draining, sse  # noqa: E402  needs Django set up

# Django's handler is a WSGI application; its stubs only say so in looser types than a2wsgi's.
http = WSGIMiddleware(cast("Any", django_wsgi), workers=10)


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Route by protocol; the lifespan's start is when the server's signal handlers are in place."""
    if scope["type"] == "http" and scope["path"] in sse.PATHS:
        await sse.events_stream(scope, receive, send)
    elif scope["type"] == "http":
        await http(cast("Any", scope), receive, send)
    elif scope["type"] == "websocket":
        await websockets(scope, receive, send)
    elif scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                draining.install()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
