"""Execution patterns, their runs and the steps of a run."""

from typing import Any, Self
from uuid import UUID

import pgtrigger
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django_fsm import FSMField, FSMModelMixin, transition

from guardian.models import TeamQuerySet, TeamRow, uuid7
from orchestrator.models.exact import ExactDecoder, ExactEncoder

PATTERN_EDGES = [("draft", "published"), ("published", "deprecated")]
RUN_ENDED = ("succeeded", "failed", "cancelled")
RUN_OPEN = ("queued", "running", "waiting")
RUN_EDGES = [
    ("queued", "running"),
    ("queued", "cancelled"),
    ("queued", "failed"),
    ("running", "waiting"),
    ("running", "succeeded"),
    ("running", "failed"),
    ("running", "cancelled"),
    ("running", "queued"),
    ("waiting", "queued"),
    ("waiting", "failed"),
    ("waiting", "cancelled"),
]
STEP_ENDED = ("succeeded", "failed", "skipped", "cancelled")
STEP_OPEN = ("pending", "running", "waiting")
STEP_EDGES = [
    ("pending", "running"),
    ("pending", "skipped"),
    ("pending", "cancelled"),
    ("running", "succeeded"),
    ("running", "failed"),
    ("running", "waiting"),
    ("running", "cancelled"),
    ("running", "pending"),
    ("waiting", "pending"),
    ("waiting", "failed"),
    ("waiting", "cancelled"),
]


def json_field(**options: Any) -> "models.JSONField[Any, Any]":
    return models.JSONField(encoder=ExactEncoder, decoder=ExactDecoder, **options)


def starts(state: str, *, name: str, sentence: str) -> pgtrigger.Trigger:
    """Rows are born in their first state; the edges guard the rest."""
    return pgtrigger.Trigger(
        name=name,
        when=pgtrigger.Before,
        operation=pgtrigger.Insert,
        condition=pgtrigger.Q(new__state__df=state),
        func=f"RAISE EXCEPTION '{sentence}' USING ERRCODE = 'check_violation';",
    )


def frozen(name: str, sentence: str, *fields: str, unless_draft: bool = False) -> pgtrigger.Trigger:
    """These columns never change; with `unless_draft` only while the row is no draft."""
    changed = pgtrigger.Q()
    for field in fields:
        changed |= pgtrigger.Q(**{f"old__{field}__df": pgtrigger.F(f"new__{field}")})
    return pgtrigger.Trigger(
        name=name,
        when=pgtrigger.Before,
        operation=pgtrigger.Update,
        condition=(~pgtrigger.Q(old__state="draft") & changed) if unless_draft else changed,
        func=f"RAISE EXCEPTION '{sentence}' USING ERRCODE = 'restrict_violation';",
    )


class ExecutionPatternQuerySet(models.QuerySet["ExecutionPattern"]):
    def visible_to(self, team_id: UUID) -> Self:
        """The team's own patterns and the shipped ones."""
        return self.filter(Q(team_id=team_id) | Q(team=None))

    def published(self) -> Self:
        return self.filter(state="published")


