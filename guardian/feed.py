"""The live feed: one reader per web process tells every socket and stream what happened.

The Event table is the truth and its numbers are never lost: who falls behind is cut off and
resumes. Redis only wakes the reader; without it the reader looks each second.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import UUID
from weakref import WeakKeyDictionary

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError

from guardian import draining, feed_reads
from guardian.feed_reads import encode
from guardian.feed_topics import Notice
from guardian.listeners import Frame, Listener, in_thread, patches
from guardian.sockets import still_welcome

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
WINDOW_SECONDS = 0.02
RIGHTS_SECONDS = 1.5
HEARTBEAT_SECONDS = 25
METRICS_SECONDS = 5.0
COME_BACK, NOT_ALLOWED = 1012, 4403


class Feed:
    """The listeners of this process and the one reader for them."""

    def __init__(self) -> None:
        self.head = 0
        self._listeners: set[Listener] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._reading = asyncio.Lock()  # nobody joins in the middle of a read

    async def join(self, listener: Listener) -> int:
        """Take a listener in. Returns the number behind which its frames begin."""
        async with self._reading:
            if not self._tasks:
                self.head = await in_thread(feed_reads.head)
                self._tasks = [
                    asyncio.create_task(self._every(seconds, work))
                    for seconds, work in (
                        (0.0, self._tell),
                        (RIGHTS_SECONDS, self._check_rights),
                        (HEARTBEAT_SECONDS, self._ping),
                        (METRICS_SECONDS, self._measure),
                    )
                ]
                self._tasks.append(asyncio.create_task(self._listen()))
            self._listeners.add(listener)
            return self.head

    async def leave(self, listener: Listener) -> None:
        """Let a listener go; with the last one the reader stops."""
        self._listeners.discard(listener)
        async with self._reading:
            if self._listeners:
                return
            tasks, self._tasks = self._tasks, []
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except (OperationalError, InterfaceError) as error:
                log.warning("feed_lost_database", error=str(error)[:200])
                await asyncio.sleep(POLL_SECONDS)
            except Exception:
                # The outermost loop: every listener hangs on it, so it goes on and says so.
                log.exception("feed_failed", work=getattr(work, "__name__", ""))
                await asyncio.sleep(POLL_SECONDS)

    async def _tell(self) -> None:
        """Wait for news or the poll, read it, offer it to whoever listens."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
            await asyncio.sleep(WINDOW_SECONDS)  # what comes one by one is read together
        self._wake.clear()
        if draining.is_draining():
            for listener in list(self._listeners):
                listener.close(COME_BACK)
            return
        async with self._reading:
            before = self.head
            teams = {listener.team_id for listener in self._listeners}
            upto, notices = await in_thread(feed_reads.news, before, teams)
            made = await self._patches(before, upto) if upto > before else {}
            self.head = upto
            # Nothing is awaited from the new head on: who resumes meets the live frames here.
            self._offer(notices, made, before)
        if upto - before >= feed_reads.READ_LIMIT:
            self._wake.set()

    def _offer(self, notices: list[Notice], made: dict[Listener, list[Frame]], since: int) -> None:
        frames = [(notice, Frame("event", notice.seq, notice.text)) for notice in notices]
        for listener in list(self._listeners):
            for notice, frame in frames:
                if listener.wants(notice):
                    listener.offer(frame, since=since)
            for frame in made.get(listener, ()):
                listener.offer(frame, since=since)

    async def _patches(self, after: int, upto: int) -> dict[Listener, list[Frame]]:
        """Each patch is made once for all who listen to it."""
        known: dict[tuple[UUID, str], list[Frame]] = {}
        found: dict[Listener, list[Frame]] = {}
        for listener in list(self._listeners):
            for topic in listener.topics:
                if topic.patches is None:
                    continue
                key = (listener.team_id, topic.name)
                if key not in known:
                    known[key] = await in_thread(patches, (topic,), *key[:1], after, upto)
                found.setdefault(listener, []).extend(known[key])
        return found

    async def _check_rights(self) -> None:
        asked: dict[str, list[Listener]] = {}
        for listener in self._listeners:
            # Who listens to nothing yet must still be who they were.
            any_scope = set(sorted(listener.visitor.actor.scopes)[:1])
            for scope in {topic.scope for topic in listener.topics} or any_scope:
                asked.setdefault(scope, []).append(listener)
        for scope, listeners in asked.items():
            welcome = await in_thread(still_welcome, [x.visitor for x in listeners], scope=scope)
            for listener in listeners:
                if listener.visitor not in welcome:
                    listener.close(NOT_ALLOWED)

    async def _ping(self) -> None:
        frame = Frame("ping", self.head, encode({"type": "ping", "seq": self.head}))
        for listener in list(self._listeners):
            listener.offer(frame)

    async def _measure(self) -> None:
        wanted = [x for x in self._listeners if any(t.name == "metrics" for t in x.topics)]
        if not wanted:
            return
        seq = self.head
        values = await in_thread(feed_reads.metrics, seq)
        text = encode({"type": "patch", "seq": seq, "topic": "metrics", "values": values})
        for listener in wanted:
            listener.offer(Frame("patch", seq, text))

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


_feeds: "WeakKeyDictionary[asyncio.AbstractEventLoop, Feed]" = WeakKeyDictionary()


def feed() -> Feed:
    """The feed of this process, which has one event loop."""
    return _feeds.setdefault(asyncio.get_running_loop(), Feed())
