"""The live feed: the listeners of this process, told of every event by its one reader.

Who falls behind is cut off and resumes; the Event table knows what they missed.
"""

import asyncio
from collections.abc import Callable
from uuid import UUID
from weakref import WeakKeyDictionary

from guardian import feed_reads
from guardian.feed_reads import encode
from guardian.feed_topics import Notice
from guardian.listeners import Frame, Listener, in_thread, patches
from guardian.reader import NOT_ALLOWED, RIGHTS_SECONDS, Beat, reader
from guardian.sockets import still_welcome

HEARTBEAT_SECONDS = 25
METRICS_SECONDS = 5.0


class Feed:
    """The listeners of this process."""

    def __init__(self) -> None:
        self._reader = reader()
        self._listeners: set[Listener] = set()

    @property
    def head(self) -> int:
        """How far the process has read."""
        return self._reader.head

    async def join(self, listener: Listener) -> int:
        """Take a listener in. Returns the number behind which its frames begin."""
        async with self._reader.reading:
            await self._reader.take_in(self)
            self._listeners.add(listener)
            return self.head

    async def leave(self, listener: Listener) -> None:
        """Let a listener go."""
        self._listeners.discard(listener)
        async with self._reader.reading:
            if not self._listeners:
                await self._reader.let_go(self)

    def teams(self) -> set[UUID]:
        return {listener.team_id for listener in self._listeners}

    def beats(self) -> list[Beat]:
        return [
            (RIGHTS_SECONDS, self._check_rights),
            (HEARTBEAT_SECONDS, self._ping),
            (METRICS_SECONDS, self._measure),
        ]

    def close_all(self, code: int) -> None:
        for listener in list(self._listeners):
            listener.close(code)

    async def prepare(self, before: int, upto: int, notices: list[Notice]) -> Callable[[], None]:
        """The frames of these events, each made once for all who listen."""
        frames = [(notice, Frame("event", notice.seq, notice.text)) for notice in notices]
        made = await self._patches(before, upto) if upto > before else {}

        def tell() -> None:
            for listener in list(self._listeners):
                for notice, frame in frames:
                    if listener.wants(notice):
                        listener.offer(frame, since=before)
                for frame in made.get(listener, ()):
                    listener.offer(frame, since=before)

        return tell

    async def _patches(self, after: int, upto: int) -> dict[Listener, list[Frame]]:
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


_feeds: "WeakKeyDictionary[asyncio.AbstractEventLoop, Feed]" = WeakKeyDictionary()


def feed() -> Feed:
    """The feed of this process, which has one event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _feeds:
        _feeds[loop] = Feed()
    return _feeds[loop]