class ExecutionPattern(FSMModelMixin, models.Model):
    """A plan of steps over capabilities; once published, its content never changes.

    A row without team is shipped and serves every team.
    """

    class State(models.TextChoices):
        DRAFT = "draft"
        PUBLISHED = "published"
        DEPRECATED = "deprecated"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(
        "guardian.Team", models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    slug = models.CharField(max_length=63)
    version = models.CharField(max_length=40, default="1.0.0", help_text="Semantic version.")
    name = models.CharField(max_length=120)
    state = FSMField(choices=State.choices, default=State.DRAFT, protected=True, max_length=10)
    source = models.TextField(help_text="The file as it was given.")
    normal = json_field(default=dict, help_text="Both dialects brought to one form.")
    content_hash = models.CharField(max_length=64, help_text="SHA-256 of the normal form.")
    revision = models.PositiveIntegerField(default=1, help_text="Counts edits; the ETag.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ExecutionPatternQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="execution_pattern_version_is_unique_per_team",
                fields=["team", "slug", "version"],
                nulls_distinct=False,
            )
        ]
        indexes = [models.Index(name="execution_pattern_by_slug", fields=["slug"])]
        triggers = [
            pgtrigger.FSM(
                name="execution_pattern_state_edges", field="state", transitions=PATTERN_EDGES
            ),
            starts("draft", name="execution_pattern_starts_as_draft",
                   sentence="a pattern starts as draft"),
            frozen(
                "published_execution_pattern_is_frozen",
                "a published pattern never changes",
                "team", "slug", "version", "name", "source", "normal", "content_hash",
                unless_draft=True,
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.slug} {self.version}"

    @property
    def is_shipped(self) -> bool:
        return self.team_id is None

    @transition(state, State.DRAFT, State.PUBLISHED)
    def publish(self) -> None:
        """Runs may start from it; from here on it never changes."""

    @transition(state, State.PUBLISHED, State.DEPRECATED)
    def deprecate(self) -> None:
        """No new run starts from it."""


class PatternRunQuerySet(TeamQuerySet):
    def still_open(self) -> "PatternRunQuerySet":
        return self.filter(state__in=RUN_OPEN)

    def abandoned(self) -> "PatternRunQuerySet":
        """Running, but the host that ran it has not renewed its lease: it is dead or cut off."""
        return self.filter(state="running", lease_until__lt=Now())


class PatternRun(FSMModelMixin, TeamRow):
    """One run of a pattern in a fixed context; `attempt` is its fence, a late host's is older."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        WAITING = "waiting"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    pattern = models.ForeignKey(ExecutionPattern, models.PROTECT, related_name="runs")
    content_hash = models.CharField(max_length=64)
    ctx = json_field(help_text="The request context (pack, ledger, trace, user); fixed at start.")
    inputs = json_field(default=dict, blank=True)
    state = FSMField(choices=State.choices, default=State.QUEUED, protected=True, max_length=10)
    outputs = json_field(default=dict, blank=True)
    warnings = models.JSONField(default=list, blank=True)
    error_code = models.CharField(max_length=100, blank=True)
    error_step = models.CharField(max_length=64, blank=True)
    cache_key = models.CharField(max_length=64, blank=True)
    cached_from = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    parent_run = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="child_runs"
    )
    attempt = models.PositiveIntegerField(default=1)
    ticket = models.ForeignKey(
        "phases.Ticket", models.SET_NULL, null=True, blank=True, related_name="+"
    )
    task = models.ForeignKey(
        "phases.Task", models.SET_NULL, null=True, blank=True, related_name="+"
    )
    started_by = models.ForeignKey(
        "guardian.User", models.PROTECT, related_name="+", db_index=False
    )
    deadline = models.DateTimeField()
    has_own_job = models.BooleanField(
        default=False, help_text="Run by its own job; else by the execution that started it."
    )
    lease_until = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = PatternRunQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="pattern_run_is_leased_exactly_when_running",
                condition=Q(state="running", lease_until__isnull=False)
                | (~Q(state="running") & Q(lease_until=None)),
            ),
            models.CheckConstraint(
                name="pattern_run_is_finished_exactly_when_ended",
                condition=Q(state__in=RUN_ENDED, finished_at__isnull=False)
                | (~Q(state__in=RUN_ENDED) & Q(finished_at=None)),
            ),
            models.CheckConstraint(
                name="pattern_run_has_an_error_code_exactly_when_failed",
                condition=(Q(state="failed") & ~Q(error_code=""))
                | (~Q(state="failed") & Q(error_code="")),
            ),
        ]
        indexes = [
            models.Index(name="pattern_run_of_team", fields=["team", "-id"]),
            models.Index(
                name="pattern_run_lease_due", fields=["lease_until"], condition=Q(state="running")
            ),
            models.Index(
                name="pattern_run_waits", fields=["deadline"],
                condition=Q(state__in=["queued", "waiting"]),
            ),
            models.Index(
                name="pattern_run_to_reuse", fields=["cache_key", "-finished_at"],
                condition=Q(state="succeeded") & ~Q(cache_key=""),
            ),
        ]  # fmt: skip
        triggers = [
            pgtrigger.FSM(name="pattern_run_state_edges", field="state", transitions=RUN_EDGES),
            starts("queued", name="pattern_run_starts_queued", sentence="a run starts queued"),
            frozen(
                "pattern_run_is_asked_once",
                "what a run was asked for never changes",
                "team", "pattern", "content_hash", "ctx", "inputs", "started_by",
            ),
            pgtrigger.Trigger(
                name="pattern_run_attempt_only_rises",
                when=pgtrigger.Before,
                operation=pgtrigger.UpdateOf("attempt"),
                condition=pgtrigger.Q(new__attempt__lt=pgtrigger.F("old__attempt")),
                func="RAISE EXCEPTION 'the attempt of a run only rises'"
                " USING ERRCODE = 'check_violation';",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"run {self.pk}"

    @property
    def is_ended(self) -> bool:
        return self.state in RUN_ENDED

    @transition(state, State.QUEUED, State.RUNNING)
    def start(self) -> None:
        """A host took it."""

    @transition(state, State.RUNNING, State.WAITING)
    def wait(self) -> None:
        """A step waits for something outside; nothing is held meanwhile."""
        self.lease_until = None

    @transition(state, [State.RUNNING, State.WAITING], State.QUEUED)
    def requeue(self) -> None:
        """Its host is lost, or what it waited for has come: the next host goes on from here."""
        if self.state == self.State.RUNNING:
            self.attempt += 1
        self.lease_until = None

    @transition(state, State.RUNNING, State.SUCCEEDED)
    def succeed(self) -> None:
        """All steps ended as they should."""
        self.lease_until = None

    @transition(state, [State.QUEUED, State.RUNNING, State.WAITING], State.FAILED)
    def fail(self) -> None:
        """A step failed, or time ran out."""
        self.lease_until = None

    @transition(state, [State.QUEUED, State.RUNNING, State.WAITING], State.CANCELLED)
    def cancel(self) -> None:
        """Called off."""
        self.lease_until = None


class StepRun(FSMModelMixin, TeamRow):
    """One step of a run: what was asked, what came back, how long it took."""

    class State(models.TextChoices):
        PENDING = "pending"
        RUNNING = "running"
        WAITING = "waiting"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        SKIPPED = "skipped"
        CANCELLED = "cancelled"

    run = models.ForeignKey(PatternRun, models.CASCADE, related_name="steps", db_index=False)
    step_id = models.CharField(max_length=64)
    position = models.PositiveSmallIntegerField()
    capability = models.CharField(max_length=100)
    agent = models.CharField(max_length=64)
    args = json_field(default=dict, blank=True, help_text="As called, secrets redacted.")
    state = FSMField(choices=State.choices, default=State.PENDING, protected=True, max_length=10)
    result = json_field(null=True, blank=True)
    metadata = json_field(default=dict, blank=True)
    cached = models.BooleanField(default=False)
    attempt = models.PositiveIntegerField(default=0, help_text="How often it was called.")
    reason = models.TextField(blank=True)
    error_code = models.CharField(max_length=100, blank=True)
    error = models.TextField(blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="step_run_is_one_per_step", fields=["run", "step_id"]),
            models.CheckConstraint(
                name="step_run_is_finished_exactly_when_ended",
                condition=Q(state__in=STEP_ENDED, finished_at__isnull=False)
                | (~Q(state__in=STEP_ENDED) & Q(finished_at=None)),
            ),
            models.CheckConstraint(
                name="step_run_has_a_result_exactly_when_succeeded",
                condition=Q(state="succeeded", result__isnull=False)
                | (~Q(state="succeeded") & Q(result__isnull=True)),
            ),
            models.CheckConstraint(
                name="step_run_has_an_error_code_exactly_when_failed",
                condition=(Q(state="failed") & ~Q(error_code=""))
                | (~Q(state="failed") & Q(error_code="")),
            ),
        ]
        indexes = [
            models.Index(
                name="step_run_of_capability", fields=["capability", "-finished_at"],
                condition=Q(state="succeeded"),
            ),
            models.Index(name="step_run_waits", fields=["run"], condition=Q(state="waiting")),
        ]  # fmt: skip
        triggers = [
            pgtrigger.FSM(name="step_run_state_edges", field="state", transitions=STEP_EDGES),
            starts("pending", name="step_run_starts_pending", sentence="a step starts pending"),
        ]

    def __str__(self) -> str:
        return f"{self.step_id} of run {self.run_id}"

    @property
    def is_ended(self) -> bool:
        return self.state in STEP_ENDED

    @transition(state, State.PENDING, State.RUNNING)
    def start(self) -> None:
        """Its capability is called."""
        self.attempt += 1

    @transition(state, State.PENDING, State.SKIPPED)
    def skip(self) -> None:
        """Its condition is false."""

    @transition(state, State.RUNNING, State.SUCCEEDED)
    def succeed(self) -> None:
        """The capability answered within its contract."""

    @transition(state, [State.RUNNING, State.WAITING], State.FAILED)
    def fail(self) -> None:
        """The capability refused, broke its contract or took too long."""

    @transition(state, State.RUNNING, State.WAITING)
    def wait(self) -> None:
        """What it started goes on elsewhere."""

    @transition(state, [State.RUNNING, State.WAITING], State.PENDING)
    def again(self) -> None:
        """A retry, a lost host, or what it waited for has come."""

    @transition(state, [State.PENDING, State.RUNNING, State.WAITING], State.CANCELLED)
    def cancel(self) -> None:
        """Its run ended without it."""
