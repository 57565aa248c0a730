"""One run of a tool: asked for, taken, ended."""

from uuid import UUID

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import F, Q
from django.db.models.fields.json import KeyTextTransform
from django_fsm import FSMField, FSMModelMixin, transition

from guardian.models.base import TeamQuerySet, TeamRow

EDGES = [
    ("pending", "running"),
    ("pending", "cancelled"),
    ("pending", "failed"),
    ("running", "completed"),
    ("running", "failed"),
    ("running", "timeout"),
    ("running", "cancelled"),
    ("running", "pending"),
]
ENDED = ("completed", "failed", "timeout", "cancelled")
RESULT_CLASSES = (
    "ok", "failed", "blocked", "handler_error", "infra_error", "cancelled", "timeout",
    "output_truncated", "oom_killed", "pids_exceeded", "disk_full", "killed_self",
    "invalid_output",
)  # fmt: skip


class ToolExecutionQuerySet(TeamQuerySet):
    def ended(self) -> "ToolExecutionQuerySet":
        return self.filter(status__in=ENDED)

    def of_ticket(self, ticket_id: UUID | str) -> "ToolExecutionQuerySet":
        return self.filter(context__ticket_id=str(ticket_id))


class ToolExecution(FSMModelMixin, TeamRow):
    """One run of a tool by an actor, with everything that was observed of it."""

    class Status(models.TextChoices):
        PENDING = "pending"
        RUNNING = "running"
        COMPLETED = "completed"
        FAILED = "failed"
        TIMEOUT = "timeout"
        CANCELLED = "cancelled"

    class Origin(models.TextChoices):
        """Where the input comes from; `self` is set by server code only."""

        NONE = ""
        UPLOAD = "upload"
        SELF = "self"

    tool = models.ForeignKey("tools.Tool", models.PROTECT, related_name="executions")
    version = models.ForeignKey("tools.ToolVersion", models.PROTECT, related_name="executions")
    user = models.ForeignKey("guardian.User", models.PROTECT, related_name="+")
    context = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    run_key = models.CharField(
        max_length=150,
        blank=True,
        help_text="The run and step that asked, as run:step; set by server code only.",
    )
    origin = models.CharField(max_length=6, choices=Origin.choices, default=Origin.NONE, blank=True)
    needed_level = models.CharField(max_length=10)
    input_data = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    output_data = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder)
    stdout = models.TextField(blank=True)
    stderr = models.TextField(blank=True)
    error_message = models.TextField(blank=True)
    status = FSMField(choices=Status.choices, default=Status.PENDING, protected=True, max_length=10)
    result_class = models.CharField(max_length=16, blank=True)
    flags = ArrayField(models.CharField(max_length=20), default=list, blank=True)
    exit_code = models.IntegerField(null=True, blank=True)
    execution_time_ms = models.PositiveIntegerField(null=True, blank=True)
    resource_usage = models.JSONField(default=dict, blank=True)
    isolation_level = models.CharField(max_length=10, blank=True)
    host = models.CharField(max_length=200, blank=True)
    limits_applied = models.JSONField(default=dict, blank=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=3)
    lease_until = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)

    objects = ToolExecutionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="execution_is_leased_exactly_when_running",
                condition=Q(status="running", lease_until__isnull=False)
                | (~Q(status="running") & Q(lease_until=None)),
            ),
            models.CheckConstraint(
                name="execution_has_an_end_exactly_when_ended",
                condition=Q(status__in=ENDED, completed_at__isnull=False)
                | (~Q(status__in=ENDED) & Q(completed_at=None)),
            ),
            models.CheckConstraint(
                name="execution_result_class_is_known",
                condition=Q(result_class__in=("", *RESULT_CLASSES)),
            ),
            models.CheckConstraint(
                name="execution_origin_is_known", condition=Q(origin__in=["", "upload", "self"])
            ),
        ]
        indexes = [
            models.Index(
                KeyTextTransform("ticket_id", "context"),
                F("id").desc(),
                name="execution_by_ticket",
                condition=Q(context__has_key="ticket_id"),
            ),
            models.Index(name="execution_by_tool", fields=["team", "tool", "-id"]),
            models.Index(name="execution_by_run", fields=["run_key"], condition=~Q(run_key="")),
            models.Index(
                name="execution_due", fields=["lease_until"], condition=Q(status="running")
            ),
            models.Index(
                name="execution_open", fields=["id"], condition=Q(status__in=["pending", "running"])
            ),
        ]
        triggers = [
            pgtrigger.FSM(name="execution_status_edges", field="status", transitions=EDGES),
            pgtrigger.Trigger(
                name="execution_starts_pending",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Q(new__status__df="pending"),
                func=(
                    "RAISE EXCEPTION 'an execution starts pending'"
                    " USING ERRCODE = 'check_violation';"
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tool} {self.pk}"

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @transition(status, Status.PENDING, Status.RUNNING)
    def take(self) -> None:
        """A worker runs it now."""

    @transition(status, Status.RUNNING, Status.PENDING)
    def hand_back(self) -> None:
        """The host failed or vanished; another attempt is left."""
        self.lease_until = None

    @transition(status, Status.RUNNING, Status.COMPLETED)
    def complete(self) -> None:
        self.lease_until = None

    @transition(status, [Status.PENDING, Status.RUNNING], Status.FAILED)
    def fail(self) -> None:
        self.lease_until = None

    @transition(status, Status.RUNNING, Status.TIMEOUT)
    def time_out(self) -> None:
        self.lease_until = None

    @transition(status, [Status.PENDING, Status.RUNNING], Status.CANCELLED)
    def cancel(self) -> None:
        self.lease_until = None


class ToolExecutionLog(TeamRow):
    """One line of an execution's log; append-only."""

    execution = models.ForeignKey(ToolExecution, models.CASCADE, related_name="logs")
    seq = models.PositiveIntegerField()
    level = models.CharField(max_length=10, default="info")
    source = models.CharField(max_length=20, default="runner")
    message = models.TextField()
    metadata = models.JSONField(default=dict, blank=True)

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="execution_log_seq_is_unique", fields=["execution", "seq"]
            ),
            models.CheckConstraint(
                name="execution_log_is_at_most_10000_lines", condition=Q(seq__lte=10_000)
            ),
        ]
        triggers = [
            pgtrigger.Protect(
                name="execution_log_is_append_only", operation=pgtrigger.Update | pgtrigger.Delete
            )
        ]

    def __str__(self) -> str:
        return f"{self.execution_id} #{self.seq}"
