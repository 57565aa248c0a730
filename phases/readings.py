"""What /metrics reads from the board at a scrape: two statements."""

from django.db.models import Count, F, FloatField, Max
from django.db.models.functions import Cast

from guardian.scraping import Found, reads
from phases.models import BoardColumn, Task


@reads(tasks=("status",))
def tasks() -> Found:
    """All tasks of all teams by status."""
    counted = Task.objects.values_list("status").annotate(number=Count("pk"))
    by_status = dict.fromkeys(Task.Status.values, 0) | dict(counted)
    return {"tasks": {(status,): number for status, number in by_status.items()}}


@reads(wip_ratio=("column",))
def columns() -> Found:
    """The fullest column of each key among all boards, as admitted over its limit."""
    share = Cast("admitted_count", FloatField()) / Cast("wip_limit", FloatField())
    fullest = (
        BoardColumn.objects.filter(wip_limit__gt=0).values_list(F("key")).annotate(used=Max(share))
    )
    return {"wip_ratio": {(key,): used for key, used in fullest}}
