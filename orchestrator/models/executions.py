"""One attempt of an agent at a piece of work."""

import pgtrigger
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django_fsm import FSMField, FSMModelMixin, transition

from guardian.models import TeamQuerySet, TeamRow
from orchestrator.models.agents import AgentDefinition, AgentInstance, AgentVersion
from orchestrator.models.patterns import PatternRun

EDGES = [
    ("queued", "running"),
    ("queued", "aborted"),
    ("running", "success"),
    ("running", "failed"),
    ("running", "aborted"),
    ("running", "queued"),
]
OPEN_STATES = ("queued", "running")
ENDED_STATES = ("success", "failed", "aborted")


class AgentExecutionQuerySet(TeamQuerySet):
    def still_open(self) -> "AgentExecutionQuerySet":
        return self.filter(state__in=OPEN_STATES)

    def in_a_slot(self) -> "AgentExecutionQuerySet":
        """Open ones, without those whose run waits for another host: they hold no slot."""
        return self.still_open().filter(Q(run=None) | ~Q(run__state="waiting"))


class AgentExecution(FSMModelMixin, TeamRow):
    """One attempt of an agent: at a task under one fence, or at an event."""

    class Kind(models.TextChoices):
        TASK = "task"
        EVENT = "event"
        CHAT = "chat"
        DELEGATED = "delegated"

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        SUCCESS = "success"
        FAILED = "failed"
        ABORTED = "aborted"

    definition = models.ForeignKey(
        AgentDefinition, models.PROTECT, null=True, blank=True, related_name="executions"
    )
    agent_version = models.ForeignKey(
        AgentVersion, models.PROTECT, null=True, blank=True, related_name="executions"
    )
    instance = models.ForeignKey(
        AgentInstance, models.PROTECT, null=True, blank=True, related_name="executions"
    )
    kind = models.CharField(max_length=9, choices=Kind.choices)
    task = models.ForeignKey(
        "phases.Task", models.CASCADE, null=True, blank=True, related_name="executions"
    )
    # Unchecked by the database: an old event goes to the archive, its execution stays.
    event = models.ForeignKey(
        "guardian.Event",
        models.DO_NOTHING,
        null=True,
        blank=True,
        related_name="+",
        db_constraint=False,
    )
    parent = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="children"
    )
    run = models.ForeignKey(
        PatternRun, models.SET_NULL, null=True, blank=True, related_name="executions"
    )
    state = FSMField(choices=State.choices, default=State.QUEUED, protected=True, max_length=7)
    priority = models.PositiveSmallIntegerField(default=3, help_text="1 critical to 4 low.")
    attempt = models.PositiveSmallIntegerField(default=1)
    fence = models.BigIntegerField(null=True, blank=True)
    input = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    result = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    error_code = models.CharField(max_length=100, blank=True)
    error = models.TextField(blank=True)
    progress = models.PositiveSmallIntegerField(default=0, help_text="Percent.")
    note = models.CharField(max_length=500, blank=True)
    lost_hosts = models.PositiveSmallIntegerField(default=0)
    host = models.CharField(max_length=200, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    duration_seconds = models.DecimalField(max_digits=12, decimal_places=3, null=True, blank=True)
    prompt_tokens = models.PositiveBigIntegerField(default=0)
    completion_tokens = models.PositiveBigIntegerField(default=0)
    cost_usd = models.DecimalField(max_digits=20, decimal_places=10, default=0)
    tool_calls = models.PositiveIntegerField(default=0)
    user_rating = models.PositiveSmallIntegerField(null=True, blank=True)
    user_feedback = models.TextField(blank=True)

    objects = AgentExecutionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="execution_is_one_per_agent_and_event", fields=["definition", "event"]
            ),
            models.UniqueConstraint(
                name="execution_is_one_per_task_and_fence", fields=["task", "fence"]
            ),
            models.CheckConstraint(
                name="agent_execution_has_an_end_exactly_when_ended",
                condition=Q(state__in=ENDED_STATES, finished_at__isnull=False)
                | (~Q(state__in=ENDED_STATES) & Q(finished_at=None)),
            ),
            models.CheckConstraint(
                name="agent_execution_of_a_task_names_task_and_fence",
                condition=~Q(kind="task") | Q(task__isnull=False, fence__isnull=False),
            ),
            models.CheckConstraint(
                name="agent_execution_rating_is_from_1_to_5",
                condition=Q(user_rating=None) | Q(user_rating__range=(1, 5)),
            ),
            models.CheckConstraint(
                name="agent_execution_progress_is_a_percentage", condition=Q(progress__lte=100)
            ),
        ]
        indexes = [
            models.Index(
                name="agent_execution_open",
                fields=["instance"],
                condition=Q(state__in=OPEN_STATES),
            ),
            models.Index(name="agent_execution_of_team", fields=["team", "-id"]),
        ]
        triggers = [
            pgtrigger.FSM(name="agent_execution_state_edges", field="state", transitions=EDGES),
            pgtrigger.Trigger(
                name="agent_execution_starts_queued",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Q(new__state__df="queued"),
                func=(
                    "RAISE EXCEPTION 'an execution of an agent starts queued'"
                    " USING ERRCODE = 'check_violation';"
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk} ({self.state})"

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED_STATES

    @transition(state, State.QUEUED, State.RUNNING)
    def start(self) -> None:
        """A worker host runs it now."""

    @transition(state, State.RUNNING, State.SUCCESS)
    def succeed(self) -> None:
        """The work is done."""

    @transition(state, State.RUNNING, State.FAILED)
    def fail(self) -> None:
        """The work went wrong."""

    @transition(state, [State.QUEUED, State.RUNNING], State.ABORTED)
    def abort(self) -> None:
        """It lost its task, or was called off."""

    @transition(state, State.RUNNING, State.QUEUED)
    def requeue(self) -> None:
        """Its host is lost; another takes it up."""
        self.attempt += 1
