"""The board's socket: let somebody in, send them frames, hear what they look at."""

import asyncio
import json
import time
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import InterfaceError, OperationalError
from django.urls import path

from guardian import metrics
from guardian.authority import require_scope
from guardian.errors import DomainError, Forbidden
from guardian.sockets import Visitor, visitor_of
from phases import frames
from phases.hub import HEARTBEAT_SECONDS, SCOPE, Hub, Socket, hub
from phases.models import Ticket, Workflow

MESSAGE_BYTES = 64 * 1024
MESSAGES_PER_SECOND = 20
NOT_UNDERSTOOD, TOO_BIG, TOO_MANY = 1003, 1009, 1008
NOT_LOGGED_IN, NOT_ALLOWED, COME_BACK = 4401, 4403, 1012


class BoardConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """`/ws/board?workflow=key`: hello, then patches; `resume_from` fills what was missed."""

    socket: Socket | None = None
    hub: Hub
    sender: "asyncio.Task[None] | None" = None
    over = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """However it ends, the hub forgets the socket."""
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
            await self._enter()
        except (OperationalError, InterfaceError):
            await self.close(COME_BACK)

    async def _enter(self) -> None:
        try:
            visitor, workflow = await database_sync_to_async(_admit)(self.scope)
        except Forbidden:
            await self.close(NOT_ALLOWED)
            return
        except DomainError as refusal:
            await self.close(NOT_ALLOWED if refusal.status == 403 else NOT_LOGGED_IN)
            return
        self.hub = hub()
        self.received: list[float] = []
        socket = Socket(visitor, (visitor.actor.team_id, workflow.pk))
        seq = await self.hub.join(socket)
        self.socket = socket
        await self.send(
            frames.encode({"type": "hello", "seq": seq, "heartbeat": HEARTBEAT_SECONDS})
        )
        self.sender = asyncio.create_task(self._send_all(socket))

    async def _leave(self) -> None:
        socket, self.socket = self.socket, None
        if self.sender is not None:
            self.sender.cancel()
        if socket is not None:
            await self.hub.leave(socket)

    async def _send_all(self, socket: Socket) -> None:
        with suppress(OSError):  # they left in the middle of a frame
            while (text := await socket.next()) is not None:
                await self.send(text)
            await self.close(socket.close_code)

    async def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Once: what was said before they heard of it is not answered any more."""
        if not self.over:
            self.over = True
            metrics.socket_dropped(code)
            await super().close(code, reason)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.socket is None or self.over:
            return
        if text_data is None or len(text_data.encode()) > MESSAGE_BYTES:
            await self.close(TOO_BIG if text_data else NOT_UNDERSTOOD)
            return
        now = time.monotonic()
        self.received = [*(at for at in self.received if at > now - 1), now]
        if len(self.received) > MESSAGES_PER_SECOND:
            await self.close(TOO_MANY)
            return
        try:
            message = json.loads(text_data)
        except (ValueError, RecursionError):
            message = None
        try:
            understood = isinstance(message, dict) and await self._obey(self.socket, message)
        except (OperationalError, InterfaceError):
            await self.close(COME_BACK)  # the database went away: nothing is lost
            return
        if not understood:
            await self.close(NOT_UNDERSTOOD)

    async def _obey(self, socket: Socket, message: dict[str, Any]) -> bool:
        if message.get("type") == "pong":
            self.hub.look(socket, socket.viewing, editing=socket.editing)
            return True
        if "resume_from" in message:
            return await self._resume(socket, message["resume_from"])
        if isinstance(message.get("view"), dict):
            return await self._look(socket, message["view"])
        return False

    async def _resume(self, socket: Socket, after: Any) -> bool:
        if not isinstance(after, int) or isinstance(after, bool) or not 0 <= after < 2**62:
            return False
        await self.hub.resume(socket, after)
        return True

    async def _look(self, socket: Socket, view: dict[str, Any]) -> bool:
        ticket = view.get("ticket")
        if ticket is not None and not await database_sync_to_async(_is_on)(socket, ticket):
            return False
        self.hub.look(socket, ticket, editing=view.get("editing") is True)
        return True


def _admit(scope: dict[str, Any]) -> tuple[Visitor, Workflow]:
    """Raises Unauthorized, Forbidden: an unknown board and a foreign one look the same."""
    visitor = visitor_of(scope)
    require_scope(visitor.actor, SCOPE)
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    key = query.get("workflow", [""])[0]
    flows = Workflow.objects.for_team(visitor.actor.team_id)
    found = flows.filter(key=key).first() if "\x00" not in key else None
    if found is None:
        raise Forbidden
    return visitor, found


def _is_on(socket: Socket, ticket: Any) -> bool:
    try:
        pk = UUID(ticket)
    except (ValueError, TypeError, AttributeError):
        return False
    team, workflow = socket.stream
    return Ticket.objects.filter(pk=pk, team_id=team, workflow_id=workflow).exists()


websocket_urlpatterns = [path("ws/board", BoardConsumer.as_asgi())]
