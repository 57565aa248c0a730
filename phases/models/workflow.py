"""How work goes: workflows, their phases and gates, and the columns of their board."""

from datetime import datetime, timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from guardian.models import TeamQuerySet, TeamRow


class Workflow(TeamRow):
    """A set of phases with a start; each ticket follows one."""

    key = models.SlugField(max_length=64)
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    initial_phase = models.CharField(max_length=46)
    is_default = models.BooleanField(default=False)
    has_result = models.BooleanField(default=False)
    result_criteria = models.TextField(blank=True)
    on_result_found = models.CharField(
        max_length=10,
        choices=[("stop_all", "stop all"), ("do_nothing", "do nothing")],
        default="stop_all",
    )
    approval_required = models.BooleanField(default=False)
    approval_timeout_minutes = models.PositiveIntegerField(default=30)
    score = models.JSONField(default=dict, blank=True)
    limits = models.JSONField(default=dict, blank=True)
    # What its tickets' work is about: key of their context -> kind (phases.context).
    context_kinds = models.JSONField(default=dict, db_default={}, blank=True)
    version = models.PositiveIntegerField(default=1)

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="workflow_key_is_unique_in_its_team", fields=["team", "key"]
            ),
            models.UniqueConstraint(
                name="workflow_default_is_one_per_team",
                fields=["team"],
                condition=Q(is_default=True),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def approval_ends(self, now: datetime) -> datetime:
        """Until when a ticket's approval is asked for, before it is put aside."""
        return now + timedelta(minutes=self.approval_timeout_minutes)

    @property
    def asks_source(self) -> bool:
        """Whether its tickets are about a source that people upload on the board."""
        return bool(self.context_kinds.get("source") == "repository")


class BoardColumn(TeamRow):
    """A column of the board. Its counts are kept by the database with every change of a ticket."""

    class Color(models.TextChoices):
        GRAY = "gray"
        BLUE = "blue"
        YELLOW = "yellow"
        GREEN = "green"
        RED = "red"

    workflow = models.ForeignKey(Workflow, models.CASCADE, related_name="columns")
    key = models.SlugField(max_length=64)
    name = models.CharField(max_length=100)
    position = models.PositiveSmallIntegerField()
    wip_limit = models.PositiveIntegerField(null=True, blank=True)
    is_terminal = models.BooleanField(default=False)
    auto_transition_to = models.SlugField(max_length=64, blank=True)
    color = models.CharField(max_length=10, choices=Color.choices, default=Color.GRAY)
    admitted_count = models.IntegerField(default=0, editable=False)
    queued_count = models.IntegerField(default=0, editable=False)
    total_count = models.IntegerField(default=0, editable=False)
    # Since when more tickets are admitted than the limit allows; null: they are not.
    exceeded_since = models.DateTimeField(null=True, blank=True, editable=False)
    version = models.PositiveIntegerField(default=1)

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="column_key_is_unique", fields=["workflow", "key"]),
            models.UniqueConstraint(
                name="column_position_is_unique",
                fields=["workflow", "position"],
                deferrable=models.Deferrable.DEFERRED,
            ),
            models.CheckConstraint(
                name="column_wip_limit_is_at_least_1",
                condition=Q(wip_limit=None) | Q(wip_limit__gte=1),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_full(self) -> bool:
        return self.wip_limit is not None and self.admitted_count >= self.wip_limit


class Phase(TeamRow):
    """A step of a workflow: what is to be done in it and where a ticket may go from it."""

    class Kind(models.TextChoices):
        WORK = "work"
        DONE = "done"
        BLOCKED = "blocked"

    workflow = models.ForeignKey(Workflow, models.CASCADE, related_name="phases")
    column = models.ForeignKey(BoardColumn, models.PROTECT, related_name="phases")
    # Where a ticket goes from here; None at the end. Kept by the services that edit workflows.
    next_column = models.ForeignKey(
        BoardColumn, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    key = models.CharField(max_length=46)
    sequence_order = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.WORK)
    allowed_transitions = ArrayField(models.CharField(max_length=46), default=list, blank=True)
    is_terminal = models.BooleanField(default=False)
    done_definitions = models.JSONField(default=list, blank=True)
    expected_outputs = models.JSONField(default=list, blank=True)
    phase_prompt = models.TextField(blank=True)
    next_steps_guide = models.JSONField(default=list, blank=True)
    entry_task = models.JSONField(null=True, blank=True)
    review_required = models.BooleanField(default=False)
    max_review_iterations = models.PositiveSmallIntegerField(default=3)
    configuration = models.JSONField(default=dict, blank=True)
    version = models.PositiveIntegerField(default=1)

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="phase_key_is_unique", fields=["workflow", "key"]),
            models.UniqueConstraint(
                name="phase_order_is_unique",
                fields=["workflow", "sequence_order"],
                deferrable=models.Deferrable.DEFERRED,
            ),
            models.CheckConstraint(
                name="phase_key_is_well_formed", condition=Q(key__regex=r"^PHASE_[A-Z0-9_]{1,40}$")
            ),
        ]

    def __str__(self) -> str:
        return self.name


class GateRequirement(TeamRow):
    """What the gate of a phase asks for."""

    class Kind(models.TextChoices):
        ARTIFACT = "artifact"
        TASKS_COMPLETED = "tasks_completed"
        FILE_EXISTS = "file_exists"
        FILE_CONTAINS = "file_contains"
        COMMAND_SUCCESS = "command_success"
        TESTS_PASS = "tests_pass"  # noqa: S105  a kind of gate
        METRIC = "metric"
        MANUAL = "manual"
        REVIEW = "review"

    class Evidence(models.TextChoices):
        REPORTED = "reported"
        VERIFIED = "verified"

    phase = models.ForeignKey(Phase, models.CASCADE, related_name="requirements")
    key = models.SlugField(max_length=64)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    parameters = models.JSONField(default=dict, blank=True)
    min_evidence = models.CharField(
        max_length=10, choices=Evidence.choices, default=Evidence.VERIFIED
    )
    required = models.BooleanField(default=True)
    version = models.PositiveIntegerField(default=1)

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="requirement_key_is_unique", fields=["phase", "key"])
        ]

    def __str__(self) -> str:
        return f"{self.key} of {self.phase_id}"
