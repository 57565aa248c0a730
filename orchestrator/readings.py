"""What /metrics reads from the agents at a scrape: one statement."""

from django.db.models import Count

from guardian.scraping import Found, reads
from orchestrator.models import AgentInstance


@reads(agents=("status",))
def agents() -> Found:
    """Agent instances of all teams by state."""
    counted = AgentInstance.objects.values_list("state").annotate(number=Count("pk"))
    return {"agents": {(state,): number for state, number in counted}}
