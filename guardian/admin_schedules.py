"""Events by the clock in the operators' admin."""

from typing import Any

from django import forms
from django.contrib import admin

from guardian import services
from guardian.authority import Actor
from guardian.form_fields import JsonObjectField
from guardian.kinds import PRIORITY_WORDS
from guardian.models import Event, ScheduledEvent
from guardian.operators import Fields, RecordAdmin, reasoned_action

SCHEDULE = "events:schedule"
MOST_GRACE = 604_800


def schedule_fields(given: Any) -> Fields:
    """For a new schedule (`given` is the actor) or this one."""
    row = given if isinstance(given, ScheduledEvent) else ScheduledEvent()
    return {
        "name": forms.CharField(max_length=120, initial=row.name),
        "kind": forms.CharField(
            max_length=100,
            initial=row.kind,
            help_text="Two or three dotted words, such as schedule.nightly; none of Lemnos's own.",
        ),
        "cron": forms.CharField(
            max_length=100,
            initial=row.cron,
            help_text="Minute, hour, day, month, weekday: 0 6 * * 1-5 is each working day at six.",
        ),
        "timezone": forms.CharField(
            max_length=64,
            initial=row.timezone,
            label="Time zone",
            help_text="As Europe/Athens.",
        ),
        "payload": JsonObjectField(
            required=False, initial=row.payload, help_text="The event's data, at most 64 KiB."
        ),
        "priority": forms.TypedChoiceField(
            choices=Event.Priority.choices, coerce=int, initial=row.priority
        ),
        "missed": forms.ChoiceField(
            choices=ScheduledEvent.Missed.choices,
            initial=row.missed,
            label="After a pause",
            help_text="What becomes of the times that nobody was there to tell.",
        ),
        "grace_seconds": forms.IntegerField(
            min_value=0,
            max_value=MOST_GRACE,
            initial=row.grace_seconds,
            label="Grace in seconds",
            help_text="How late a run may be before it counts as missed.",
        ),
        "enabled": forms.BooleanField(required=False, initial=row.enabled),
    }


def _worded(values: dict[str, Any]) -> dict[str, Any]:
    return {**values, "priority": PRIORITY_WORDS[values["priority"]]}


def _next(schedule: ScheduledEvent) -> str:
    return f"{schedule.name} comes next at {schedule.next_run:%Y-%m-%d %H:%M} UTC."


@admin.register(ScheduledEvent)
class ScheduledEventAdmin(RecordAdmin):
    section = "Events"
    icon = "schedule"
    when_empty = (
        "Nothing comes by the clock. “New schedule” or POST /api/v1/events/schedules makes one."
    )
    list_display = [
        "name", "kind", "cron", "timezone", "enabled", "last_run", "next_run", "run_count",
    ]  # fmt: skip
    list_filter = ["enabled", "missed", "team"]
    search_fields = ["name", "kind"]

    @reasoned_action(
        label="New schedule",
        scope=SCHEDULE,
        asks_reason=False,
        on_list=True,
        fields=schedule_fields,
    )
    def make(self, *, actor: Actor, **values: Any) -> str:
        """Tells an event of a kind of your own by the clock; triggers and webhooks hear it."""
        made = services.create_schedule(actor=actor, **_worded(values))
        return f"{made.name} is there." if made.next_run is None else _next(made)

    @reasoned_action(label="Change…", scope=SCHEDULE, fields=schedule_fields)
    def change(self, *, actor: Actor, row: ScheduledEvent, reason: str, **values: Any) -> str:
        """From now on it comes by these; another cron, zone or switch sets its next time anew."""
        changed = services.update_schedule(
            actor=actor,
            schedule_id=row.pk,
            changes=_worded(values),
            version=row.version,
            reason=reason,
        )
        return "Saved; it is disabled." if changed.next_run is None else _next(changed)

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

    @reasoned_action(label="Delete", scope=SCHEDULE, danger=True, bulk=False)
    def remove(self, *, actor: Actor, row: ScheduledEvent, reason: str) -> None:
        """Takes this schedule away for good; what it told before stays."""
        services.delete_schedule(actor=actor, schedule_id=row.pk, reason=reason)
