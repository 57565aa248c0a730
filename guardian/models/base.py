"""What every row of a team has in common."""

import os
import threading
import time
from typing import Any, Self
from uuid import UUID

from django.db import models

_lock = threading.Lock()
_last = 0


def uuid7() -> UUID:
    """A time-ordered UUID (RFC 9562, section 5.7): milliseconds, 12 bits of fraction, 62 random.

    Python 3.11 and PostgreSQL below 18 have none. Within a process the values only rise
    (method 3 of section 6.2: the sub-millisecond fraction in rand_a).
    """
    global _last  # noqa: PLW0603  one monotonic clock per process
    now = time.time_ns() // 244  # 244 ns steps: about 1/4096 of a millisecond
    with _lock:
        now = max(now, _last + 1)
        _last = now
    nanoseconds = now * 244
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    fraction = min(rest * 4096 // 1_000_000, 4095)
    value = (milliseconds & ((1 << 48) - 1)) << 80
    value |= 0x7 << 76 | fraction << 64
    value |= 0b10 << 62 | int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
    return UUID(int=value)


class TeamQuerySet(models.QuerySet[Any]):
    """Reads that begin with a team."""

    def for_team(self, team_id: UUID) -> Self:
        return self.filter(team_id=team_id)


class TeamRow(models.Model):
    """A row that belongs to one team and is never shown to another.

    Each concrete model names its own `objects`, a TeamQuerySet or a subclass of it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey("guardian.Team", models.PROTECT, related_name="+", db_index=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True
