"""When a cron line of five fields is due, by the clocks of a time zone (crontab(5))."""

import re
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterBadDateError, croniter

from guardian.errors import Invalid

LONGEST = 100
_FIELDS = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day of the month": "1 to 31",
    "month": "1 to 12 or jan to dec",
    "day of the week": "0 to 7 or sun to sat",
}
# croniter's own words for a time of its choice, another one each time it is asked.
_BY_CHANCE = re.compile(r"(?i)(?<![a-z])[rh](?![a-z])")


def check(cron: str, zone: str) -> None:
    """Raises Invalid for what is no line of five fields, never comes, or names no zone."""
    zone_of(zone)
    fields = cron.split()
    if len(cron) > LONGEST or len(fields) != 5:
        raise Invalid(path="cron", reason="must be five fields, such as 0 */6 * * *")
    for number, (name, span) in enumerate(_FIELDS.items()):
        alone = " ".join(fields[number] if at == number else "*" for at in range(5))
        if _BY_CHANCE.search(fields[number]) or not croniter.is_valid(alone):
            raise Invalid(
                path="cron", reason=f"{fields[number]!r} is no {name}: {span}, with * , - and /"
            )
    if not croniter.is_valid(cron):
        raise Invalid(path="cron", reason="must be five fields, such as 0 */6 * * *")
    if next_after(cron, zone, datetime.now(UTC)) is None:
        raise Invalid(path="cron", reason="names a day that never comes")


def zone_of(name: str) -> ZoneInfo:
    """Raises Invalid."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Invalid(path="timezone", reason="is no zone of the tz database") from error


def next_after(cron: str, zone: str, after: datetime) -> datetime | None:
    """The first time later than `after`, in UTC; None if none ever comes.

    A time of day that a clock change leaves out comes as much later; one that it repeats counts
    once. A line that runs in every hour goes on through the repeated hour.
    """
    try:
        return _each_hour(cron, zone, after) if _is_hourly(cron) else _by_wall(cron, zone, after)
    except CroniterBadDateError:
        return None


def due(cron: str, zone: str, first: datetime, until: datetime) -> Iterator[datetime]:
    """`first` and the times after it up to `until`."""
    at: datetime | None = first
    while at is not None and at <= until:
        yield at
        at = next_after(cron, zone, at)


def newest_due(
    cron: str, zone: str, first: datetime, until: datetime, *, most: int
) -> list[datetime]:
    """The last of the times that `due` tells; of a long pause only its end is gone through."""
    back = timedelta(hours=1)
    while until - back > first:
        at = next_after(cron, zone, until - back)
        found = deque(due(cron, zone, at, until) if at else (), maxlen=most)
        if len(found) == most:
            return list(found)
        back *= 4
    return list(deque(due(cron, zone, first, until), maxlen=most))


def _is_hourly(cron: str) -> bool:
    return cron.split()[1] == "*"


def _by_wall(cron: str, zone: str, after: datetime) -> datetime:
    tz = zone_of(zone)
    wall = after.astimezone(tz).replace(tzinfo=None)
    while True:
        wall = croniter(cron, wall).get_next(datetime)
        # fold=0: the first of two; of a time that is left out, with the offset of before.
        at = wall.replace(tzinfo=tz, fold=0).astimezone(UTC)
        if at > after:
            return at


def _each_hour(cron: str, zone: str, after: datetime) -> datetime:
    tz = zone_of(zone)
    at = after
    while True:
        offset = at.astimezone(tz).utcoffset() or timedelta()
        wall = croniter(cron, (at + offset).replace(tzinfo=None)).get_next(datetime)
        at = wall.replace(tzinfo=UTC) - offset
        if croniter.match(cron, at.astimezone(tz).replace(tzinfo=None)):
            return at
