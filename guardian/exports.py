"""The event log as one long file: CSV for people's tables, JSON lines for programs."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import QuerySet

from guardian import audit
from guardian.chain import as_json
from guardian.models import Event

PAGE = 1000
COLUMNS = (
    "seq", "id", "kind", "alias", "priority", "actor_id", "actor_kind", "authority",
    "subject_label", "subject_id", "data", "before", "after", "reason", "request_id", "source",
    "created_at", "prev_hash", "hash",
)  # fmt: skip
_OBJECTS = frozenset({"data", "before", "after"})


def in_order(rows: "QuerySet[Event]") -> Iterator[Event]:
    """Numbered events, a page at a time, so that their number does not matter."""
    after = 0
    while page := list(rows.filter(seq__gt=after).order_by("seq")[:PAGE]):
        yield from page
        after = page[-1].seq or 0


def jsonl(events: Iterable[Event]) -> Iterator[bytes]:
    """One event a line, with all that its hash covers."""
    for event in events:
        yield audit.exported_line(event).encode()


def csv_rows(events: Iterable[Event]) -> Iterator[bytes]:
    """A table with a head line; objects as JSON."""
    buffer = io.StringIO()
    table = csv.writer(buffer)
    table.writerow(COLUMNS)
    for event in events:
        table.writerow([_cell(event, name) for name in COLUMNS])
        yield _taken(buffer)
    yield _taken(buffer)


def _taken(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode()


def _cell(event: Event, name: str) -> Any:
    value = getattr(event, name)
    if value is None:
        return ""
    if name in _OBJECTS:
        return as_json(value)
    if name == "created_at":
        return value.isoformat()
    text = str(value)
    # A table program would take it for a formula.
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
