"""The one reader of a web process: it reads each numbered event once, for all who stream it on.

The Event table is the truth and its numbers are never lost. Redis only wakes the reader; without
it the reader looks each second.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Protocol
from uuid import UUID
from weakref import WeakKeyDictionary

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError

from guardian import draining, feed_reads
from guardian.feed_topics import Notice
from guardian.listeners import in_thread

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
WINDOW_SECONDS = 0.05
RIGHTS_SECONDS = 1.5
COME_BACK, NOT_ALLOWED = 1012, 4403

# Seconds between two turns, and the turn.
Beat = tuple[float, Callable[[], Awaitable[None]]]


class Audience(Protocol):
    """Sockets and streams of one kind."""

    def teams(self) -> Iterable[UUID]:
        """Whose events are worth reading."""

    def beats(self) -> Iterable[Beat]:
        """What runs while anybody is there."""

    async def prepare(self, before: int, upto: int, notices: list[Notice]) -> Callable[[], None]:
        """What is to be told of these events; told at once when it is called, awaiting nothing."""

    def close_all(self, code: int) -> None:
        """Cut everybody off."""


class Reader:
    """How far this process has read, and who is told."""

    def __init__(self) -> None:
        self.head = 0
        self._audiences: dict[Audience, list[asyncio.Task[None]]] = {}
        self._own: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        # Held by whoever joins or leaves, so that nobody does in the middle of a read.
        self.reading = asyncio.Lock()

    async def take_in(self, audience: Audience) -> None:
        """Read for this audience from here on; `reading` is held."""
        if not self._own:
            self.head = await in_thread(feed_reads.head)
            self._own = [
                asyncio.create_task(_every(0.0, self._tell)),
                asyncio.create_task(self._listen()),
            ]
        if audience not in self._audiences:
            self._audiences[audience] = [
                asyncio.create_task(_every(seconds, turn)) for seconds, turn in audience.beats()
            ]

    async def let_go(self, audience: Audience) -> None:
        """Nobody is left in it; with the last audience the reading stops. `reading` is held."""
        ended = self._audiences.pop(audience, [])
        if not self._audiences:
            ended += self._own
            self._own = []
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)

    async def _tell(self) -> None:
        """Wait for news or the poll, read it, tell it."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
            await asyncio.sleep(WINDOW_SECONDS)  # what comes one by one is read together
        self._wake.clear()
        if draining.is_draining():
            for audience in self._audiences:
                audience.close_all(COME_BACK)
            return
        async with self.reading:
            before = self.head
            teams = {team for audience in self._audiences for team in audience.teams()}
            upto, notices = await in_thread(feed_reads.news, before, teams)
            told = [await x.prepare(before, upto, notices) for x in self._audiences]
            # Nothing is awaited from the new head on: who resumes meets the live frames here.
            self.head = upto
            for tell in told:
                tell()
        if upto - before >= feed_reads.READ_LIMIT:
            self._wake.set()

    async def _listen(self) -> None:
        """Be woken by the relay through Redis; without Redis the poll is enough."""
        import redis.asyncio as redis

        while settings.REDIS_URL:
            client = redis.Redis.from_url(settings.REDIS_URL)
            try:
                async with client.pubsub() as channel:
                    await channel.subscribe("lemnos:seq")
                    while True:
                        if await channel.get_message(ignore_subscribe_messages=True, timeout=30):
                            self._wake.set()
            except (redis.RedisError, OSError) as error:
                log.info("redis_unreachable", error=str(error)[:200])
            finally:
                await client.aclose()
            await asyncio.sleep(5)


async def _every(seconds: float, turn: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await turn()
        except (OperationalError, InterfaceError) as error:
            # The database went away: nothing is lost, the numbers go on from where we are.
            log.warning("feed_lost_database", error=str(error)[:200])
            await asyncio.sleep(POLL_SECONDS)
        except Exception:
            # The outermost loop: everybody hangs on it, so it goes on and says what happened.
            log.exception("feed_failed", work=getattr(turn, "__qualname__", ""))
            await asyncio.sleep(POLL_SECONDS)


_readers: "WeakKeyDictionary[asyncio.AbstractEventLoop, Reader]" = WeakKeyDictionary()


def reader() -> Reader:
    """The reader of this process, which has one event loop."""
    return _readers.setdefault(asyncio.get_running_loop(), Reader())
