"""A task: one unit of work, held by at most one actor under a lease."""

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django_fsm import FSMField, FSMModelMixin, transition

from guardian.models import TeamQuerySet, TeamRow, uuid7
from phases.models.ticket import Ticket
from phases.models.workflow import Phase

HELD = ("assigned", "running")
WAITING = ("pending", "needs_work")
OPEN = ("pending", "assigned", "running", "under_review", "validating", "needs_work", "blocked")
RETRYABLE = ("failed", "cancelled")
EDGES = [
    ("pending", "assigned"),
    ("needs_work", "assigned"),
    ("assigned", "running"),
    *((held, to) for held in HELD for to in ("completed", "under_review", "pending", "failed")),
    ("under_review", "validating"),
    ("validating", "under_review"),
    ("validating", "completed"),
    ("validating", "needs_work"),
    ("validating", "blocked"),
    ("pending", "blocked"),
    ("needs_work", "blocked"),
    ("blocked", "pending"),
    ("blocked", "completed"),
    ("blocked", "needs_work"),
    ("blocked", "failed"),
    ("failed", "pending"),
    ("cancelled", "pending"),
    *((status, "cancelled") for status in OPEN),
]


class TaskQuerySet(TeamQuerySet):
    def still_open(self) -> "TaskQuerySet":
        return self.filter(status__in=OPEN)

    def of_now(self, ticket: Ticket) -> "TaskQuerySet":
        """Tasks about what the ticket is about now, not about what it was before it restarted."""
        return self.filter(ticket=ticket, visit__gte=ticket.fresh_from_visit)

    def of_visit(self, ticket: Ticket, phase: Phase) -> "TaskQuerySet":
        """What counts for a phase now: of the phase a ticket is in, only this visit's tasks.

        A blocked ticket is still in its visit of the phase it was stopped in.
        """
        here = self.of_now(ticket).filter(phase=phase)
        stopped_in = ticket.previous_phase_id if ticket.is_blocked else None
        return (
            here.filter(visit=ticket.visit) if phase.pk in {ticket.phase_id, stopped_in} else here
        )

    def held(self) -> "TaskQuerySet":
        return self.filter(status__in=HELD)


