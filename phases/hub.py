"""The board sockets of a web process, told by its one reader of events.

A frame is encoded once for all sockets of a board.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from django.utils import timezone

from guardian import events
from guardian.feed_topics import Notice
from guardian.listeners import in_thread
from guardian.reader import NOT_ALLOWED, RIGHTS_SECONDS, Beat, reader
from guardian.sockets import Visitor, still_welcome
from guardian.stops import stop_of, stops_of
from phases import frames
from phases.frames import Stream

PULSE_SECONDS = 3.0
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
        """A replay begins: what is queued, also of an earlier one, will be part of it or is known.

        What comes now waits for it.
        """
        self._live.clear()
        self._first.clear()
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


# {reason, by, since, everywhere}, or None while work goes on.
Stopped = dict[str, Any] | None
_STOPPING = {events.ACTION_EXECUTED, events.ACTION_REVERTED}


def _may_stop(notices: Iterable[Notice]) -> bool:
    return any(notice.kind in _STOPPING for notice in notices)


class Hub:
    """The sockets of this process by board."""

    def __init__(self) -> None:
        self.last: dict[Stream, int] = {}  # number of the newest frame of each board
        self._reader = reader()
        self._sockets: dict[Stream, set[Socket]] = {}
        self._pulsed_at: datetime = timezone.now()
        self._stops: dict[UUID, Stopped] = {}  # of each team, as it was told

    async def join(self, socket: Socket) -> int:
        """Take a socket in. Returns the number its first frame will link to."""
        async with self._reader.reading:
            await self._reader.take_in(self)
            if not self._sockets:
                self._pulsed_at = timezone.now()
            self._sockets.setdefault(socket.stream, set()).add(socket)
            return self.last.setdefault(socket.stream, self._reader.head)

    async def leave(self, socket: Socket) -> None:
        """Let a socket go."""
        members = self._sockets.get(socket.stream, set())
        members.discard(socket)
        if socket.viewing is not None:
            self.announce(socket.stream, socket.viewing)
        if not members:
            self._sockets.pop(socket.stream, None)
            self.last.pop(socket.stream, None)
        async with self._reader.reading:
            if not self._sockets:
                await self._reader.let_go(self)

    async def resume(self, socket: Socket, after: int) -> None:
        """Send what happened on the socket's board since `after`, then go on live."""
        socket.hold()
        upto, last = self._reader.head, self.last[socket.stream]
        try:
            patch = await in_thread(
                frames.replay, after=after, upto=max(upto, after), stream=socket.stream
            )
            stopped = await in_thread(stop_of, socket.stream[0])
        except frames.TooOld:
            socket.release([TOO_OLD])
            return
        texts = frames.frames(patch, prev=after, seq=last) if patch is not None else []
        done = {"type": "replay_done", "seq": last, "stopped": stopped}
        socket.release([*texts, frames.encode(done)])

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

    # What the reader asks for

    def teams(self) -> set[UUID]:
        return {team for team, _ in self._sockets}

    def beats(self) -> list[Beat]:
        return [
            (PULSE_SECONDS, self._pulse),
            (RIGHTS_SECONDS, self._check_rights),
            (HEARTBEAT_SECONDS, self._ping),
        ]

    def close_all(self, code: int) -> None:
        for members in self._sockets.values():
            for socket in members:
                socket.close(code)

    async def prepare(self, before: int, upto: int, notices: list[Notice]) -> Callable[[], None]:
        """One frame per board that these events touch."""
        found = await in_thread(frames.news, notices) if notices else {}
        stops = await in_thread(stops_of, self.teams()) if _may_stop(notices) else {}
        changed = frames.boards_changed(notices)

        def tell() -> None:
            for stream in [s for s in self._sockets if str(s[1]) in changed]:
                self._publish(stream, [TOO_OLD])
            for stream, patch in found.items():
                if stream in self.last:
                    texts = frames.frames(patch, prev=self.last[stream], seq=patch.seq)
                    self.last[stream] = patch.seq
                    self._publish(stream, texts)
            self._tell_stops(stops)

        return tell

    async def _pulse(self) -> None:
        since, self._pulsed_at = self._pulsed_at, timezone.now()
        for stream, patch in (await in_thread(frames.pulse, self.teams(), since)).items():
            if stream in self.last:
                here = self.last[stream]
                self._publish(stream, frames.frames(patch, prev=here, seq=here))
        # A switch for all teams is no event of any of them.
        self._tell_stops(await in_thread(stops_of, self.teams()))

    def _tell_stops(self, stops: Mapping[UUID, Stopped]) -> None:
        """Tell the boards of a team that new work is stopped, or goes on again."""
        for team, stopped in stops.items():
            before = self._stops.get(team)
            self._stops[team] = stopped
            if stopped != before:
                text = frames.encode({"type": "stopped", "stopped": stopped})
                for stream in [s for s in self._sockets if s[0] == team]:
                    self._publish(stream, [text])

    async def _check_rights(self) -> None:
        sockets = [socket for members in self._sockets.values() for socket in members]
        welcome = await in_thread(still_welcome, [s.visitor for s in sockets], scope=SCOPE)
        for socket in sockets:
            if socket.visitor not in welcome:
                socket.close(NOT_ALLOWED)

    async def _ping(self) -> None:
        since = timezone.now() - timedelta(seconds=PRESENCE_SECONDS)
        for stream, members in list(self._sockets.items()):
            gone = {s.viewing for s in members if s.viewing and s.seen_at <= since}
            self._publish(stream, [PING])
            for ticket in gone:
                self.announce(stream, ticket)


_hubs: "WeakKeyDictionary[asyncio.AbstractEventLoop, Hub]" = WeakKeyDictionary()


def hub() -> Hub:
    """The hub of this process, which has one event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]
