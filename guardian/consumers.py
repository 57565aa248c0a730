"""The socket of the live feed: let somebody in, send what they listen to, hear what they want."""

from typing import Any

from django.db import InterfaceError, OperationalError
from django.urls import path

from guardian import feed_topics
from guardian.errors import Forbidden
from guardian.feed import HEARTBEAT_SECONDS, Feed, feed
from guardian.feed_reads import encode
from guardian.listeners import Frame, Listener, in_thread
from guardian.live_socket import LiveConsumer, known_query
from guardian.reader import COME_BACK
from guardian.sockets import Visitor, visitor_of

NOT_SO = 1008


class EventConsumer(LiveConsumer):
    """`/ws/events`: hello, then events; `subscribe` chooses, `resume_from` fills what was missed.

    Who names no topic hears all events of their team.
    """

    not_understood = NOT_SO
    understood = 'Say {"subscribe": ["events"]}, {"resume_from": 5} or {"type": "pong"}.'
    listener: Listener | None = None
    feed: Feed

    async def enter(self) -> None:
        listener = await in_thread(_admit, self.scope)
        self.feed = feed()
        seq = await self.feed.join(listener)
        self.listener = listener
        await self.send(encode({"type": "hello", "seq": seq, "heartbeat": HEARTBEAT_SECONDS}))

    async def leave(self) -> None:
        listener, self.listener = self.listener, None
        if listener is not None:
            await self.feed.leave(listener)

    async def send_all(self) -> int | None:
        listener = self.listener
        if listener is None:
            return None
        while found := await self._next(listener):
            for frame in found:
                await self.send(frame.text)
        return listener.close_code

    async def _next(self, listener: Listener) -> list[Frame]:
        try:
            return await listener.frames(self.feed)
        except (OperationalError, InterfaceError):
            listener.close(COME_BACK)  # the database went away: nothing is lost
            return []

    async def obey(self, message: Any) -> bool:
        listener = self.listener
        if listener is None or not _is_understood(message):
            return False
        if "subscribe" in message:
            actor = listener.visitor.actor
            listener.topics = await in_thread(feed_topics.topics_of, actor, message["subscribe"])
        if "resume_from" in message:
            listener.resume(message["resume_from"])
        return True


def _is_understood(message: Any) -> bool:
    """Whether it is a message of the protocol."""
    known = {"subscribe", "resume_from", "type"}
    if not isinstance(message, dict) or not message or not set(message) <= known:
        return False
    if "type" in message and message != {"type": "pong"}:
        return False
    return "resume_from" not in message or is_number(message["resume_from"])


def is_number(value: Any) -> bool:
    """Whether it can be the number of an event."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62


def _admit(scope: dict[str, Any]) -> Listener:
    """Raises Unauthorized, Forbidden, Invalid."""
    visitor: Visitor = visitor_of(scope)
    known_query(scope, set())
    # Who may not read all events begins with none and subscribes to what they may.
    if not visitor.actor.scopes:
        raise Forbidden
    begin = ["events"] if visitor.actor.has_scope("events:read") else []
    return Listener(visitor, feed_topics.topics_of(visitor.actor, begin))


websocket_urlpatterns = [path("ws/events", EventConsumer.as_asgi())]
