"""What /metrics reads from tools at a scrape: one statement over what runs now."""

from django.db.models import Count

from guardian.scraping import Found, reads
from tools.models import ToolExecution


@reads(sandbox_active=("level",))
def sandboxes() -> Found:
    """Runs at work, by the isolation they run in."""
    running = ToolExecution.objects.filter(status=ToolExecution.Status.RUNNING)
    counted = running.values_list("isolation_level").annotate(number=Count("pk"))
    return {"sandbox_active": {(level,): number for level, number in counted}}
