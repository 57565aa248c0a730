"""What guardian itself does when it hears of something."""

from guardian import events, services
from guardian.models import Event, Team
from guardian.outbox import on


@on(events.TEAM_CREATED)
def give_new_team_its_schedules(event: Event) -> None:
    services.seed_schedules(team=Team.objects.get(pk=event.subject_id))