class Task(FSMModelMixin, TeamRow):
    """One unit of work. The fence only rises: whoever brings an older one is refused."""

    class Status(models.TextChoices):
        PENDING = "pending"
        ASSIGNED = "assigned"
        RUNNING = "running"
        COMPLETED = "completed"
        UNDER_REVIEW = "under_review"
        VALIDATING = "validating"
        NEEDS_WORK = "needs_work"
        BLOCKED = "blocked"
        FAILED = "failed"
        CANCELLED = "cancelled"
        DUPLICATED = "duplicated"

    ticket = models.ForeignKey(Ticket, models.CASCADE, related_name="tasks")
    phase = models.ForeignKey(Phase, models.PROTECT, related_name="+", db_index=False)
    # The ticket's visit it is for: an end in an earlier visit is history and decides nothing.
    visit = models.PositiveIntegerField(default=1, db_default=1)
    task_type = models.CharField(max_length=100)
    title = models.CharField(max_length=500)
    description = models.TextField(blank=True)
    priority = models.PositiveSmallIntegerField(choices=Ticket.Priority.choices, default=3)
    status = FSMField(choices=Status.choices, default=Status.PENDING, protected=True, max_length=12)
    holder = models.ForeignKey(
        "guardian.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    last_holder = models.ForeignKey(
        "guardian.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    fence = models.BigIntegerField(default=0)
    claimed_at = models.DateTimeField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    deps_left = models.PositiveIntegerField(default=0)
    ready_at = models.DateTimeField(null=True, blank=True)
    not_before = models.DateTimeField(null=True, blank=True)
    required_capabilities = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    required_locks = models.JSONField(default=list, blank=True)
    # A lock, or a place in the line for one, was asked for it; its end looks after them.
    holds_locks = models.BooleanField(default=False, db_default=False, editable=False)
    retry_count = models.PositiveSmallIntegerField(default=0)
    max_retries = models.PositiveSmallIntegerField(default=3)
    lease_losses = models.PositiveSmallIntegerField(default=0)
    timeout_seconds = models.PositiveIntegerField(null=True, blank=True)
    cancel_deadline = models.DateTimeField(null=True, blank=True)
    cancel_reason = models.TextField(blank=True)
    # Who ordered that it ends: also while its holder may still hear of it.
    cancel_requested_by = models.ForeignKey(
        "guardian.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    deadline = models.DateTimeField(null=True, blank=True)
    progress = models.FloatField(default=0)
    note = models.CharField(max_length=500, blank=True)
    # What its last holder leaves to the next one.
    handoff = models.TextField(blank=True, default="", db_default="")
    result = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    error_code = models.CharField(max_length=100, blank=True)
    error_message = models.TextField(blank=True)
    blocked_reason = models.TextField(null=True, blank=True)  # noqa: DJ001  null: not blocked
    # How often the work was sent back by a review.
    review_iteration = models.PositiveSmallIntegerField(default=0, db_default=0)
    duplicate_of = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="duplicates", db_index=False
    )
    # The discovery it came from, and how many of them lie between it and planned work.
    discovery = models.ForeignKey(
        "phases.TaskDiscovery",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="spawned",
        db_index=False,
    )
    depth = models.PositiveSmallIntegerField(default=0)
    # The conversation that agents lead about it; stays the same over all tries.
    conversation_id = models.UUIDField(default=uuid7, editable=False, null=True)
    dispatch_note = models.CharField(max_length=200, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)

    objects = TaskQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="task_is_held_and_leased_exactly_when_assigned_or_running",
                condition=Q(status__in=HELD, holder__isnull=False, lease_expires_at__isnull=False)
                | (~Q(status__in=HELD) & Q(holder=None, lease_expires_at=None)),
            ),
            models.CheckConstraint(
                name="task_has_a_blocked_reason_exactly_when_blocked",
                condition=Q(status="blocked", blocked_reason__isnull=False)
                | (~Q(status="blocked") & Q(blocked_reason=None)),
            ),
            models.CheckConstraint(
                name="task_has_an_original_exactly_when_duplicated",
                condition=Q(status="duplicated", duplicate_of__isnull=False)
                | (~Q(status="duplicated") & Q(duplicate_of=None)),
            ),
            models.CheckConstraint(
                name="task_max_retries_is_at_most_10", condition=Q(max_retries__lte=10)
            ),
        ]
        indexes = [
            # Few and partial: a completed task is in none of the working indexes.
            models.Index(
                name="task_lease_due", fields=["lease_expires_at"], condition=Q(status__in=HELD)
            ),
            models.Index(
                name="task_of_holder", fields=["holder"], condition=Q(holder__isnull=False)
            ),
            models.Index(name="task_of_team", fields=["team", "-id"]),
            models.Index(
                name="task_of_discovery",
                fields=["discovery"],
                condition=Q(discovery__isnull=False),
            ),
            # What the queue must hold, to compare it with what it holds.
            models.Index(
                name="task_waits_for_nothing",
                fields=["ticket"],
                condition=Q(status__in=WAITING, deps_left=0),
            ),
        ]
        triggers = [
            pgtrigger.FSM(name="task_status_edges", field="status", transitions=EDGES),
            pgtrigger.Trigger(
                name="task_starts_pending_or_duplicated",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func="""
                    IF NEW.status NOT IN ('pending', 'duplicated') THEN
                        RAISE EXCEPTION 'a task starts pending or duplicated'
                            USING ERRCODE = 'check_violation';
                    END IF;
                    RETURN NEW;
                """,
            ),
            pgtrigger.Trigger(
                name="task_fence_only_rises",
                when=pgtrigger.Before,
                operation=pgtrigger.UpdateOf("fence"),
                condition=pgtrigger.Q(new__fence__lt=pgtrigger.F("old__fence")),
                func="RAISE EXCEPTION 'the fence of a task only rises'"
                " USING ERRCODE = 'check_violation';",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title} ({self.pk})"

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    def _let_go(self) -> None:
        self.last_holder_id = self.holder_id or self.last_holder_id
        self.holder = self.lease_expires_at = None

    @transition(status, ["assigned", "running"], Status.PENDING)
    def give_back(self) -> None:
        """Released, retried or taken from a silent holder: the fence moves on."""
        self._let_go()
        self.fence += 1

    @transition(status, ["assigned", "running"], Status.FAILED)
    def fail(self) -> None:
        """It failed for good."""
        self._let_go()

    @transition(status, ["assigned", "running"], Status.UNDER_REVIEW)
    def submit(self) -> None:
        """Its holder is done; somebody else looks at it."""
        self._let_go()

    @transition(status, Status.UNDER_REVIEW, Status.VALIDATING)
    def begin_review(self) -> None:
        """A reviewer has it."""

    @transition(status, Status.VALIDATING, Status.UNDER_REVIEW)
    def end_review(self) -> None:
        """The reviewer went silent."""

    @transition(status, ["validating", "blocked"], Status.COMPLETED)
    def accept(self) -> None:
        """The review passed, or a person decided so."""
        self.blocked_reason = None

    @transition(status, ["validating", "blocked"], Status.NEEDS_WORK)
    def send_back(self) -> None:
        """Once more, with the feedback of the review."""
        self.blocked_reason = None
        self.fence += 1

    @transition(status, Status.VALIDATING, Status.BLOCKED)
    def escalate(self) -> None:
        """Sent back as often as its phase allows: a person decides."""

    @transition(status, Status.BLOCKED, Status.FAILED)
    def give_up(self) -> None:
        """A person decided that it ends here."""
        self.blocked_reason = None

    @transition(status, list(OPEN), Status.CANCELLED)
    def cancel(self) -> None:
        """Called off."""
        self._let_go()
        self.fence += 1
        self.blocked_reason = None
        self.cancel_deadline = None

    @transition(status, ["pending", "needs_work"], Status.BLOCKED)
    def block(self) -> None:
        """A dependency failed or was cancelled."""

    @transition(status, Status.BLOCKED, Status.PENDING)
    def unblock(self) -> None:
        """The cause is gone."""
        self.blocked_reason = None

    @transition(status, ["failed", "cancelled"], Status.PENDING)
    def retry(self) -> None:
        """Once more, counters at zero; an order to end it that it outlived is void."""
        self.retry_count = self.lease_losses = self.review_iteration = 0
        self.error_code = self.error_message = ""
        self.not_before = self.completed_at = self.cancel_deadline = None
        self.cancel_reason, self.cancel_requested_by = "", None
        self.progress, self.note = 0, ""
