"""Which backups stay: 24 hourly, 7 daily, 4 weekly."""

import re
import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

_NAME = re.compile(r"(\d{8}T\d{6}\.\d{6}Z)(?:-[a-z-]+)?")
DRAFTS_STAY = timedelta(hours=24)
# How far apart they are → how many stay.
KEPT: tuple[tuple[Callable[[datetime], str], int], ...] = (
    (lambda at: f"{at:%Y%m%d%H}", 24),
    (lambda at: f"{at:%Y%m%d}", 7),
    (lambda at: f"{at:%G%V}", 4),
)


def made_at(path: Path) -> datetime | None:
    """When a backup was made, by its name; None for what is no backup of ours."""
    found = _NAME.fullmatch(path.name.removesuffix(".new"))
    return datetime.strptime(found[1], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC) if found else None


def to_keep(times: Iterable[datetime]) -> set[datetime]:
    """The newest of each of the last 24 hours, 7 days and 4 weeks that have any."""
    newest_first = sorted(times, reverse=True)
    kept: set[datetime] = set()
    for span, most in KEPT:
        spans: dict[str, datetime] = {}
        for at in newest_first:
            spans.setdefault(span(at), at)
        kept |= set(list(spans.values())[:most])
    return kept


def prune(directory: Path, *, now: datetime) -> list[Path]:
    """Remove what is no longer to be kept, and drafts that a killed process left."""
    found = {path: at for path in directory.iterdir() if (at := made_at(path)) is not None}
    whole = {path: at for path, at in found.items() if path.suffix != ".new"}
    kept = to_keep(whole.values())
    gone = [path for path, at in whole.items() if at not in kept]
    old = now - DRAFTS_STAY
    gone += [path for path, at in found.items() if path not in whole and at < old]
    for path in gone:
        shutil.rmtree(path)
    return sorted(gone)
