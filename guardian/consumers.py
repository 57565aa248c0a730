"""The socket of the live feed: let somebody in, send what they listen to, hear what they want."""

import asyncio
import json
import time
from contextlib import suppress
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import InterfaceError, OperationalError
from django.urls import path

from guardian import feed_topics, metrics
from guardian.errors import DomainError, Forbidden, Invalid
from guardian.feed import COME_BACK, HEARTBEAT_SECONDS, NOT_ALLOWED, Feed, feed
from guardian.feed_reads import encode
from guardian.listeners import Frame, Listener, in_thread
from guardian.sockets import Visitor, visitor_of

MESSAGE_BYTES = 64 * 1024
MESSAGES_PER_SECOND = 20
TOO_BIG, NOT_SO, NOT_LOGGED_IN = 1009, 1008, 4401


class EventConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """`/ws/events`: hello, then events; `subscribe` chooses, `resume_from` fills what was missed.

    Who names no topic hears all events of their team.
    """

    listener: Listener | None = None
    feed: Feed
    sender: "asyncio.Task[None] | None" = None
    over = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """However it ends, the feed forgets the listener."""
        metrics.WS_CLIENTS.change(1)
        try:
            await super().__call__(scope, receive, send)
        finally:
            metrics.WS_CLIENTS.change(-1)
            await self._leave()

    async def connect(self) -> None:
        # A refusal is said inside an open socket: browsers hide the reason of a failed handshake.
        await self.accept()
        try:
            listener = await in_thread(_admit, self.scope)
            self.feed = feed()
            seq = await self.feed.join(listener)
        except (OperationalError, InterfaceError):
            await self.close(COME_BACK)
            return
        except DomainError as refusal:
            await self.close(NOT_ALLOWED if refusal.status == 403 else NOT_LOGGED_IN)
            return
        self.received: list[float] = []
        self.listener = listener
        await self.send(encode({"type": "hello", "seq": seq, "heartbeat": HEARTBEAT_SECONDS}))
        self.sender = asyncio.create_task(self._send_all(listener))

    async def _leave(self) -> None:
        listener, self.listener = self.listener, None
        if self.sender is not None:
            self.sender.cancel()
        if listener is not None:
            await self.feed.leave(listener)

    async def _send_all(self, listener: Listener) -> None:
        with suppress(OSError):  # they left in the middle of a frame
            while found := await self._next(listener):
                for frame in found:
                    await self.send(frame.text)
            await self.close(listener.close_code)

    async def _next(self, listener: Listener) -> list[Frame]:
        try:
            return await listener.frames(self.feed)
        except (OperationalError, InterfaceError):
            listener.close(COME_BACK)  # the database went away: nothing is lost
            return []

    async def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Once: what was said before they heard of it is not answered any more."""
        if not self.over:
            self.over = True
            metrics.socket_dropped(code)
            await super().close(code, reason)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        listener = self.listener
        if listener is None or self.over:
            return
        said = text_data if text_data is not None else bytes_data or b""
        if len(said.encode() if isinstance(said, str) else said) > MESSAGE_BYTES:
            await self.close(TOO_BIG)
            return
        now = time.monotonic()
        self.received = [*(at for at in self.received if at > now - 1), now]
        if len(self.received) > MESSAGES_PER_SECOND or text_data is None:
            await self.close(NOT_SO)
            return
        await self._obey(listener, text_data)

    async def _obey(self, listener: Listener, text: str) -> None:
        try:
            message = _understood(text)
            if "subscribe" in message:
                actor = listener.visitor.actor
                listener.topics = await in_thread(
                    feed_topics.topics_of, actor, message["subscribe"]
                )
        except Invalid:
            await self.close(NOT_SO)
        except DomainError:
            await self.close(NOT_ALLOWED)
        except (OperationalError, InterfaceError):
            await self.close(COME_BACK)
        else:
            if "resume_from" in message:
                listener.resume(message["resume_from"])


def _understood(text: str) -> dict[str, Any]:
    """A message of the protocol. Raises Invalid."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid("This is not JSON.") from error
    known = {"subscribe", "resume_from", "type"}
    if not isinstance(message, dict) or not message or not set(message) <= known:
        raise Invalid("This is no message of the feed.")
    if "type" in message and message != {"type": "pong"}:
        raise Invalid("Of types only pong is heard.")
    if "resume_from" in message and not is_number(message["resume_from"]):
        raise Invalid(path="resume_from", reason="must be the number of an event")
    return message


def is_number(value: Any) -> bool:
    """Whether it can be the number of an event."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62


def _admit(scope: dict[str, Any]) -> Listener:
    """Raises Unauthorized, Forbidden."""
    visitor: Visitor = visitor_of(scope)
    # Who may not read all events begins with none and subscribes to what they may.
    if not visitor.actor.scopes:
        raise Forbidden
    begin = ["events"] if visitor.actor.has_scope("events:read") else []
    return Listener(visitor, feed_topics.topics_of(visitor.actor, begin))


websocket_urlpatterns = [path("ws/events", EventConsumer.as_asgi())]
