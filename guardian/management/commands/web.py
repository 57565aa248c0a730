"""The web process: HTTP, server-sent events and sockets, until SIGTERM."""

import signal
import sys
from argparse import ArgumentParser
from types import FrameType
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand

from guardian.sockets import MESSAGE_BYTES


class Command(BaseCommand):
    """SIGTERM: /readyz says no, requests that are under way end, exits with 0.

    Proxies are believed by ForwardedSchemeMiddleware alone, never by the server.
    """

    help = "Serve HTTP and sockets at LEMNOS_BIND and LEMNOS_PORT until SIGTERM."
    requires_system_checks = []  # `prepare` has just made them all

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=settings.BIND, help="default: LEMNOS_BIND")
        parser.add_argument("--port", type=int, default=settings.PORT, help="default: LEMNOS_PORT")

    def handle(self, *_args: Any, **options: Any) -> None:
        # The server's own handlers stand before these and raise the signal again once it is done.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end)
        uvicorn.run(
            "config.asgi:application",
            host=options["host"],
            port=options["port"],
            access_log=False,
            server_header=False,
            proxy_headers=False,
            log_level="warning",
            log_config=None,
            lifespan="on",
            # By a message's announced length: nobody's is kept in memory to be refused when whole.
            ws_max_size=MESSAGE_BYTES,
            timeout_graceful_shutdown=settings.SHUTDOWN_SECONDS,
        )


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)
