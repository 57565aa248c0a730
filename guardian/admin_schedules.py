"""Events by the clock in the operators' admin."""

from django.contrib import admin

from guardian import services
from guardian.authority import Actor
from guardian.models import ScheduledEvent
from guardian.operators import RecordAdmin, reasoned_action


@admin.register(ScheduledEvent)
class ScheduledEventAdmin(RecordAdmin):
    section = "Events"
    icon = "schedule"
    when_empty = "Nothing comes by the clock; POST /api/v1/events/schedules makes one."
    list_display = [
        "name", "kind", "cron", "timezone", "enabled", "last_run", "next_run", "run_count",
    ]  # fmt: skip
    list_filter = ["enabled", "missed", "team"]
    search_fields = ["name", "kind"]

    @reasoned_action(
        label="Enable", scope="events:schedule", fits=lambda schedule: not schedule.enabled
    )
    def enable(self, *, actor: Actor, row: ScheduledEvent, reason: str) -> None:
        """Its event comes by the clock from now on; what was missed meanwhile does not."""
        services.update_schedule(
            actor=actor, schedule_id=row.pk, changes={"enabled": True}, reason=reason
        )

    @reasoned_action(
        label="Disable",
        scope="events:schedule",
        danger=True,
        fits=lambda schedule: schedule.enabled,
    )
    def disable(self, *, actor: Actor, row: ScheduledEvent, reason: str) -> None:
        """Its event comes no more until somebody enables it again."""
        services.update_schedule(
            actor=actor, schedule_id=row.pk, changes={"enabled": False}, reason=reason
        )

    @reasoned_action(label="Run now", scope="events:schedule")
    def run_now(self, *, actor: Actor, row: ScheduledEvent, reason: str) -> None:
        """Tells its event at once, also while it is disabled; its next time stays."""
        services.run_schedule_now(actor=actor, schedule_id=row.pk, reason=reason)
