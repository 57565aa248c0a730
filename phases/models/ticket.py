"""A ticket: one piece of work on its way through the phases."""

from typing import Any

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django_fsm import FSMField, FSMModelMixin, transition

from guardian.models import TeamQuerySet, TeamRow
from phases.models.starts import starts
from phases.models.ticket_triggers import TICKET_TRIGGERS
from phases.models.workflow import BoardColumn, Phase, Workflow

OPEN = ("pending", "in_progress")
CLOSED = ("completed", "failed", "cancelled")
EDGES = [
    ("pending", "in_progress"),
    ("in_progress", "completed"),
    ("pending", "failed"),
    ("in_progress", "failed"),
    ("pending", "cancelled"),
    ("in_progress", "cancelled"),
    ("failed", "pending"),
    ("cancelled", "pending"),
]

# A ticket that somebody must approve first is in no count and in no line until then.
APPROVAL_EDGES = [
    ("pending_review", "approved"),
    ("pending_review", "rejected"),
    ("pending_review", "timed_out"),
    ("timed_out", "approved"),
    ("timed_out", "rejected"),
    ("rejected", "pending_review"),
    ("timed_out", "pending_review"),
]
APPROVED = ("not_required", "approved")


class TicketQuerySet(TeamQuerySet):
    def still_open(self) -> "TicketQuerySet":
        return self.filter(status__in=OPEN)

    def queued(self) -> "TicketQuerySet":
        """Waiting for a place in a full column, in the order they will get one."""
        return (
            self.still_open()
            .filter(admitted_at=None, approval_status__in=APPROVED)
            .order_by("priority", "phase_entered_at", "id")
        )


class TicketCounter(models.Model):
    """The last ticket number of a team."""

    team = models.OneToOneField("guardian.Team", models.CASCADE, primary_key=True)
    last = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.team_id}: {self.last}"


