"""Bringing text into shape: masked, hashed, titled. Pure, so the same text always ends the same."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from guardian.redaction import redact_text

TITLE_CHARACTERS = 200
SUMMARY_CHARACTERS = 200
TASK_TEXT_CHARACTERS = 2000
MESSAGE_CHARACTERS = 200
_SPACE = re.compile(r"\s+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
# What differs between two occurrences of one error: numbers, addresses, ids.
_VARYING = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8,}(?:-[0-9a-f]{4,})*|\d+", re.IGNORECASE)


def content_hash(text: str) -> str:
    """Equal for texts that differ in spacing, case or Unicode form only."""
    normal = _SPACE.sub(" ", unicodedata.normalize("NFC", text).casefold()).strip()
    return hashlib.sha256(normal.encode("utf-8", "surrogatepass")).hexdigest()


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters, cut behind a word where there is one."""
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    head, space, _ = cut.rpartition(" ")
    return (head if space and len(head) > limit // 2 else cut).rstrip() + "…"


def title_of(text: str) -> str:
    """The first line that says something, without its heading marks."""
    lines = (line.strip().lstrip("#").strip() for line in text.splitlines())
    return shortened(redact_text(next(filter(None, lines), "")), TITLE_CHARACTERS)


def summary_of(text: str) -> str:
    """As many of the first sentences as fit into 200 characters."""
    flat = _SPACE.sub(" ", text).strip()
    chosen = ""
    for sentence in _SENTENCE.split(flat):
        longer = f"{chosen} {sentence}".strip()
        if len(longer) > SUMMARY_CHARACTERS:
            break
        chosen = longer
    return chosen or shortened(flat, SUMMARY_CHARACTERS)


def fingerprint_of(error_type: str, message: str) -> str:
    """The same for every occurrence of one error, whatever its numbers and ids."""
    normal = f"{error_type}:{_SPACE.sub(' ', _VARYING.sub('#', message))}".casefold()
    return hashlib.sha256(normal.encode()).hexdigest()[:16]


def error_patterns_of(errors: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Each distinct error once, masked, its message at most 200 characters."""
    found: dict[str, dict[str, str]] = {}
    for error in errors:
        error_type = redact_text(str(error.get("type") or "error"))[:100]
        message = redact_text(str(error.get("message") or ""))
        fingerprint = str(error.get("fingerprint") or fingerprint_of(error_type, message))[:64]
        found.setdefault(
            fingerprint,
            {
                "fingerprint": fingerprint,
                "type": error_type,
                "message": shortened(message, MESSAGE_CHARACTERS),
            },
        )
    return list(found.values())[:20]
