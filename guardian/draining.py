"""Between being asked to end and ending, a web process still answers, and says that it is going.

Whoever spreads requests over several processes looks at /readyz and stops sending; only then does
the server close its door.
"""

import signal
import threading
from types import FrameType
from typing import Any

SECONDS = 1.0

_asked = threading.Event()


def is_draining() -> bool:
    """Whether this process was asked to end."""
    return _asked.is_set()


def install() -> None:
    """Put ourselves before the server's own handlers; outside a server this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)
        if callable(handler) and handler is not signal.default_int_handler:
            signal.signal(number, _drain_first(handler))


def _drain_first(end: Any) -> Any:
    def asked(number: int, frame: FrameType | None) -> None:
        if _asked.is_set():  # asked twice: at once
            end(number, frame)
            return
        _asked.set()
        timer = threading.Timer(SECONDS, end, (number, None))
        timer.daemon = True
        timer.start()

    return asked
