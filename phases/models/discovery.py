"""What workers come upon beside their task, and results that end a workflow."""

import pgtrigger
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import F, Q
from django_fsm import FSMField, FSMModelMixin, transition

from guardian.models import TeamQuerySet, TeamRow
from phases.models.starts import starts
from phases.models.task import Task
from phases.models.ticket import Ticket

RESOLUTION_EDGES = [
    ("open", "in_progress"),
    ("open", "resolved"),
    ("open", "invalid"),
    ("in_progress", "resolved"),
    ("in_progress", "invalid"),
]
RESULT_EDGES = [("pending_validation", "validated"), ("pending_validation", "rejected")]


class TaskDiscovery(TeamRow):
    """Something found while working on a task; tasks that it spawned point here."""

    class Type(models.TextChoices):
        BUG = "bug"
        OPTIMIZATION = "optimization"
        CLARIFICATION_NEEDED = "clarification_needed"
        NEW_COMPONENT = "new_component"
        SECURITY_ISSUE = "security_issue"
        PERFORMANCE_ISSUE = "performance_issue"
        MISSING_REQUIREMENT = "missing_requirement"
        INTEGRATION_ISSUE = "integration_issue"
        TECHNICAL_DEBT = "technical_debt"

    class Resolution(models.TextChoices):
        OPEN = "open"
        IN_PROGRESS = "in_progress"
        RESOLVED = "resolved"
        INVALID = "invalid"

    source_task = models.ForeignKey(Task, models.CASCADE, related_name="discoveries")
    discovery_type = models.CharField(max_length=24, choices=Type.choices)
    description = models.TextField()
    evidence = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    priority_boost = models.BooleanField(default=False)
    resolution_status = models.CharField(
        max_length=12, choices=Resolution.choices, default=Resolution.OPEN
    )
    metadata = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    discovered_by = models.ForeignKey(
        "guardian.User", models.PROTECT, related_name="+", db_index=False
    )
    discovered_at = models.DateTimeField()

    objects = TeamQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "task discoveries"
        indexes = [models.Index(name="discovery_of_team", fields=["team", "-id"])]
        triggers = [
            pgtrigger.FSM(
                name="discovery_resolution_edges",
                field="resolution_status",
                transitions=RESOLUTION_EDGES,
            ),
            starts("discovery", "resolution_status", "open"),
        ]

    def __str__(self) -> str:
        return f"{self.discovery_type}: {self.description[:60]}"


class WorkflowResult(FSMModelMixin, TeamRow):
    """What a holder says is the answer the workflow looks for; somebody else decides."""

    class Status(models.TextChoices):
        PENDING_VALIDATION = "pending_validation"
        VALIDATED = "validated"
        REJECTED = "rejected"

    ticket = models.ForeignKey(Ticket, models.CASCADE, related_name="results")
    submitted_by = models.ForeignKey(
        "guardian.User", models.PROTECT, related_name="+", db_index=False
    )
    summary = models.TextField()
    evidence = models.JSONField(default=list, blank=True, encoder=DjangoJSONEncoder)
    status = FSMField(
        choices=Status.choices,
        default=Status.PENDING_VALIDATION,
        protected=True,
        max_length=20,
    )
    decided_by = models.ForeignKey(
        "guardian.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    reason = models.TextField(blank=True)

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="result_is_decided_by_another",
                condition=Q(decided_by=None) | ~Q(decided_by=F("submitted_by")),
            ),
            models.CheckConstraint(
                name="result_has_a_decider_exactly_when_decided",
                condition=Q(status="pending_validation", decided_by=None)
                | (~Q(status="pending_validation") & Q(decided_by__isnull=False)),
            ),
        ]
        indexes = [models.Index(name="result_of_team", fields=["team", "-id"])]
        triggers = [
            pgtrigger.FSM(name="result_status_edges", field="status", transitions=RESULT_EDGES),
            starts("result", "status", "pending_validation"),
        ]

    def __str__(self) -> str:
        return f"{self.status}: {self.summary[:60]}"

    @transition(status, Status.PENDING_VALIDATION, Status.VALIDATED)
    def validate(self) -> None:
        """It is what the workflow looked for."""

    @transition(status, Status.PENDING_VALIDATION, Status.REJECTED)
    def reject(self) -> None:
        """It is not."""
