"""Proving the ledger, in the database and in its archive files, in constant memory."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from guardian import events
from guardian.chain import COVERED, FIRST_HASH, LedgerBroken, Links, as_json, content_of, hash_of
from guardian.models import Delivery, Event

PAGE = 1000
# The member that a line of an export has, and no line of an archive.
EXPORT = "export_of_team"
_BESIDE = ("alias", "actor_kind", "authority", "traceparent", "source", "prev_hash", "hash")


@dataclass(frozen=True, slots=True)
class Proof:
    """A stretch of the ledger whose every link holds."""

    from_seq: int
    to_seq: int
    count: int
    head: str
    sha256: str = ""


def begin() -> tuple[int, str]:
    """(number, hash) of the last archived event, behind which the ledger begins."""
    marks = Event.objects.filter(kind=events.LEDGER_ARCHIVED).order_by("-created_at", "-id")
    newest = marks.values_list("data", flat=True).first()
    return (newest["to_seq"], newest["last_hash"]) if newest else (0, FIRST_HASH)


def stretch(after: int, upto: int | None = None) -> Iterator[Event]:
    """Numbered events in their order, a page at a time."""
    while True:
        rows = Event.objects.filter(seq__gt=after).order_by("seq")
        if upto is not None:
            rows = rows.filter(seq__lte=upto)
        page = list(rows[:PAGE])
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].seq or 0


def verify() -> Proof:
    """The whole ledger from its begin to its head. Raises LedgerBroken."""
    while True:
        start = begin()
        try:
            return _verify_from(*start)
        except LedgerBroken:
            if begin() == start:
                raise
            # What seemed to be missing was archived while we read: it begins elsewhere now.


def _verify_from(after: int, head: str) -> Proof:
    delivered = _newest_delivered()  # before the ledger is read: it goes on meanwhile
    left = Event.objects.filter(seq__lte=after).order_by("seq").values_list("seq", flat=True)
    if (stray := left.first()) is not None:
        raise LedgerBroken(stray, "it was archived and is here again")
    links = Links(after_seq=after, after_hash=head)
    for event in stretch(after):
        links.add(content_of(event), prev_hash=event.prev_hash, digest=event.hash)
    if delivered > links.seq:
        raise LedgerBroken(links.seq + 1, f"it is missing, though {delivered} was delivered")
    return Proof(after + 1, links.seq, links.count, links.head)


def _newest_delivered() -> int:
    """The highest number beside the ledger: its own end cannot show that more came after it."""
    return Delivery.objects.order_by("-seq").values_list("seq", flat=True).first() or 0


# Archive files: one event a line, all of its row


def line_of(event: Event, **marks: str) -> str:
    """The event as a line of the archive, from which its hash can be proven."""
    beside = {name: getattr(event, name) for name in _BESIDE}
    return as_json({**content_of(event), **beside, **marks}) + "\n"


def exported_line(event: Event) -> str:
    """A line of an export, marked so that nobody takes its gaps for holes in the ledger."""
    return line_of(event, **{EXPORT: str(event.team_id)})


def write_archive(path: Path, *, after: int, after_hash: str, upto: int) -> Proof:
    """Write the stretch to a file, proving each link on the way; a broken one is not archived.

    Raises LedgerBroken.
    """
    links = Links(after_seq=after, after_hash=after_hash)
    digest = hashlib.sha256()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("wb") as file:
        path.chmod(0o600)
        for event in stretch(after, upto):
            links.add(content_of(event), prev_hash=event.prev_hash, digest=event.hash)
            line = line_of(event).encode()
            digest.update(line)
            file.write(line)
        _to_disk(file)
    return Proof(after + 1, links.seq, links.count, links.head, digest.hexdigest())


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


class NotAnArchive(Exception):
    """An export was given where a whole stretch of the ledger is wanted."""


def verify_export(path: Path) -> Proof:
    """Each line of an export by itself; what is not in the file nobody can miss.

    Raises LedgerBroken.
    """
    first = last = count = 0
    head, digest = "", hashlib.sha256()
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            digest.update(raw)
            row = _row(raw, seq=number)
            seq, head = row["seq"], row["hash"]
            if seq <= last:
                raise LedgerBroken(seq, f"it stands behind {last}")
            if head != hash_of(row["prev_hash"], {name: row[name] for name in COVERED}):
                raise LedgerBroken(seq, "its content is not what was written")
            first, last, count = first or seq, seq, count + 1
    return Proof(first, last, count, head, digest.hexdigest())


def _is_export(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            return EXPORT in json.loads(file.readline() or b"{}")
        except (ValueError, TypeError):
            return False


def verify_archive(path: Path) -> Proof:
    """Every line of an archive file, and the file as the ledger remembers it.

    Raises LedgerBroken, NotAnArchive.
    """
    if _is_export(path):
        verify_export(path)
        raise NotAnArchive
    links: Links | None = None
    first = 0
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            digest.update(raw)
            row = _row(raw, seq=links.seq + 1 if links else number)
            if links is None:
                first = row["seq"]
                links = Links(after_seq=first - 1, after_hash=row["prev_hash"])
            content = {name: row[name] for name in COVERED}
            links.add(content, prev_hash=row["prev_hash"], digest=row["hash"])
    if links is None:
        raise LedgerBroken(0, "the file is empty")
    proof = Proof(first, links.seq, links.count, links.head, digest.hexdigest())
    _compare(proof)
    return proof


def _row(raw: bytes, *, seq: int) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(raw)
    except ValueError as error:
        raise LedgerBroken(seq, "its line cannot be read") from error
    whole = isinstance(row, dict) and set(COVERED) | {"prev_hash", "hash"} <= set(row)
    if not whole or not isinstance(row["seq"], int):
        raise LedgerBroken(seq, "its line lacks a member")
    return row


def _compare(proof: Proof) -> None:
    """With what the ledger, or an archive after this one, says about the file."""
    mark = Event.objects.filter(
        kind=events.LEDGER_ARCHIVED, data__from_seq=proof.from_seq
    ).values_list("data", flat=True)
    for said in mark:
        if (said["to_seq"], said["last_hash"]) != (proof.to_seq, proof.head):
            raise LedgerBroken(proof.to_seq, "the file does not end where the ledger says")
        if said["sha256"] != proof.sha256:
            raise LedgerBroken(proof.from_seq, "the file is not the one that was written")


def archivable(before: datetime, *, most: int) -> tuple[int, str, int] | None:
    """(number, hash) behind which to archive and the last number, or None.

    The stretch from the begin in which every event is old enough and none has work left to do.
    """
    after, head = begin()
    rows = Event.objects.filter(seq__gt=after)
    young = rows.filter(created_at__gte=before).order_by("seq").values_list("seq", flat=True)
    busy = Delivery.objects.filter(state=Delivery.State.PENDING).order_by("seq")
    ends = [seq - 1 for seq in (young.first(), busy.values_list("seq", flat=True).first()) if seq]
    newest = rows.order_by("-seq").values_list("seq", flat=True).first()
    upto = min([*ends, newest or 0, after + most])
    return (after, head, upto) if upto > after else None
