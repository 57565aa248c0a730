"""What a request or job carries along: its id and its place in a trace, for events and logs."""

import re
import secrets
from contextvars import ContextVar
from typing import Any

_request_id: ContextVar[str] = ContextVar("lemnos_request_id", default="")
_traceparent: ContextVar[str] = ContextVar("lemnos_traceparent", default="")
# The key of a job's arguments under which they travel.
CARRIED = "carried"
_SAFE = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
# W3C Trace Context, version 00: trace id, parent id, flags.
_TRACEPARENT = re.compile(r"^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$")


def request_id() -> str:
    return _request_id.get()


def set_request_id(value: str) -> None:
    _request_id.set(value)


def is_safe_request_id(value: str) -> bool:
    return bool(_SAFE.match(value))


def traceparent() -> str:
    """Where this work stands in a trace, as W3C writes it; empty outside of one."""
    return _traceparent.get()


def set_traceparent(value: str) -> None:
    _traceparent.set(value if _TRACEPARENT.match(value) else "")


def trace_id() -> str:
    return _traceparent.get()[3:35]


def continued(given: str) -> str:
    """A step of our own in the caller's trace, or in a new one where none was given."""
    match = _TRACEPARENT.match(given)
    trace, flags = (match[1], match[3]) if match else (secrets.token_hex(16), "00")
    return f"00-{trace}-{secrets.token_hex(8)}-{flags}"


def carried() -> dict[str, Any]:
    """What a job takes along beside its own arguments; nothing where there is nothing to carry."""
    known = {"request_id": request_id(), "traceparent": traceparent()}
    return {CARRIED: known} if any(known.values()) else {}


def taken_from(arguments: dict[str, Any]) -> tuple[str, str]:
    """Request id and traceparent of a job, taken out of its arguments."""
    known = arguments.pop(CARRIED, None) or {}
    return str(known.get("request_id", "")), str(known.get("traceparent", ""))
