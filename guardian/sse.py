"""The live feed as server-sent events (HTML standard, section 9.2), beside Django's sync views.

An ASGI application of its own: a stream stays open for hours and may hold no thread.
"""

import asyncio
import json
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

from channels.sessions import SessionMiddlewareStack
from django.contrib.auth import SESSION_KEY
from django.db import InterfaceError, OperationalError

from guardian import context, feed_topics, limits
from guardian.consumers import is_number
from guardian.errors import BadFilter, DomainError, Invalid, RateLimited
from guardian.feed import HEARTBEAT_SECONDS, Feed, feed
from guardian.feed_reads import encode
from guardian.foreign_errors import DatabaseUnavailable, MethodNotAllowed
from guardian.identity import forwarded_address
from guardian.listeners import Frame, Listener, in_thread
from guardian.live_socket import REASONS
from guardian.problems import PROBLEM, problem_body
from guardian.reader import COME_BACK
from guardian.sockets import Visitor, visitor_of

PATHS = frozenset({"/api/v1/events/stream", "/api/events/stream"})
RETRY_MILLISECONDS = 2000


async def _stream(scope: dict[str, Any], receive: Any, send: Any) -> None:
    request_id = uuid4().hex
    context.set_request_id(request_id)
    try:
        if scope["method"] != "GET":
            raise MethodNotAllowed
        verdict = await in_thread(_count, scope)
        listener, after = await in_thread(admit, scope)
        begin = _hello(await feed().join(listener), numbered=after is None)
    except (OperationalError, InterfaceError):
        await _refuse(scope, send, DatabaseUnavailable(), request_id)
    except DomainError as refusal:
        await _refuse(scope, send, refusal, request_id)
    else:
        fields = {"X-Request-ID": request_id, **verdict.fields()}
        await _tell(listener, begin, fields, receive, send)


events_stream = SessionMiddlewareStack(_stream)


def _count(scope: dict[str, Any]) -> limits.Verdict:
    """A stream is one request of its caller, like any other. Raises RateLimited."""
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    credentials = headers.get(b"authorization", "")
    user_id = None if credentials else scope["session"].get(SESSION_KEY)
    if credentials:
        verdict = limits.take("token", limits.caller_of(credentials))
    elif user_id:
        verdict = limits.take("session", str(user_id))
    else:
        verdict = limits.take("anonymous", _address(scope, headers))
    if not verdict.allowed:
        raise _too_many(verdict)
    return verdict


def _count_stranger(scope: dict[str, Any]) -> None:
    """Inventing tokens brings no new allowance. Raises RateLimited."""
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    if b"authorization" in headers:
        verdict = limits.take("anonymous", _address(scope, headers))
        if not verdict.allowed:
            raise _too_many(verdict)


def _too_many(verdict: limits.Verdict) -> RateLimited:
    refusal = RateLimited(f"At most {verdict.limit} requests in {limits.WINDOW_SECONDS} seconds.")
    refusal.retry_after = verdict.reset_seconds
    return refusal


def _address(scope: dict[str, Any], headers: dict[bytes, str]) -> str:
    peer = (scope.get("client") or ("",))[0]
    return forwarded_address(peer, headers.get(b"x-forwarded-for", ""))


def _admitted(scope: dict[str, Any]) -> Visitor:
    try:
        return visitor_of(scope)
    except DomainError as refusal:
        if refusal.status == 401:
            _count_stranger(scope)
        raise


def admit(scope: dict[str, Any]) -> tuple[Listener, int | None]:
    """Who listens, to what, from where on. Raises Unauthorized, Forbidden, BadFilter."""
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    own = headers.get(b"sec-fetch-site") == "same-origin" and b"origin" not in headers
    if own:  # browsers leave the Origin out of a GET to the own site, and vouch for it so
        host = headers.get(b"host", "")
        scope = {**scope, "headers": [*scope["headers"], (b"origin", f"http://{host}".encode())]}
    visitor = _admitted(scope)
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    if unknown := set(query) - {"topics"}:
        raise BadFilter(path=min(unknown), reason="is unknown; known: topics")
    names = [name for text in query.get("topics", ["events"]) for name in text.split(",") if name]
    try:
        topics = feed_topics.topics_of(visitor.actor, names)
    except Invalid as refusal:
        raise BadFilter(path="topics", reason=refusal.detail) from refusal
    listener, after = Listener(visitor, topics), _after(headers.get(b"last-event-id", "").strip())
    if after is not None:
        listener.resume(after)
    return listener, after


def _after(text: str) -> int | None:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None
    if text and not is_number(number):
        raise BadFilter(path="Last-Event-ID", reason="must be the number of an event")
    return number


async def _refuse(scope: dict[str, Any], send: Any, error: DomainError, request_id: str) -> None:
    body = problem_body(
        code=error.code,
        status=error.status,
        detail=error.detail,
        instance=scope["path"],
        remedy=error.remedy_text,
        **error.data,
    )
    headers = [
        (b"content-type", PROBLEM.encode()),
        (b"x-request-id", request_id.encode()),
        *([(b"retry-after", str(error.retry_after).encode())] if error.retry_after else []),
        *([(b"www-authenticate", b'Bearer realm="lemnos"')] if error.status == 401 else []),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    text = json.dumps(body, default=str)
    await send({"type": "http.response.body", "body": text.encode()})


def _hello(seq: int, *, numbered: bool) -> str:
    """Numbered only where nothing is missed before it: who resumes has a number of their own."""
    text = encode({"type": "hello", "seq": seq, "heartbeat": HEARTBEAT_SECONDS})
    return _event("hello", text, seq if numbered else None)


async def _tell(
    listener: Listener,
    begin: str,
    fields: dict[str, str],
    receive: Any,
    send: Any,
) -> None:
    source = feed()
    headers = [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),  # a proxy in between passes each event on at once
        *((name.lower().encode(), value.encode()) for name, value in fields.items()),
    ]
    gone = asyncio.create_task(_gone(receive, listener))
    try:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await _write(send, f"retry: {RETRY_MILLISECONDS}\n{begin}")
        with suppress(OSError):  # they left in the middle of an event
            await _send_all(listener, source, send)
    finally:
        gone.cancel()
        await source.leave(listener)


async def _send_all(listener: Listener, source: Feed, send: Any) -> None:
    while found := await _next(listener, source):
        await _write(send, "".join(_event(f.type, f.text, f.seq) for f in found))
    # The reason of the end, as a socket's close code says it.
    code = listener.close_code
    end = {"type": "close", "code": code, "reason": REASONS.get(code or 0, "")}
    await _write(send, _event("close", encode(end), None))
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _next(listener: Listener, source: Feed) -> list[Frame]:
    try:
        return await listener.frames(source)
    except (OperationalError, InterfaceError):
        listener.close(COME_BACK)
        return []


async def _gone(receive: Any, listener: Listener) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.close(1001)


async def _write(send: Any, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


def _event(kind: str, text: str, seq: int | None) -> str:
    number = f"id: {seq}\n" if seq is not None else ""
    return f"{number}event: {kind}\ndata: {text}\n\n"
