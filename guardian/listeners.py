"""One listener of the live feed: what they want, what waits for them, how they resume."""

import time
from asyncio import Event as Signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from channels.db import database_sync_to_async

from guardian import feed_reads
from guardian.feed_reads import encode
from guardian.feed_topics import Notice, Topic
from guardian.sockets import Visitor

QUEUE_FRAMES = 200
PATIENCE_SECONDS = 5.0
PAGE = 500
TOO_SLOW = 1013


class Reader(Protocol):
    """Whoever knows how far the numbered events are read."""

    @property
    def head(self) -> int:
        """The number reached."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message to a client; `seq` is how far they have heard once they have it."""

    type: str
    seq: int
    text: str


class Listener:
    """What one visitor is still to be sent, and what they listen to."""

    def __init__(self, visitor: Visitor, topics: tuple[Topic, ...]) -> None:
        self.visitor, self.topics = visitor, topics
        self.close_code: int | None = None
        self._queue: deque[Frame] = deque()
        self._resume_after: int | None = None
        self._patched: int | None = None  # behind it patches are owed, where a burst overtook them
        self._heard = 0  # what they have from elsewhere, before this process has read it
        self._ready = Signal()
        self._waiting = False
        self._took_at = time.monotonic()

    @property
    def team_id(self) -> UUID:
        return self.visitor.actor.team_id

    def offer(self, frame: Frame, *, since: int | None = None) -> None:
        """Queue a live frame, 200 at most; `since` is where the read began that made it.

        Whom a burst overtakes reads on from the table at their own pace; who takes nothing for
        5 s while 200 wait sleeps, is cut off and resumes later.
        """
        if self.close_code is not None or (frame.type == "event" and frame.seq <= self._heard):
            return
        full = len(self._queue) >= QUEUE_FRAMES
        if self._resume_after is None and not full:
            self._queue.append(frame)
            self._ready.set()
        elif not self._waiting and time.monotonic() - self._took_at > PATIENCE_SECONDS:
            self.close(TOO_SLOW)
        elif full and self._resume_after is None:
            self._resume_after, self._patched = self._queue[-1].seq, since

    def resume(self, after: int) -> None:
        """From here on frames are read from the table, until they meet the live ones."""
        self._queue.clear()
        self._resume_after, self._patched = after, None
        self._ready.set()

    def close(self, code: int) -> None:
        if self.close_code is None:
            self.close_code = code
        self._ready.set()

    def wants(self, notice: Notice) -> bool:
        return notice.team_id == self.team_id and any(
            topic.takes is not None and topic.takes(notice) for topic in self.topics
        )

    async def frames(self, reader: Reader) -> list[Frame]:
        """The next frames to send, at least one; empty when the connection is to end."""
        while self.close_code is None:
            self._took_at = time.monotonic()
            if self._queue:
                found = list(self._queue)
                self._queue.clear()
                return found
            if self._resume_after is None:
                self._ready.clear()
                self._waiting = True
                await self._ready.wait()
                self._waiting = False
            elif found := await self._replayed(reader):
                return found
        return []

    async def _replayed(self, reader: Reader) -> list[Frame]:
        """A page of what was missed; at the reader's head live frames take over.

        Nothing is awaited between the look at the head and the change, so no event falls between.
        """
        after = self._resume_after or 0
        upto, patched = reader.head, self._patched
        owed = after if patched is None else min(after, patched)
        found = await in_thread(_page, after, upto, self.team_id, self.topics, owed)
        if (self._resume_after, self._patched) != (after, patched):
            return []  # asked anew meanwhile
        self._resume_after, self._patched = found.reached, None
        if found.reached >= reader.head:
            self._resume_after, self._heard = None, found.reached
        return found.frames


@dataclass(frozen=True, slots=True)
class _Replay:
    frames: list[Frame]
    reached: int


def _page(after: int, upto: int, team: UUID, topics: tuple[Topic, ...], owed: int) -> _Replay:
    """The next events behind `after`, and the patches behind `owed`."""
    if feed_reads.is_too_far(after, upto, team):
        text = encode({"type": "snapshot_required", "seq": upto})
        return _Replay([Frame("snapshot_required", upto, text)], upto)
    notices = feed_reads.between(after, upto, [team], most=PAGE)
    # Another process may have told them more than this one has read.
    reached = notices[-1].seq if len(notices) == PAGE else max(after, upto)
    wanted = [
        Frame("event", notice.seq, notice.text)
        for notice in notices
        if any(topic.takes is not None and topic.takes(notice) for topic in topics)
    ]
    return _Replay([*wanted, *patches(topics, team, owed, reached)], reached)


def patches(topics: tuple[Topic, ...], team: UUID, after: int, upto: int) -> list[Frame]:
    """What topics make of the events between two numbers."""
    return [
        Frame("patch", upto, encode({"type": "patch", "seq": upto, "topic": topic.name, **made}))
        for topic in topics
        if topic.patches is not None and upto > after
        for made in topic.patches(team, after, upto)
    ]


async def in_thread(work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """A query on a thread of its own, so that a slow one holds up nobody."""
    return await database_sync_to_async(work, thread_sensitive=False)(*args, **kwargs)
