"""Room on the disk of the data directory, and what may still be done with little of it."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from guardian.errors import DiskLow

GIB = 1 << 30
# Below either, nothing new is run; below the last, nothing is written (P9).
LOW_SHARE, LOW_BYTES, FULL_BYTES = 0.10, 2 * GIB, 1 * GIB
LOOK_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes that a process without privileges may still write, and how many there are."""

    free: int
    total: int

    @property
    def is_low(self) -> bool:
        return self.free < LOW_BYTES or self.free < LOW_SHARE * self.total

    @property
    def is_full(self) -> bool:
        return self.free < FULL_BYTES


_seen: tuple[float, Room] | None = None


def room() -> Room:
    """The room there is, at most 5 s old: each writing request asks."""
    global _seen  # noqa: PLW0603  one look per process
    now = time.monotonic()
    if _seen is None or now - _seen[0] > LOOK_SECONDS:
        _seen = (now, measure())
    return _seen[1]


def measure() -> Room:
    """The room there is right now."""
    place = settings.DATA_DIR if settings.DATA_DIR.exists() else Path("/")
    usage = shutil.disk_usage(place)
    return Room(usage.free, usage.total)


def forget() -> None:
    """Look again next time."""
    global _seen  # noqa: PLW0603  one look per process
    _seen = None


def require_room() -> None:
    """Raises DiskLow when nothing new may be run."""
    found = room()
    if found.is_low:
        raise DiskLow(free_bytes=found.free)
