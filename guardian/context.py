"""What a request or job carries along: its id, for events and logs."""

import re
from contextvars import ContextVar

_request_id: ContextVar[str] = ContextVar("lemnos_request_id", default="")
_SAFE = re.compile(r"^[A-Za-z0-9._-]{1,64}$")


def request_id() -> str:
    return _request_id.get()


def set_request_id(value: str) -> None:
    _request_id.set(value)


def is_safe_request_id(value: str) -> bool:
    return bool(_SAFE.match(value))
