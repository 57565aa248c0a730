"""Secrets never reach events or logs: values under telling names become `[redacted]`."""

import re
from typing import Any

REDACTED = "[redacted]"
_NAMES = re.compile(
    r"(?i)(password|passwd|passphrase|secret|authorization|cookie|api[_-]?key|private[_-]?key"
    r"|token$|pepper)"
)
# A fence is called `token` too, and is a number.
_FENCES = re.compile(r"(?i)token$")
_TOKEN = re.compile(r"\blem_[0-9A-Za-z]{12}\.[0-9A-Za-z_-]{20,}")
# Begins at the separator: a scheme in front would be sought from each letter of a long word anew,
# and every log line comes through here.
_URL_PASSWORD = re.compile(r"(?P<head>://[^\s:/@]*:)[^\s@/]+(?=@)")


def redact_text(text: str) -> str:
    # Most texts hold neither; looking for a few letters is much cheaper than for a pattern.
    if "lem_" in text:
        text = _TOKEN.sub(REDACTED, text)
    if "://" in text:
        text = _URL_PASSWORD.sub(r"\g<head>" + REDACTED, text)
    return text


def redact(value: Any) -> Any:
    """The same shape with secret values replaced. Fences called `token` are numbers and stay."""
    if isinstance(value, dict):
        return {
            key: REDACTED if _is_secret(str(key), item) else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact(item) for item in value]
    if isinstance(value, str):
        return redact_text(value)
    return value


def _is_secret(name: str, value: Any) -> bool:
    """Whether nobody may read this; that there is none, or whether there is one, anybody may."""
    if value is None or isinstance(value, bool) or not _NAMES.search(name):
        return False
    return not (isinstance(value, (int, float)) and _FENCES.search(name))
