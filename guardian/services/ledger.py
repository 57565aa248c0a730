"""Keeping the ledger: proven each night, and old events moved to files that prove themselves."""

from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import connection, models, transaction
from django.utils import timezone

from guardian import audit, events
from guardian.audit import Proof
from guardian.chain import LedgerBroken
from guardian.models import ErrorLog, Event
from guardian.outbox import emit
from guardian.services.errors import log_error

ARCHIVE_LOCK_ID = 7310005
# As many events in one file and one transaction.
MOST_AT_ONCE = 50_000


def check_ledger() -> Proof | None:
    """Prove the ledger; a broken link becomes a critical error and event, and None."""
    try:
        return audit.verify()
    except LedgerBroken as broken:
        _tell_broken(broken)
        return None


@transaction.atomic
def _tell_broken(broken: LedgerBroken) -> None:
    log_error(error=broken, component="guardian.ledger", severity=ErrorLog.Severity.CRITICAL)
    emit(events.LEDGER_BROKEN, priority="critical", seq=broken.seq, what=broken.what)


def archive_old_events(
    *, now: datetime | None = None, folder: Path | None = None, most: int = MOST_AT_ONCE
) -> list[Path]:
    """Move events older than EVENT_RETENTION_DAYS (0: none ever) to files in the data directory.

    A file is complete on disk before its rows go. Ended in between, the next time writes it anew.
    A broken ledger is not archived but told of.
    """
    if settings.EVENT_RETENTION_DAYS <= 0:
        return []
    before = (now or timezone.now()) - timedelta(days=settings.EVENT_RETENTION_DAYS)
    folder = folder or settings.DATA_DIR / "archive"
    written: list[Path] = []
    while (found := audit.archivable(before, most=most)) is not None:
        after, head, upto = found
        path = folder / f"events-{after + 1:012d}-{upto:012d}.jsonl"
        partial = path.with_suffix(".partial")
        try:
            proof = audit.write_archive(partial, after=after, after_hash=head, upto=upto)
        except LedgerBroken as broken:
            partial.unlink()
            _tell_broken(broken)
            break
        partial.rename(path)
        if not _let_go(proof, path.name):
            break
        written.append(path)
    return written


@transaction.atomic
def _let_go(proof: Proof, file: str) -> bool:
    """Delete what the file holds and say so, together. False: somebody else archives now."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [ARCHIVE_LOCK_ID])
        free = (cursor.fetchone() or (False,))[0]
        if not free or audit.begin()[0] != proof.from_seq - 1:
            return False
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("SET LOCAL lemnos.archiving = 'on'")
        old = Event.objects.filter(seq__gte=proof.from_seq, seq__lte=proof.to_seq)
        for relation in Event._meta.get_fields(include_hidden=True):
            if isinstance(relation, models.ForeignObjectRel):
                _let_go_of_rows(relation, old)
        cursor.execute(
            "DELETE FROM guardian_event WHERE seq BETWEEN %s AND %s", [proof.from_seq, proof.to_seq]
        )
        if cursor.rowcount != proof.count:
            raise LedgerBroken(proof.to_seq, "it changed while it was archived")
        cursor.execute("SET LOCAL lemnos.archiving = 'off'")
    emit(
        events.LEDGER_ARCHIVED,
        from_seq=proof.from_seq,
        to_seq=proof.to_seq,
        last_hash=proof.head,
        sha256=proof.sha256,
        file=file,
    )
    return True


def _let_go_of_rows(relation: "models.ForeignObjectRel", old: "models.QuerySet[Event]") -> None:
    """What hangs on old events, as each relation says: deliveries go with them."""
    model = relation.related_model
    rows = model._base_manager.filter(  # noqa: SLF001  Django's own way to all rows
        **{f"{relation.field.name}__in": old.values("pk")}
    )
    if relation.on_delete is models.CASCADE:
        rows._raw_delete(rows.db)  # noqa: SLF001  one statement; nothing hangs on a delivery
    elif relation.on_delete is models.SET_NULL:
        rows.update(**{relation.field.name: None})