class Ticket(FSMModelMixin, TeamRow):
    """One piece of work. Its phase is moved by the phase service alone, with a history row."""

    class Status(models.TextChoices):
        PENDING = "pending"
        IN_PROGRESS = "in_progress"
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELLED = "cancelled"

    class Priority(models.IntegerChoices):
        CRITICAL = 1
        HIGH = 2
        MEDIUM = 3
        LOW = 4

    class Approval(models.TextChoices):
        NOT_REQUIRED = "not_required"
        PENDING_REVIEW = "pending_review"
        APPROVED = "approved"
        REJECTED = "rejected"
        TIMED_OUT = "timed_out"

    workflow = models.ForeignKey(Workflow, models.PROTECT, related_name="tickets", db_index=False)
    number = models.PositiveIntegerField()
    title = models.CharField(max_length=500)
    description = models.TextField(blank=True)
    phase = models.ForeignKey(Phase, models.PROTECT, related_name="tickets", db_index=False)
    column = models.ForeignKey(BoardColumn, models.PROTECT, related_name="tickets", db_index=False)
    previous_phase = models.ForeignKey(
        Phase, models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    visit = models.PositiveIntegerField(default=1)
    # Evidence and tasks of earlier visits are about what the ticket was about before it restarted.
    fresh_from_visit = models.PositiveIntegerField(default=1, db_default=1)
    phase_entered_at = models.DateTimeField()
    status = FSMField(choices=Status.choices, default=Status.PENDING, protected=True, max_length=12)
    priority = models.PositiveSmallIntegerField(choices=Priority.choices, default=Priority.MEDIUM)
    rank = models.FloatField(default=0)
    admitted_at = models.DateTimeField(null=True, blank=True)
    deadline = models.DateTimeField(null=True, blank=True)
    assignee = models.ForeignKey(
        "guardian.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    labels = ArrayField(models.CharField(max_length=50), default=list, blank=True)
    is_blocked = models.BooleanField(default=False)
    blocked_reason = models.TextField(blank=True)
    approval_status = FSMField(
        choices=Approval.choices,
        default=Approval.NOT_REQUIRED,
        protected=True,
        max_length=14,
    )
    # When the question is put aside; null unless it is open.
    approval_expires_at = models.DateTimeField(null=True, blank=True)
    context = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    context_summary = models.TextField(blank=True)
    auto_wait = models.JSONField(null=True, blank=True)
    # What apps above know of this ticket and the card shows: cost, agent health, prediction.
    card_facts = models.JSONField(default=dict, blank=True)
    created_by = models.ForeignKey(
        "guardian.User", models.PROTECT, related_name="+", db_index=False
    )
    version = models.PositiveIntegerField(default=1)

    objects = TicketQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="ticket_number_is_unique_in_its_team", fields=["team", "number"]
            ),
            models.CheckConstraint(
                name="ticket_is_blocked_exactly_with_a_reason",
                condition=Q(is_blocked=True) & ~Q(blocked_reason="")
                | Q(is_blocked=False, blocked_reason=""),
            ),
            models.CheckConstraint(
                name="ticket_priority_is_known", condition=Q(priority__gte=1, priority__lte=4)
            ),
            models.CheckConstraint(
                name="ticket_approval_ends_exactly_while_it_is_asked",
                condition=Q(approval_status="pending_review", approval_expires_at__isnull=False)
                | (~Q(approval_status="pending_review") & Q(approval_expires_at=None)),
            ),
            models.CheckConstraint(
                name="ticket_takes_a_place_only_when_approved",
                condition=Q(approval_status__in=APPROVED) | Q(admitted_at=None),
            ),
        ]
        indexes = [
            # The board shows what is open first, each part by priority and place.
            models.Index(
                name="ticket_open_on_board",
                fields=["column", "priority", "rank", "id"],
                condition=Q(status__in=OPEN),
            ),
            models.Index(
                name="ticket_closed_on_board",
                fields=["column", "priority", "rank", "id"],
                condition=Q(status__in=CLOSED),
            ),
            models.Index(name="ticket_of_team", fields=["team", "-id"]),
            models.Index(
                name="ticket_queued",
                fields=["column", "priority", "phase_entered_at"],
                condition=Q(admitted_at=None, status__in=OPEN),
            ),
            models.Index(
                name="ticket_approval_due",
                fields=["approval_expires_at"],
                condition=Q(approval_expires_at__isnull=False),
            ),
        ]
        triggers = [
            pgtrigger.FSM(name="ticket_status_edges", field="status", transitions=EDGES),
            pgtrigger.FSM(
                name="ticket_approval_edges", field="approval_status", transitions=APPROVAL_EDGES
            ),
            starts("ticket", "status", "pending"),
            starts("ticket_approval", "approval_status", "not_required", "pending_review"),
            *TICKET_TRIGGERS,
        ]

    def __str__(self) -> str:
        return f"LEM-{self.number} {self.title}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write all but team and number, which never change.

        Named in an UPDATE they would, behind a trigger, lock the row as if its key changed, and
        whoever gives back a task of it would wait at their commit with that task locked.
        """
        if not self._state.adding and kwargs.get("update_fields") is None:
            written = {field.name for field in self._meta.concrete_fields}
            kwargs["update_fields"] = written - {"id", "team", "number"}
        super().save(*args, **kwargs)

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @transition(status, Status.PENDING, Status.IN_PROGRESS)
    def start(self) -> None:
        """The first claim or move."""

    @transition(status, Status.IN_PROGRESS, Status.COMPLETED)
    def complete(self) -> None:
        """It entered the done phase with no task open."""

    @transition(status, [Status.PENDING, Status.IN_PROGRESS], Status.FAILED)
    def fail(self) -> None:
        """Somebody with authority gave it up."""

    @transition(status, [Status.PENDING, Status.IN_PROGRESS], Status.CANCELLED)
    def cancel(self) -> None:
        """Its creator or somebody with authority called it off."""

    @transition(status, [Status.FAILED, Status.CANCELLED], Status.PENDING)
    def reopen(self) -> None:
        """It goes on."""

    @property
    def is_approved(self) -> bool:
        return self.approval_status in APPROVED

    @transition(approval_status, [Approval.PENDING_REVIEW, Approval.TIMED_OUT], Approval.APPROVED)
    def approve(self) -> None:
        """A person other than its author lets it begin."""
        self.approval_expires_at = None

    @transition(approval_status, [Approval.PENDING_REVIEW, Approval.TIMED_OUT], Approval.REJECTED)
    def reject(self) -> None:
        """A person other than its author does not want it as it is."""
        self.approval_expires_at = None

    @transition(approval_status, Approval.PENDING_REVIEW, Approval.TIMED_OUT)
    def put_aside(self) -> None:
        """Nobody answered in time; it stays, and may still be decided."""
        self.approval_expires_at = None

    @transition(approval_status, [Approval.REJECTED, Approval.TIMED_OUT], Approval.PENDING_REVIEW)
    def resubmit(self) -> None:
        """Asked anew; the caller says until when."""
