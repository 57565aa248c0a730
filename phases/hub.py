"""One hub per web process: it reads the numbered events once and tells every board socket.

The Event table is the truth. Redis only says that there is something to read; without it the hub
looks each second. A frame is encoded once for all sockets of a board.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from guardian.sockets import Visitor, still_welcome
from phases import frames
from phases.frames import Stream

log = structlog.get_logger(__name__)

WINDOW_SECONDS = 0.05
POLL_SECONDS = 1.0
PULSE_SECONDS = 3.0
RIGHTS_SECONDS = 1.5
HEARTBEAT_SECONDS = 20
PRESENCE_SECONDS = 30
QUEUE_FRAMES = 64
SCOPE = "tickets:read"
OVERFLOW = frames.encode({"type": "snapshot_required", "reason": "overflow"})
TOO_OLD = frames.encode({"type": "snapshot_required", "reason": "too_old"})
PING = frames.encode({"type": "ping"})


class Socket:
    """What is to be sent to one visitor. A full queue is thrown away: they start from /board."""

    def __init__(self, visitor: Visitor, stream: Stream) -> None:
        self.visitor, self.stream = visitor, stream
        self.viewing: str | None = None
        self.editing = False
        self.seen_at = timezone.now()
        self.close_code: int | None = None
        self._live: deque[str] = deque()
        self._first: deque[str] = deque()  # a replay, which goes before anything live
        self._replaying = self._lost = False
        self._ready = asyncio.Event()

    def offer(self, text: str) -> None:
        """Queue a live frame; beyond 64 the visitor is told to start afresh."""
        if self._lost:
            return
        if len(self._live) >= QUEUE_FRAMES:
            self._live.clear()
            self._lost = True
            text = OVERFLOW
        self._live.append(text)
        self._ready.set()

    def hold(self) -> None:
        """A replay begins: what is queued will be part of it, what comes now waits for it."""
        self._live.clear()
        self._lost, self._replaying = False, True

    def release(self, replayed: list[str]) -> None:
        self._first.extend(replayed)
        self._replaying = False
        self._ready.set()

    def close(self, code: int) -> None:
        self.close_code = code
        self._ready.set()

    async def next(self) -> str | None:
        """The next frame to send; None when the socket is to be closed."""
        while True:
            if self.close_code is not None:
                return None
            if self._first:
                return self._first.popleft()
            if self._live and not self._replaying:
                return self._live.popleft()
            self._ready.clear()
            await self._ready.wait()


class Hub:
    """The sockets of this process by board, and the one reader of events for them."""

    def __init__(self) -> None:
        self.head = 0
        self.last: dict[Stream, int] = {}  # number of the newest frame of each board
        self._sockets: dict[Stream, set[Socket]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._reading = asyncio.Lock()  # nobody joins in the middle of a read
        self._pulsed_at: datetime = timezone.now()

    async def join(self, socket: Socket) -> int:
        """Take a socket in. Returns the number its first frame will link to."""
        async with self._reading:
            if not self._tasks:
                self.head = await _in_thread(frames.head)
                self.last.clear()
                self._pulsed_at = timezone.now()
                self._tasks = [
                    asyncio.create_task(work)
                    for work in (
                        self._every(WINDOW_SECONDS, self._tell, after=self._news_or_poll),
                        self._every(PULSE_SECONDS, self._pulse),
                        self._every(RIGHTS_SECONDS, self._check_rights),
                        self._every(HEARTBEAT_SECONDS, self._ping),
                        self._listen(),
                    )
                ]
            self._sockets.setdefault(socket.stream, set()).add(socket)
            return self.last.setdefault(socket.stream, self.head)

    async def leave(self, socket: Socket) -> None:
        """Let a socket go; with the last one the reader stops."""
        members = self._sockets.get(socket.stream, set())
        members.discard(socket)
        if socket.viewing is not None:
            self.announce(socket.stream, socket.viewing)
        if not members:
            self._sockets.pop(socket.stream, None)
            self.last.pop(socket.stream, None)
        if not self._sockets:
            tasks, self._tasks = self._tasks, []
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def resume(self, socket: Socket, after: int) -> None:
        """Send what happened on the socket's board since `after`, then go on live."""
        socket.hold()
        upto, last = self.head, self.last[socket.stream]
        try:
            patch = await _in_thread(
                frames.replay, after=after, upto=max(upto, after), stream=socket.stream
            )
        except frames.TooOld:
            socket.release([TOO_OLD])
            return
        texts = frames.frames(patch, prev=after, seq=last) if patch is not None else []
        socket.release([*texts, frames.encode({"type": "replay_done", "seq": last})])

    def look(self, socket: Socket, ticket: str | None, *, editing: bool) -> None:
        """The visitor opened, edits or left a ticket."""
        left, socket.viewing = socket.viewing, ticket
        socket.editing, socket.seen_at = editing, timezone.now()
        for changed in {left, ticket} - {None}:
            self.announce(socket.stream, str(changed))

    def announce(self, stream: Stream, ticket: str) -> None:
        """Tell a board who has this ticket open."""
        since = timezone.now() - timedelta(seconds=PRESENCE_SECONDS)
        who: dict[Any, dict[str, Any]] = {}
        for socket in self._sockets.get(stream, ()):
            if socket.viewing == ticket and socket.seen_at > since:
                actor = socket.visitor.actor
                before = who.get(actor.id, {"editing": False})
                who[actor.id] = {
                    "name": actor.name,
                    "kind": actor.kind,
                    "editing": socket.editing or before["editing"],
                }
        text = frames.encode(
            {
                "type": "presence",
                "ticket": ticket,
                "who": sorted(who.values(), key=lambda w: str(w["name"])),
            }
        )
        self._publish(stream, [text])

    def _publish(self, stream: Stream, texts: list[str]) -> None:
        for socket in self._sockets.get(stream, ()):
            for text in texts:
                socket.offer(text)

    def _teams(self) -> set[Any]:
        return {team for team, _ in self._sockets}

    # What runs while somebody looks

    async def _every(
        self,
        seconds: float,
        work: Callable[[], Any],
        after: Callable[[], Any] | None = None,
    ) -> None:
        while True:
            if after is not None:
                await after()
            await asyncio.sleep(seconds)
            try:
                await work()
            except (OperationalError, InterfaceError) as error:
                # The database went away: nothing is lost, the numbers go on from where we are.
                log.warning("hub_lost_database", error=str(error)[:200])
                await asyncio.sleep(POLL_SECONDS)
            except Exception:
                # The outermost loop: all boards hang on it, so it goes on and says what happened.
                log.exception("hub_failed", work=getattr(work, "__name__", ""))
                await asyncio.sleep(POLL_SECONDS)

    async def _news_or_poll(self) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
        except TimeoutError:
            return
        self._wake.clear()

    async def _tell(self) -> None:
        """Read the next events and publish one frame per board."""
        async with self._reading:
            before = self.head
            self.head, found = await _in_thread(frames.news, after=before, teams=self._teams())
            for stream, patch in found.items():
                if stream in self.last:
                    texts = frames.frames(patch, prev=self.last[stream], seq=patch.seq)
                    self.last[stream] = patch.seq
                    self._publish(stream, texts)
        if self.head - before >= frames.READ_LIMIT:
            self._wake.set()

    async def _pulse(self) -> None:
        since, self._pulsed_at = self._pulsed_at, timezone.now()
        for stream, patch in (await _in_thread(frames.pulse, self._teams(), since)).items():
            if stream in self.last:
                here = self.last[stream]
                self._publish(stream, frames.frames(patch, prev=here, seq=here))

    async def _check_rights(self) -> None:
        sockets = [socket for members in self._sockets.values() for socket in members]
        welcome = await _in_thread(still_welcome, [s.visitor for s in sockets], scope=SCOPE)
        for socket in sockets:
            if socket.visitor not in welcome:
                socket.close(4403)

    async def _ping(self) -> None:
        since = timezone.now() - timedelta(seconds=PRESENCE_SECONDS)
        for stream, members in list(self._sockets.items()):
            gone = {s.viewing for s in members if s.viewing and s.seen_at <= since}
            self._publish(stream, [PING])
            for ticket in gone:
                self.announce(stream, ticket)

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


async def _in_thread(work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """A query on a thread of its own, so that a slow one holds up no socket."""
    return await database_sync_to_async(work, thread_sensitive=False)(*args, **kwargs)


_hubs: "WeakKeyDictionary[asyncio.AbstractEventLoop, Hub]" = WeakKeyDictionary()


def hub() -> Hub:
    """The hub of this process, which has one event loop."""
    return _hubs.setdefault(asyncio.get_running_loop(), Hub())
