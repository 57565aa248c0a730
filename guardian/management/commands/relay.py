"""The relay process: numbers events and runs receivers. Only one is active; others stand by."""

import signal
import threading
import time
from typing import Any

import structlog
from django.core.management.base import BaseCommand
from django.db import InterfaceError, OperationalError, connection

from guardian import relay

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    requires_system_checks = []  # `prepare` has just made them all
    help = "Number committed events and deliver them to their receivers, until SIGTERM."

    def handle(self, *_: Any, **__: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        while not stop.is_set():
            try:
                self._lead(stop)
            except (OperationalError, InterfaceError) as error:
                # PostgreSQL went away: everything not committed is simply done again.
                log.warning("relay_lost_database", error=str(error)[:200])
                connection.close()
                stop.wait(1)

    def _lead(self, stop: threading.Event) -> None:
        while not relay.try_lead():
            if stop.wait(5):
                return
        log.info("relay_active")
        hints, announcer, announced = relay.Hints("lemnos_outbox"), relay.Announcer(), 0
        try:
            while not stop.is_set():
                relay.run_once(limit=relay.BATCH * 4)
                seq, _ = relay.head()
                if seq != announced:
                    announcer.announce(seq)
                    announced = seq
                started = time.monotonic()
                hints.wait(1.0)
                # Never spin: events that come one by one are taken together.
                stop.wait(max(0.0, 0.02 - (time.monotonic() - started)))
        finally:
            hints.close()
