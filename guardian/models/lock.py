"""What is held: named resources under a lease with a fence."""

import pgtrigger
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import BigIntegerRangeField, RangeOperators
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django_fsm import FSMField, FSMModelMixin, transition

from guardian.models.base import TeamQuerySet, TeamRow

EDGES = [("held", "released"), ("held", "expired")]
REQUEST_EDGES = [("waiting", "granted"), ("waiting", "cancelled"), ("waiting", "timed_out")]


class ResourceLockQuerySet(TeamQuerySet):
    def held(self) -> "ResourceLockQuerySet":
        return self.filter(state="held")

    def on_key(self, key: int) -> "ResourceLockQuerySet":
        """Open locks of one resource; `key` is its hash (guardian/lock_sql.py)."""
        return self.held().filter(key_range__contains=key)


class ResourceLock(FSMModelMixin, TeamRow):
    """A lease on a named resource. Two that exclude each other cannot both be open."""

    class Mode(models.TextChoices):
        EXCLUSIVE = "exclusive"
        SHARED = "shared"

    class State(models.TextChoices):
        HELD = "held"
        RELEASED = "released"
        EXPIRED = "expired"

    resource_type = models.CharField(max_length=50)
    resource_id = models.CharField(max_length=200)
    # The embedded server has no btree_gist, so equality is written as overlapping one-point ranges.
    key_range = BigIntegerRangeField(editable=False)
    slot = BigIntegerRangeField(editable=False)
    mode = models.CharField(max_length=10, choices=Mode.choices, default=Mode.EXCLUSIVE)
    state = FSMField(choices=State.choices, default=State.HELD, protected=True, max_length=10)
    # No index of its own: `lock_of_holder` has the open ones, and users are never deleted.
    holder = models.ForeignKey("guardian.User", models.PROTECT, related_name="+", db_index=False)
    task_id = models.UUIDField(null=True, blank=True)
    instance_id = models.UUIDField(null=True, blank=True)
    # Somebody waits, or has waited, for it to end: its end must look into the queue.
    contended = models.BooleanField(default=False, db_default=False, editable=False)
    fence = models.BigIntegerField(unique=True)
    lease_seconds = models.PositiveIntegerField(default=3600)
    expires_at = models.DateTimeField()
    acquired_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True, blank=True)
    release_reason = models.CharField(max_length=500, blank=True)
    metadata = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)

    objects = ResourceLockQuerySet.as_manager()

    class Meta:
        constraints = [
            ExclusionConstraint(
                name="lock_is_exclusive_or_shared",
                expressions=[
                    ("key_range", RangeOperators.OVERLAPS),
                    ("slot", RangeOperators.OVERLAPS),
                ],
                condition=Q(released_at=None),
            ),
            models.CheckConstraint(
                name="lock_is_open_exactly_when_held",
                condition=Q(state="held", released_at=None)
                | (~Q(state="held") & Q(released_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="lock_mode_is_known", condition=Q(mode__in=["exclusive", "shared"])
            ),
        ]
        indexes = [
            models.Index(
                name="lock_open",
                fields=["team", "resource_type", "resource_id"],
                condition=Q(released_at=None),
            ),
            models.Index(name="lock_due", fields=["expires_at"], condition=Q(released_at=None)),
            models.Index(name="lock_of_holder", fields=["holder"], condition=Q(released_at=None)),
            models.Index(
                name="lock_of_task", fields=["task_id"], condition=Q(task_id__isnull=False)
            ),
            models.Index(
                name="lock_of_instance",
                fields=["instance_id"],
                condition=Q(released_at=None, instance_id__isnull=False),
            ),
            models.Index(name="lock_of_team", fields=["team", "-id"]),
        ]
        triggers = [
            pgtrigger.FSM(name="lock_state_edges", field="state", transitions=EDGES),
            pgtrigger.Trigger(
                name="lock_starts_held",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Q(new__state__df="held"),
                func="RAISE EXCEPTION 'a lock starts held' USING ERRCODE = 'check_violation';",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.resource_type}:{self.resource_id} ({self.mode}, {self.fence})"

    @transition(state, State.HELD, State.RELEASED)
    def release(self) -> None:
        """The holder gave it back, or somebody with the right broke it."""

    @transition(state, State.HELD, State.EXPIRED)
    def expire(self) -> None:
        """The lease ran out."""


class LockRequestQuerySet(TeamQuerySet):
    def waiting(self) -> "LockRequestQuerySet":
        return self.filter(state="waiting")

    def in_line(self, key: int) -> "LockRequestQuerySet":
        """Who waits for a resource, the next one first: by priority, then by arrival."""
        return self.waiting().filter(key=key).order_by("priority", "number")


class LockRequest(FSMModelMixin, TeamRow):
    """A place in the line for a resource; the lock is granted when those before it are done."""

    class State(models.TextChoices):
        WAITING = "waiting"
        GRANTED = "granted"
        CANCELLED = "cancelled"
        TIMED_OUT = "timed_out"

    class Priority(models.IntegerChoices):
        CRITICAL = 1
        HIGH = 2
        NORMAL = 3
        LOW = 4

    resource_type = models.CharField(max_length=50)
    resource_id = models.CharField(max_length=200)
    key = models.BigIntegerField(editable=False)
    mode = models.CharField(
        max_length=10, choices=ResourceLock.Mode.choices, default=ResourceLock.Mode.EXCLUSIVE
    )
    state = FSMField(choices=State.choices, default=State.WAITING, protected=True, max_length=10)
    requester = models.ForeignKey("guardian.User", models.PROTECT, related_name="+")
    task_id = models.UUIDField(null=True, blank=True)
    instance_id = models.UUIDField(null=True, blank=True)
    priority = models.PositiveSmallIntegerField(choices=Priority.choices, default=Priority.NORMAL)
    # The order of arrival, from the sequence of the fences: clocks may stand still or go back.
    number = models.BigIntegerField(unique=True, editable=False)
    lease_seconds = models.PositiveIntegerField(default=3600)
    queued_at = models.DateTimeField()
    wait_until = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    lock = models.OneToOneField(
        ResourceLock, models.PROTECT, null=True, blank=True, related_name="request"
    )
    metadata = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)

    objects = LockRequestQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="lock_request_waits_once_per_requester_task_and_resource",
                fields=["requester", "task_id", "key"],
                condition=Q(state="waiting"),
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                name="lock_request_has_a_lock_exactly_when_granted",
                condition=Q(state="granted", lock__isnull=False)
                | (~Q(state="granted") & Q(lock=None)),
            ),
            models.CheckConstraint(
                name="lock_request_has_ended_exactly_when_not_waiting",
                condition=Q(state="waiting", ended_at=None)
                | (~Q(state="waiting") & Q(ended_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="lock_request_mode_and_priority_are_known",
                condition=Q(mode__in=["exclusive", "shared"], priority__range=(1, 4)),
            ),
        ]
        indexes = [
            models.Index(
                name="lock_request_line",
                fields=["key", "priority", "number"],
                condition=Q(state="waiting"),
            ),
            models.Index(
                name="lock_request_due", fields=["wait_until"], condition=Q(state="waiting")
            ),
            models.Index(
                name="lock_request_of_task",
                fields=["task_id"],
                condition=Q(state="waiting", task_id__isnull=False),
            ),
            models.Index(name="lock_request_of_team", fields=["team", "-id"]),
        ]
        triggers = [
            pgtrigger.FSM(
                name="lock_request_state_edges", field="state", transitions=REQUEST_EDGES
            ),
            pgtrigger.Trigger(
                name="lock_request_starts_waiting",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Q(new__state__df="waiting"),
                func=(
                    "RAISE EXCEPTION 'a lock request starts waiting'"
                    " USING ERRCODE = 'check_violation';"
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.resource_type}:{self.resource_id} ({self.mode}, in line as {self.number})"

    @transition(state, State.WAITING, State.GRANTED)
    def grant(self) -> None:
        """Those before it are done: it has the lock."""

    @transition(state, State.WAITING, State.CANCELLED)
    def cancel(self) -> None:
        """Nobody waits for it any more."""

    @transition(state, State.WAITING, State.TIMED_OUT)
    def time_out(self) -> None:
        """It waited as long as it wanted to."""
