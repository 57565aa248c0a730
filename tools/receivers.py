"""What tools does when others tell something."""

from guardian import events as guardian_events
from guardian.models import Event, Team
from guardian.outbox import on
from tools import services


@on(guardian_events.TEAM_CREATED)
def seed_new_team(event: Event) -> None:
    team = Team.objects.filter(pk=event.team_id or event.subject_id).first()
    if team is not None:
        services.seed_team(team=team)
