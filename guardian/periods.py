"""The periods that budgets count in: where one begins and ends, in UTC."""

from datetime import UTC, datetime, timedelta


def period_at(period: str, moment: datetime) -> tuple[datetime, datetime] | None:
    """Begin and end of the day, week (from Monday) or month that holds a moment; else None."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return day, day + timedelta(days=1)
    if period == "week":
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=7)
    if period == "month":
        first = day.replace(day=1)
        return first, (first + timedelta(days=32)).replace(day=1)
    return None
