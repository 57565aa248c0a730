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


class ResourceLockQuerySet(TeamQuerySet):
    def held(self) -> "ResourceLockQuerySet":
        return self.filter(state="held")


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
    holder = models.ForeignKey("guardian.User", models.PROTECT, related_name="+")
    task_id = models.UUIDField(null=True, blank=True, db_index=True)
    fence = models.BigIntegerField(unique=True)
    lease_seconds = models.PositiveIntegerField(default=3600)
    expires_at = models.DateTimeField()
    acquired_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True, blank=True)
    release_reason = models.CharField(max_length=200, blank=True)
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
