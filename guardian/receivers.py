"""What guardian itself does when it hears of something."""

from guardian import events, services
from guardian.models import Event, Team
from guardian.outbox import on


@on(events.TEAM_CREATED)
def give_new_team_its_schedules(event: Event) -> None:
    services.seed_schedules(team=Team.objects.get(pk=event.subject_id))


@on("*", choose=services.wanted_by_webhooks)
def tell_webhooks(event: Event) -> None:
    """Each webhook that wants to hear of it gets a delivery of its own."""
    services.queue_webhook_deliveries(event=event)
