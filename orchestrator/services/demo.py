"""The ticket a new installation shows itself with."""

from django.db import transaction

from guardian.authority import service_actor
from guardian.models import Team
from phases import services as phases
from phases.models import Ticket

TITLE = "Check up on Lemnos itself"
DESCRIPTION = (
    "The built-in agents take stock of Lemnos's own source, run its self-check tests and its"
    " linter, and write a report. Watch the card move; open it to see the evidence."
)


@transaction.atomic
def open_demo_ticket(*, team: Team) -> Ticket | None:
    """One checkup of Lemnos's own source, once in the life of a team; None if it was there."""
    team = Team.objects.select_for_update().get(pk=team.pk)
    if team.settings.get("demo_opened"):
        return None
    team.settings = {**team.settings, "demo_opened": True}
    team.save(update_fields=["settings"])
    return phases.open_ticket(
        actor=service_actor(team),
        title=TITLE,
        description=DESCRIPTION,
        workflow="repo_checkup",
        labels=["demo"],
        context={"source": {"kind": "self"}},
    )
