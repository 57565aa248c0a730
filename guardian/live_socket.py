"""What the sockets of the event feed and of the board have in common: manners and ends."""

import asyncio
import json
import time
from contextlib import suppress
from typing import Any, ClassVar
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import InterfaceError, OperationalError

from guardian import metrics
from guardian.errors import DomainError, Invalid
from guardian.listeners import TOO_SLOW
from guardian.reader import COME_BACK, NOT_ALLOWED
from guardian.sockets import MESSAGE_BYTES

MESSAGES_PER_SECOND = 20
TOO_BIG, TOO_MANY, NOT_LOGGED_IN = 1009, 1008, 4401
REASON_BYTES = 123  # RFC 6455, section 5.5
REASONS = {
    TOO_BIG: f"A message holds at most {MESSAGE_BYTES // 1024} KiB.",
    COME_BACK: "The server restarts or lost its database: connect again and resume.",
    TOO_SLOW: "Too much waited unread: connect again and resume.",
    NOT_ALLOWED: "You may not, or no longer, listen here.",
    NOT_LOGGED_IN: "Log in, or send a valid token.",
}


class LiveConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """Lets somebody in, sends what waits for them, hears what they want.

    Below: `enter`, `leave`, `send_all`, `obey`. What any of them raises becomes a close code.
    """

    # The code for what is no message of this socket, and what would be one.
    not_understood: ClassVar[int]
    understood: ClassVar[str]
    inside = over = False
    sender: "asyncio.Task[None] | None" = None

    async def enter(self) -> None:
        """Take the visitor in and say hello. Raises DomainError where they may not."""
        raise NotImplementedError

    async def leave(self) -> None:
        """Forget whoever was taken in."""
        raise NotImplementedError

    async def send_all(self) -> int | None:
        """Send until the end. Returns the code to close with."""
        raise NotImplementedError

    async def obey(self, message: Any) -> bool:
        """Do what a message asks for. False: it is none of ours. Raises DomainError."""
        raise NotImplementedError

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """However it ends, the visitor is forgotten."""
        metrics.WS_CLIENTS.change(1)
        try:
            await super().__call__(scope, receive, send)
        finally:
            metrics.WS_CLIENTS.change(-1)
            if self.sender is not None:
                self.sender.cancel()
            await self.leave()

    async def connect(self) -> None:
        # A refusal is said inside an open socket: browsers hide the reason of a failed handshake.
        await self.accept()
        self.received: list[float] = []
        if await self._did(self.enter(), refused=NOT_LOGGED_IN):
            self.inside = True
            self.sender = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        with suppress(OSError):  # they left in the middle of a frame
            await self.close(await self.send_all())

    async def _did(self, work: Any, *, refused: int) -> bool:
        """Whether it was done; else the socket is closed."""
        try:
            done = await work
        except (OperationalError, InterfaceError):
            await self.close(COME_BACK)  # the database went away: nothing is lost
        except DomainError as refusal:
            codes = {400: self.not_understood, 403: NOT_ALLOWED, 404: NOT_ALLOWED}
            needed = refusal.data.get("required")
            said = f"{refusal} Needed: {needed}." if needed else str(refusal)
            await self.close(codes.get(refusal.status, refused), said)
        else:
            if done is not False:
                return True
            await self.close(self.not_understood, self.understood)
        return False

    async def send(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Nothing more behind the end: servers refuse it."""
        if not self.over:
            await super().send(text_data, bytes_data)

    async def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Once: what was said before they heard of it is not answered any more."""
        if not self.over:
            self.over = True
            metrics.socket_dropped(code)
            await super().close(code, _fitting(reason or REASONS.get(code or 1000, "")))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if not self.inside or self.over:
            return
        said = (text_data or "").encode() or bytes_data or b""
        now = time.monotonic()
        self.received = [*(at for at in self.received if at > now - 1), now]
        if len(said) > MESSAGE_BYTES:
            await self.close(TOO_BIG)
        elif len(self.received) > MESSAGES_PER_SECOND:
            await self.close(TOO_MANY, f"At most {MESSAGES_PER_SECOND} messages a second.")
        elif text_data is None:
            await self.close(self.not_understood, self.understood)
        else:
            try:
                message = json.loads(text_data)
            except (ValueError, RecursionError):
                await self.close(self.not_understood, self.understood)
                return
            await self._did(self.obey(message), refused=self.not_understood)


def known_query(scope: dict[str, Any], known: set[str]) -> dict[str, list[str]]:
    """The query of a socket's address. Raises Invalid: what is not read is not swallowed."""
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    if unknown := sorted(set(query) - known):
        said = f"known: {', '.join(sorted(known))}" if known else "say it in a message instead"
        raise Invalid(path=unknown[0][:30], reason=f"is unknown in this address; {said}")
    return query


def _fitting(reason: str) -> str | None:
    """A reason as a close frame can carry it."""
    if len(reason.encode()) > REASON_BYTES:
        reason = reason.encode()[: REASON_BYTES - 3].decode("utf-8", "ignore") + "…"
    return reason or None
