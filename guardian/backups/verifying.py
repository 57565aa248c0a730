"""Prove a backup: restored elsewhere it has the same rows, an unbroken ledger, the same answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from guardian.backups import contents, restoring, scratch
from guardian.chain import FIRST_HASH, LedgerBroken, Links, content_of
from guardian.errors import BackupDamaged
from guardian.events import LEDGER_ARCHIVED
from guardian.models import Event

BATCH = 2000


@dataclass(frozen=True, slots=True)
class Proof:
    """What was compared, all of it equal."""

    tables: int
    rows: int
    events: int
    searches: int


def verify(directory: Path) -> Proof:
    """Raises BackupDamaged naming the first difference, BackupToolMissing, BackupFailed."""
    restoring.read(directory)  # before a cluster is made for nothing
    with scratch.cluster() as parameters:
        manifest = restoring.restore(directory, parameters)
        with contents.session(parameters) as reading:
            events = check_chain(manifest["ledger"], reading)
            check_searches(manifest["searches"], reading)
    return Proof(
        tables=len(manifest["tables"]),
        rows=sum(table["rows"] for table in manifest["tables"].values()),
        events=events,
        searches=len(manifest["searches"]),
    )


def check_chain(head: dict[str, Any], reading: "psycopg.Connection[Any]") -> int:
    """Every stamped event's hash anew, from behind the last archive. Returns how many.

    Raises BackupDamaged naming the first that does not fit.
    """
    after, digest = _begin(reading)
    links = Links(after_seq=after, after_hash=digest)
    try:
        for event in _events(reading):
            links.add(content_of(event), prev_hash=event.prev_hash, digest=event.hash)
    except LedgerBroken as error:
        raise BackupDamaged(str(error), seq=error.seq) from error
    if links.count and (links.seq, links.head) != (head["seq"], head["hash"]):
        raise BackupDamaged(f"The ledger ends at event {links.seq}, should at {head['seq']}.")
    return links.count


def _begin(reading: "psycopg.Connection[Any]") -> tuple[int, str]:
    """(number, hash) of the last archived event."""
    row = reading.execute(
        "SELECT data->'to_seq', data->>'last_hash' FROM guardian_event WHERE kind = %s"
        " ORDER BY created_at DESC, id DESC LIMIT 1",
        [LEDGER_ARCHIVED],
    ).fetchone()
    return (int(row[0]), str(row[1])) if row else (0, FIRST_HASH)


def _events(reading: "psycopg.Connection[Any]") -> Iterator[Event]:
    """Those with a number, as the relay reads them, a batch at a time."""
    fields = [field.attname for field in Event._meta.concrete_fields]
    columns = sql.SQL(", ").join(map(sql.Identifier, fields))
    with reading.cursor(name="ledger") as cursor:
        cursor.itersize = BATCH
        cursor.execute(
            sql.SQL("SELECT {} FROM guardian_event WHERE seq IS NOT NULL ORDER BY seq").format(
                columns
            )
        )
        for row in cursor:
            yield Event(**dict(zip(fields, row, strict=True)))


def check_searches(told: list[dict[str, Any]], reading: Any) -> None:
    """Raises BackupDamaged naming the first search that finds something else."""
    for search in told:
        asked = {name: search[name] for name in ("table", "column", "key")}
        if contents.nearest(reading, **asked) != search["nearest"]:
            raise BackupDamaged(
                f"A search by {search['key']} in {search['table']} finds other rows.",
                table=search["table"],
            )
