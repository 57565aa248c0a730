"""Being asked to end: once politely, a second time in a hurry."""

import signal

from launch.failure import Stopped


class Signals:
    """Counts requests to end: while starting the first one interrupts, later it is only noted."""

    def __init__(self) -> None:
        self.count = 0
        self.interrupt = True
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self.note)

    def note(self, _number: int, _frame: object) -> None:
        self.count += 1
        if self.interrupt:
            self.interrupt = False
            raise Stopped

    def stopping(self) -> bool:
        return self.count > 0

    def hurried(self) -> bool:
        return self.count > 1
