"""What is told again and again: events by the clock."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from guardian.models.base import TeamQuerySet, TeamRow
from guardian.models.event import Event


class ScheduledEventQuerySet(TeamQuerySet):
    def due(self) -> "ScheduledEventQuerySet":
        """Those whose time has come by the database's clock, the longest waiting first."""
        return self.filter(next_run__lte=Now()).order_by("next_run", "id")


class ScheduledEvent(TeamRow):
    """An event that comes by the clock. It has a next time exactly while it is enabled."""

    class Missed(models.TextChoices):
        SKIP = "skip", "tell none of them"
        ONCE = "once", "tell one for all"
        ALL = "all", "tell each, the newest 100"

    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=100)
    cron = models.CharField(max_length=100, help_text="Minute, hour, day, month, weekday.")
    timezone = models.CharField(max_length=64, default="UTC")
    payload = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    priority = models.PositiveSmallIntegerField(
        choices=Event.Priority.choices, default=Event.Priority.NORMAL
    )
    enabled = models.BooleanField(default=True)
    missed = models.CharField(max_length=4, choices=Missed.choices, default=Missed.ONCE)
    grace_seconds = models.PositiveIntegerField(
        default=300, help_text="How late a run may be before it counts as missed."
    )
    last_run = models.DateTimeField(null=True, blank=True)
    next_run = models.DateTimeField(null=True, blank=True)
    run_count = models.PositiveBigIntegerField(default=0)
    version = models.PositiveIntegerField(default=1)

    objects = ScheduledEventQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="schedule_name_is_unique_in_its_team", fields=["team", "name"]
            ),
            models.CheckConstraint(
                name="schedule_has_a_next_run_exactly_while_enabled",
                condition=Q(enabled=True, next_run__isnull=False)
                | Q(enabled=False, next_run__isnull=True),
            ),
        ]
        indexes = [
            models.Index(
                name="schedule_due", fields=["next_run"], condition=Q(next_run__isnull=False)
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.cron})"
