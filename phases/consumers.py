"""The board's socket: let somebody in, send them frames, hear what they look at."""

from typing import Any
from uuid import UUID

from django.urls import path

from guardian.authority import require_scope
from guardian.consumers import is_number
from guardian.errors import Forbidden
from guardian.listeners import in_thread
from guardian.live_socket import LiveConsumer, known_query
from guardian.sockets import Visitor, visitor_of
from phases import frames
from phases.hub import HEARTBEAT_SECONDS, SCOPE, Hub, Socket, hub
from phases.models import Ticket, Workflow


class BoardConsumer(LiveConsumer):
    """`/ws/board?workflow=key`: hello, then patches; `resume_from` fills what was missed."""

    not_understood = 1003
    understood = 'Say {"resume_from": 5}, {"view": {"ticket": id}} or {"type": "pong"}.'
    socket: Socket | None = None
    hub: Hub

    async def enter(self) -> None:
        visitor, workflow = await in_thread(_admit, self.scope)
        self.hub = hub()
        socket = Socket(visitor, (visitor.actor.team_id, workflow.pk))
        seq = await self.hub.join(socket)
        self.socket = socket
        await self.send(
            frames.encode({"type": "hello", "seq": seq, "heartbeat": HEARTBEAT_SECONDS})
        )

    async def leave(self) -> None:
        socket, self.socket = self.socket, None
        if socket is not None:
            await self.hub.leave(socket)

    async def send_all(self) -> int | None:
        socket = self.socket
        if socket is None:
            return None
        while (text := await socket.next()) is not None:
            await self.send(text)
        return socket.close_code

    async def obey(self, message: Any) -> bool:
        socket = self.socket
        if socket is None or not isinstance(message, dict):
            return False
        if message.get("type") == "pong":
            self.hub.look(socket, socket.viewing, editing=socket.editing)
            return True
        if "resume_from" in message:
            return await self._resume(socket, message["resume_from"])
        if isinstance(message.get("view"), dict):
            return await self._look(socket, message["view"])
        return False

    async def _resume(self, socket: Socket, after: Any) -> bool:
        if not is_number(after):
            return False
        await self.hub.resume(socket, after)
        return True

    async def _look(self, socket: Socket, view: dict[str, Any]) -> bool:
        ticket = view.get("ticket")
        if ticket is not None and not await in_thread(_is_on, socket, ticket):
            return False
        self.hub.look(socket, ticket, editing=view.get("editing") is True)
        return True


def _admit(scope: dict[str, Any]) -> tuple[Visitor, Workflow]:
    """Raises Unauthorized, Invalid, Forbidden: an unknown board and a foreign one look the same."""
    visitor = visitor_of(scope)
    require_scope(visitor.actor, SCOPE)
    query = known_query(scope, {"workflow"})
    key = query.get("workflow", [""])[0]
    flows = Workflow.objects.for_team(visitor.actor.team_id)
    found = flows.filter(key=key).first() if "\x00" not in key else None
    if found is None:
        keys = ", ".join(flows.order_by("key").values_list("key", flat=True))
        raise Forbidden(f"Add ?workflow= with a board of your team: {keys}.")
    return visitor, found


def _is_on(socket: Socket, ticket: Any) -> bool:
    try:
        pk = UUID(ticket)
    except (ValueError, TypeError, AttributeError):
        return False
    team, workflow = socket.stream
    return Ticket.objects.filter(pk=pk, team_id=team, workflow_id=workflow).exists()


websocket_urlpatterns = [path("ws/board", BoardConsumer.as_asgi())]
