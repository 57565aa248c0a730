"""Who outside is told of what happens, and each thing told."""

from datetime import timedelta

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django_fsm import FSMField, FSMModelMixin, transition

from guardian.models.base import TeamQuerySet, TeamRow

DELIVERY_EDGES = [
    ("pending", "done"),
    ("pending", "parked"),
    ("done", "pending"),
    ("parked", "pending"),
]


class WebhookQuerySet(TeamQuerySet):
    def enabled(self) -> "WebhookQuerySet":
        return self.filter(enabled=True)


class Webhook(TeamRow):
    """An address outside that is told of events, signed with a secret only its owner has."""

    # For so long after a rotation both secrets sign, so that the owner can change over in peace.
    OVERLAP = timedelta(hours=24)

    name = models.CharField(max_length=100)
    url = models.CharField(max_length=2048)
    # Kinds or aliases; `a.*` is all that begin with `a.`, `*` is everything.
    kinds = ArrayField(models.CharField(max_length=100))
    enabled = models.BooleanField(default=True)
    # The secret is derived from the master key, the id and this number; nothing else is stored.
    generation = models.PositiveIntegerField(default=1)
    rotated_at = models.DateTimeField(null=True, blank=True)
    # Deliveries given up in a row; one that arrives sets it back.
    failures = models.PositiveSmallIntegerField(default=0)
    disabled_reason = models.CharField(max_length=500, blank=True)
    version = models.PositiveIntegerField(default=1)
    created_by = models.ForeignKey("guardian.User", models.PROTECT, related_name="+")

    objects = WebhookQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="webhook_name_is_one_per_team", fields=["team", "name"]),
            models.CheckConstraint(
                name="webhook_tells_why_only_when_disabled",
                condition=Q(enabled=False) | Q(disabled_reason=""),
            ),
        ]
        indexes = [models.Index(name="webhook_on", fields=["team"], condition=Q(enabled=True))]

    def __str__(self) -> str:
        return f"{self.name} ({'on' if self.enabled else 'off'})"


class WebhookDeliveryQuerySet(TeamQuerySet):
    def pending(self) -> "WebhookDeliveryQuerySet":
        return self.filter(state=WebhookDelivery.State.PENDING)


class WebhookDelivery(FSMModelMixin, TeamRow):
    """One event on its way to one webhook; repeats keep its id, so that it is told once."""

    class State(models.TextChoices):
        PENDING = "pending"
        DONE = "done"
        PARKED = "parked"

    webhook = models.ForeignKey(Webhook, models.CASCADE, related_name="deliveries", db_index=False)
    # Events leave by the archive, in which nobody asks for webhooks any more.
    event = models.ForeignKey("guardian.Event", models.CASCADE, related_name="+")
    attempt = models.PositiveSmallIntegerField(default=0)
    state = FSMField(choices=State.choices, default=State.PENDING, protected=True, max_length=10)
    response_status = models.PositiveSmallIntegerField(null=True, blank=True)
    duration_ms = models.FloatField(null=True, blank=True)
    error = models.CharField(max_length=500, blank=True)
    # When it is tried next. While it is being sent this is its lease: whoever dies in mid-flight
    # leaves a row that is due again.
    next_at = models.DateTimeField()

    objects = WebhookDeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "webhook deliveries"
        constraints = [
            models.UniqueConstraint(
                name="webhook_delivery_is_one_per_event", fields=["webhook", "event"]
            )
        ]
        indexes = [
            models.Index(
                name="webhook_delivery_due",
                fields=["webhook", "next_at"],
                condition=Q(state="pending"),
            ),
            models.Index(name="webhook_delivery_newest", fields=["webhook", "-id"]),
        ]
        triggers = [
            pgtrigger.FSM(name="webhook_delivery_edges", field="state", transitions=DELIVERY_EDGES),
            pgtrigger.Trigger(
                name="webhook_delivery_starts_pending",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Q(new__state__df="pending"),
                func="RAISE EXCEPTION 'a delivery starts pending'"
                " USING ERRCODE = 'check_violation';",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event.kind} to {self.webhook.name} ({self.pk})"

    @transition(state, State.PENDING, State.DONE)
    def arrive(self) -> None:
        """The other side said 2xx."""
        self.error = ""

    @transition(state, State.PENDING, State.PARKED)
    def park(self) -> None:
        """All attempts are used up, or the other side wants no more."""

    @transition(state, [State.DONE, State.PARKED], State.PENDING)
    def repeat(self) -> None:
        """Somebody wants it sent once more, with all its attempts before it."""
        self.attempt = 0
