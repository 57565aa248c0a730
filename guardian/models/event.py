"""What happened: one append-only table that is history, audit and outbox at once."""

from uuid import UUID

import pgtrigger
from django.contrib.postgres.indexes import BrinIndex
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q

from guardian.models.base import uuid7


class EventQuerySet(models.QuerySet["Event"]):
    def for_team(self, team_id: UUID) -> "EventQuerySet":
        return self.filter(team_id=team_id)

    def unstamped(self) -> "EventQuerySet":
        return self.filter(seq=None).order_by("created_at", "id")

    def stamped(self) -> "EventQuerySet":
        return self.exclude(seq=None).order_by("seq")


class Event(models.Model):
    """One thing that happened. The relay alone gives it its number and place in the chain."""

    class Priority(models.IntegerChoices):
        CRITICAL = 1
        HIGH = 2
        NORMAL = 3
        LOW = 4

    class Source(models.TextChoices):
        INTERNAL = "internal"
        API = "api"
        SCHEDULE = "schedule"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    seq = models.BigIntegerField(null=True)
    # Who wrote is known by then, and history outlives its rows: the database does not ask again
    # for each event whether they exist, which would lock their rows for every writer.
    team = models.ForeignKey(
        "guardian.Team", models.PROTECT, null=True, db_index=False, db_constraint=False
    )
    kind = models.CharField(max_length=100)
    alias = models.CharField(max_length=100, null=True)  # noqa: DJ001  absent is not empty
    priority = models.PositiveSmallIntegerField(choices=Priority.choices, default=Priority.NORMAL)
    actor = models.ForeignKey(
        "guardian.User", models.PROTECT, null=True, db_index=False, db_constraint=False
    )
    actor_kind = models.CharField(max_length=10, default="system")
    authority = models.PositiveSmallIntegerField(null=True)
    subject_label = models.CharField(max_length=60, blank=True)
    subject_id = models.CharField(max_length=60, blank=True)
    data = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    before = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    after = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    reason = models.TextField(blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    traceparent = models.CharField(max_length=64, blank=True)
    source = models.CharField(max_length=10, choices=Source.choices, default=Source.INTERNAL)
    created_at = models.DateTimeField()
    prev_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64, blank=True)

    objects = EventQuerySet.as_manager()

    class Meta:
        # An event has no number when it is written: its entry here is made with the relay's stamp.
        constraints = [
            models.UniqueConstraint(
                name="event_seq_is_unique", fields=["seq"], condition=Q(seq__isnull=False)
            )
        ]
        indexes = [
            models.Index(
                name="event_unstamped", fields=["created_at", "id"], condition=Q(seq=None)
            ),
            models.Index(name="event_of_team", fields=["team", "-seq"]),
            # The ledger's head is asked for by every run; charges are few among all events.
            models.Index(
                name="event_charge_of_team",
                fields=["team", "-seq"],
                condition=Q(kind="guardian.cost.charged"),
            ),
            # Kinds from outside are not known beforehand; they are few among all events.
            models.Index(
                name="event_from_outside",
                fields=["team", "kind", "-created_at"],
                condition=~Q(source="internal"),
            ),
            models.Index(name="event_of_subject", fields=["subject_id", "seq"]),
            BrinIndex(name="event_created", fields=["created_at"]),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="event_is_append_only",
                when=pgtrigger.Before,
                operation=pgtrigger.Update | pgtrigger.Delete,
                # The only change ever allowed is the relay's one stamping from NULL.
                func="""
                    IF TG_OP = 'UPDATE' AND OLD.seq IS NULL AND NEW.seq IS NOT NULL
                       AND (to_jsonb(OLD) - 'seq' - 'prev_hash' - 'hash')
                         = (to_jsonb(NEW) - 'seq' - 'prev_hash' - 'hash') THEN
                        RETURN NEW;
                    END IF;
                    IF TG_OP = 'DELETE' AND current_setting('lemnos.archiving', true) = 'on' THEN
                        RETURN OLD;
                    END IF;
                    RAISE EXCEPTION 'events are append-only' USING ERRCODE = 'restrict_violation';
                """,
            ),
            pgtrigger.Trigger(
                name="event_is_not_emptied",
                level=pgtrigger.Statement,
                when=pgtrigger.Before,
                operation=pgtrigger.Truncate,
                func="""
                    RAISE EXCEPTION 'events are append-only' USING ERRCODE = 'restrict_violation';
                """,
            ),
            pgtrigger.Trigger(
                name="event_begins_unnumbered",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition(
                    "NEW.seq IS NOT NULL OR NEW.prev_hash <> '' OR NEW.hash <> ''"
                ),
                func="""
                    RAISE EXCEPTION 'events are append-only: only the relay numbers them'
                        USING ERRCODE = 'restrict_violation';
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.seq or '(not numbered yet)'}"


class Delivery(models.Model):
    """One receiver's copy of one event: its database effects happen once."""

    class State(models.TextChoices):
        PENDING = "pending"
        DONE = "done"
        PARKED = "parked"

    event = models.ForeignKey(Event, models.CASCADE, related_name="deliveries", db_index=False)
    handler = models.CharField(max_length=120)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    priority = models.PositiveSmallIntegerField(default=3)
    seq = models.BigIntegerField()
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField()
    queued_at = models.DateTimeField()
    processed_by = models.CharField(max_length=100, blank=True)
    processed_at = models.DateTimeField(null=True)
    duration_ms = models.FloatField(null=True)
    error = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(
                name="delivery_is_one_per_event_and_handler", fields=["event", "handler"]
            )
        ]
        indexes = [
            models.Index(name="delivery_due", fields=["next_at"], condition=Q(state="pending")),
            models.Index(name="delivery_parked", fields=["seq"], condition=Q(state="parked")),
        ]

    def __str__(self) -> str:
        return f"{self.handler} of event {self.seq}"


class IdempotencyKey(models.Model):
    """The stored answer of a POST, so that a repeated one has no second effect."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.CharField(max_length=64)
    key = models.CharField(max_length=255)
    request_hash = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    body = models.JSONField(encoder=DjangoJSONEncoder)
    headers = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="idempotency_key_is_one_per_owner", fields=["owner", "key"]
            )
        ]

    def __str__(self) -> str:
        return f"{self.key} of {self.owner}"
