"""Reviews: a second pair of eyes on finished work."""

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import F, Q
from django_fsm import FSMField, FSMModelMixin, transition

from guardian.models import TeamQuerySet, TeamRow
from phases.models.starts import starts
from phases.models.task import Task

REVIEW_EDGES = [
    ("requested", "validating"),
    ("validating", "requested"),
    ("validating", "passed"),
    ("validating", "needs_work"),
    ("validating", "escalated"),
]


class Review(FSMModelMixin, TeamRow):
    """One round of looking at a task's result. Its author never decides it."""

    class Status(models.TextChoices):
        REQUESTED = "requested"
        VALIDATING = "validating"
        PASSED = "passed"
        NEEDS_WORK = "needs_work"
        ESCALATED = "escalated"

    task = models.ForeignKey(Task, models.CASCADE, related_name="reviews", db_index=False)
    iteration = models.PositiveSmallIntegerField()
    author = models.ForeignKey("guardian.User", models.PROTECT, related_name="+", db_index=False)
    reviewer = models.ForeignKey(
        "guardian.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    status = FSMField(
        choices=Status.choices, default=Status.REQUESTED, protected=True, max_length=10
    )
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    feedback = models.TextField(blank=True)
    evidence = models.JSONField(default=list, blank=True, encoder=DjangoJSONEncoder)
    recommendations = ArrayField(models.CharField(max_length=1000), default=list, blank=True)

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="review_iteration_is_unique", fields=["task", "iteration"]
            ),
            models.CheckConstraint(
                name="review_is_by_another",
                condition=Q(reviewer=None) | ~Q(reviewer=F("author")),
            ),
            models.CheckConstraint(
                name="review_is_leased_exactly_while_validating",
                condition=Q(
                    status="validating", reviewer__isnull=False, lease_expires_at__isnull=False
                )
                | (~Q(status="validating") & Q(lease_expires_at=None)),
            ),
        ]
        indexes = [
            models.Index(
                name="review_lease_due",
                fields=["lease_expires_at"],
                condition=Q(status="validating"),
            ),
        ]
        triggers = [
            pgtrigger.FSM(name="review_status_edges", field="status", transitions=REVIEW_EDGES),
            starts("review", "status", "requested"),
        ]

    def __str__(self) -> str:
        return f"review {self.iteration} of {self.task_id}"

    @transition(status, Status.REQUESTED, Status.VALIDATING)
    def begin(self) -> None:
        """Somebody looks at it; the caller says who and until when."""

    @transition(status, Status.VALIDATING, Status.REQUESTED)
    def give_back(self) -> None:
        """Its reviewer went silent."""
        self.reviewer = self.lease_expires_at = None

    @transition(status, Status.VALIDATING, Status.PASSED)
    def approve(self) -> None:
        """The work is good."""
        self.lease_expires_at = None

    @transition(status, Status.VALIDATING, Status.NEEDS_WORK)
    def refuse(self) -> None:
        """Once more."""
        self.lease_expires_at = None

    @transition(status, Status.VALIDATING, Status.ESCALATED)
    def escalate(self) -> None:
        """Refused as often as its phase allows."""
        self.lease_expires_at = None
