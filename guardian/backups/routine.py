"""Backups by the clock: hourly for the embedded database, daily at 03:00 UTC for another."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import structlog
from django.conf import settings
from django.db import transaction

from guardian import events
from guardian.backups import keeping, making
from guardian.disk import require_room
from guardian.errors import DomainError
from guardian.outbox import emit
from guardian.services import log_error

log = structlog.get_logger(__name__)
EVERY = ("hourly", "daily", "off")
DAILY_HOUR = 3


def directory() -> Path:
    return Path(settings.DATA_DIR) / "backups"


def is_due(newest: datetime | None, *, now: datetime, every: str) -> bool:
    """Whether the last moment to make one came after the newest that is there.

    Asked often: what a stopped worker missed is made up for as soon as one runs again.
    """
    if every == "off":
        return False
    moment = now.replace(minute=0, second=0, microsecond=0)
    if every == "daily":
        moment = moment.replace(hour=DAILY_HOUR)
        if moment > now:
            moment -= timedelta(days=1)
    return newest is None or newest < moment


def newest() -> datetime | None:
    where = directory()
    if not where.is_dir():
        return None
    times = [keeping.made_at(path) for path in where.iterdir() if path.suffix != ".new"]
    return max((at for at in times if at is not None), default=None)


def run(*, now: datetime | None = None) -> Path | None:
    """Make a backup if one is due and let go of old ones. A failure becomes an ErrorLog."""
    moment = now or datetime.now(UTC)
    if not is_due(newest(), now=moment, every=settings.BACKUPS):
        return None
    try:
        require_room()
        made = making.make(directory())
    except (DomainError, OSError, psycopg.Error) as error:
        log.warning("backup_failed", error=str(error))
        log_error(error=error, component="guardian.backup", team_id=None)
        return None
    gone = keeping.prune(directory(), now=moment)
    size = sum(path.stat().st_size for path in made.iterdir())
    with transaction.atomic():
        emit(events.BACKUP_MADE, name=made.name, bytes=size, pruned=len(gone))
    return made
