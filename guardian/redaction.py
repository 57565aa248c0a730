"""Secrets never reach events or logs: values under telling names become `[redacted]`."""

import re
from collections.abc import Callable, Iterable
from typing import Any

REDACTED = "[redacted]"
_NAMES = re.compile(
    r"(?i)(password|passwd|passphrase|passcode|pwd|secret|credential|authorization|cookie"
    r"|(?:api|private)[ _-]?key|token\s*$|jwt$|pepper|csrf|session_?id|session_key)"
)
# A fence is called `token` too, and is a number.
_FENCES = re.compile(r"(?i)token\s*$")
_TOKEN = re.compile(r"\blem_[0-9A-Za-z]{12}\.[0-9A-Za-z_-]{20,}")
# Begins at the separator: a scheme in front would be sought from each letter of a long word anew,
# and every log line comes through here.
_URL_PASSWORD = re.compile(r"(?P<head>://[^\s:/@]*:)[^\s@/]+(?=@)")


_WEBHOOK_SECRET = re.compile(r"\bwhsec_[0-9A-Za-z+/_-]{16,}={0,2}")
# Header fields as libraries print them, on a line of their own or as entries of a dict.
_HEADER = re.compile(
    r"(?i)\b(?P<head>(?:proxy-)?authorization|(?:set-)?cookie)(?P<sign>['\"]?\s{0,3}[:=,]\s{0,3})"
    r"(?:'[^'\n]*'|\"[^\"\n]*\"|[^\n]+)"
)
_BEARER = re.compile(r"(?i)\b(?P<head>bearer )[0-9A-Za-z._~+/=-]{8,}")
# As in addresses, environments and calls; a fence called `token` is a short number.
_PAIR = re.compile(
    r"(?i)(?P<head>(?:sessionid|password|passwd|passphrase|pwd|(?:api|private|secret|access)[_-]?key"
    r"|secret|token(?!=\d{1,18}(?:\W|$)))=)(?:'[^'\n]*'|\"[^\"\n]*\"|[^\s&;,'\"]+)"
)
_PAIRED = ("sessionid=", "passwd=", "password=", "passphrase=", "pwd=", "key=", "token=", "secret=")
# As in a document or a dict that stands within a text.
_MEMBER = re.compile(
    r"(?i)(?P<head>(?:password|passwd|passphrase|(?:api|private)[_-]?key|secret|token|authorization"
    r"|cookie)(?P<quote>\\?['\"])\s{0,3}:\s{0,3})(?P<of>\\?['\"])[^'\"\\\n]*(?P=of)"
)


def redact_text(text: str) -> str:
    # Most texts hold none; looking for a few letters is much cheaper than for a pattern.
    lowered = text.lower()
    if "lem_" in text:
        text = _TOKEN.sub(REDACTED, text)
    if "://" in text:
        text = _URL_PASSWORD.sub(r"\g<head>" + REDACTED, text)
    if "whsec_" in text:
        text = _WEBHOOK_SECRET.sub(REDACTED, text)
    if "earer " in lowered:
        text = _BEARER.sub(r"\g<head>" + REDACTED, text)
    if "=" in lowered and any(name in lowered for name in _PAIRED):
        text = _PAIR.sub(r"\g<head>" + REDACTED, text)
    if "':" in lowered or '":' in lowered:
        text = _MEMBER.sub(r"\g<head>\g<of>" + REDACTED + r"\g<of>", text)
    return text


def stored_text(text: str) -> str:
    """redact_text() for a column of text, which holds no NUL."""
    return redact_text(text.replace("\x00", "\ufffd"))


def redact_report(text: str, own: Iterable[str] = ()) -> str:
    """redact_text() for what leaves towards machines: header fields, and this installation's own
    secrets wherever they stand."""
    text = redact_text(text)
    lowered = text.lower()
    if "authorization" in lowered or "cookie" in lowered:
        text = _HEADER.sub(r"\g<head>\g<sign>" + REDACTED, text)
    for secret in own:
        if secret in text:
            text = text.replace(secret, REDACTED)
    return text


def redact(value: Any, text: Callable[[str], str] = redact_text) -> Any:
    """The same shape with secret values replaced. Fences called `token` are numbers and stay.

    `text` is what each text goes through.
    """
    if isinstance(value, dict):
        return {
            key: REDACTED if _is_secret(str(key), item) else redact(item, text)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact(item, text) for item in value]
    if isinstance(value, str):
        return text(value)
    return value


# Where none of these stands in the JSON of a value, redact() changes nothing in it.
_SIGNS = (
    "pass", "pwd", "secret", "credential", "authorization", "cookie", "key", "token", "jwt",
    "pepper", "csrf", "session", "lem_", "://", "whsec_", "earer ",
)  # fmt: skip


def redact_json(value: Any, encode: Callable[[Any], str]) -> tuple[Any, str]:
    """redact() and its JSON. What holds no sign of a secret is neither walked through nor copied.

    `encode` writes every letter and the slash as themselves.
    """
    text = encode(value)
    # Beyond ASCII a pattern that ignores case takes letters for others, such as the long s.
    lowered = text.lower()
    if text.isascii() and not any(sign in lowered for sign in _SIGNS):
        return value, text
    masked = redact(value)
    return masked, encode(masked)


def _is_secret(name: str, value: Any) -> bool:
    """Whether nobody may read this; that there is none, or whether there is one, anybody may."""
    if value is None or isinstance(value, bool) or not _NAMES.search(name):
        return False
    return not (isinstance(value, (int, float)) and _FENCES.search(name))
