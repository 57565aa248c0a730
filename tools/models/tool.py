"""What can be run: tools and the approved snapshots (passports) of what they are."""

from typing import Any, Self
from uuid import UUID

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django_fsm import FSMField, FSMModelMixin, transition

from guardian.models.base import uuid7

TOOL_EDGES = [
    ("draft", "active"),
    ("active", "inactive"),
    ("inactive", "active"),
    ("active", "maintenance"),
    ("maintenance", "active"),
    ("active", "deprecated"),
    *((state, "quarantined") for state in ("draft", "active", "inactive", "maintenance")),
    ("deprecated", "quarantined"),
    ("quarantined", "active"),
    *(
        (state, "archived")
        for state in ("draft", "active", "inactive", "maintenance", "deprecated", "quarantined")
    ),
]
VERSION_EDGES = [
    ("proposed", "approved"),
    ("proposed", "rejected"),
    ("approved", "superseded"),
    ("approved", "quarantined"),
    ("quarantined", "approved"),
    ("quarantined", "superseded"),
]


class ToolQuerySet(models.QuerySet["Tool"]):
    def visible_to(self, team_id: UUID) -> Self:
        """The team's own tools and the global ones."""
        return self.filter(Q(team_id=team_id) | Q(team=None))


class Tool(FSMModelMixin, models.Model):
    """Something an actor can run, with its limits; a row without team serves every team."""

    class Category(models.TextChoices):
        DATABASE = "database"
        API = "api"
        FILE_SYSTEM = "file_system"
        POWERSHELL = "powershell"
        BASH = "bash"
        ANALYSIS = "analysis"
        COMMUNICATION = "communication"
        SEARCH = "search"
        CODE_EXECUTION = "code_execution"
        MONITORING = "monitoring"
        EDUCATIONAL = "educational"
        RESEARCH = "research"
        CONTENT_CREATION = "content_creation"
        ASSESSMENT = "assessment"
        LLM = "llm"
        WEB_SCRAPING = "web_scraping"
        DATA_PROCESSING = "data_processing"
        VISUALIZATION = "visualization"

    class SecurityLevel(models.TextChoices):
        SAFE = "safe"
        LOW_RISK = "low_risk"
        MEDIUM_RISK = "medium_risk"
        HIGH_RISK = "high_risk"
        CRITICAL = "critical"

    class Status(models.TextChoices):
        DRAFT = "draft"
        ACTIVE = "active"
        INACTIVE = "inactive"
        MAINTENANCE = "maintenance"
        DEPRECATED = "deprecated"
        QUARANTINED = "quarantined"
        ARCHIVED = "archived"

    class Trust(models.TextChoices):
        UNTRUSTED = "untrusted"
        REVIEWED = "reviewed"
        TRUSTED = "trusted"

    class HandlerKind(models.TextChoices):
        UNSET = "unset"
        PYTHON = "python"
        HTTP = "http"
        SANDBOX_COMMAND = "sandbox_command"
        SANDBOX_CODE = "sandbox_code"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(
        "guardian.Team", models.PROTECT, related_name="+", null=True, blank=True
    )
    name = models.CharField(max_length=255)
    version = models.CharField(max_length=40, default="1.0.0")
    description = models.TextField(blank=True, max_length=8192)
    category = models.CharField(max_length=20, choices=Category.choices, default=Category.ANALYSIS)
    security_level = models.CharField(
        max_length=12, choices=SecurityLevel.choices, default=SecurityLevel.MEDIUM_RISK
    )
    status = FSMField(choices=Status.choices, default=Status.DRAFT, protected=True, max_length=12)
    trust = models.CharField(max_length=10, choices=Trust.choices, default=Trust.UNTRUSTED)
    function_signature = models.JSONField(help_text="JSON Schema of the input, type object.")
    output_schema = models.JSONField(null=True, blank=True)
    handler_kind = models.CharField(
        max_length=16, choices=HandlerKind.choices, default=HandlerKind.UNSET
    )
    handler = models.JSONField(default=dict, blank=True)
    requires_sandbox = models.BooleanField(default=False)
    sandbox_image = models.CharField(max_length=80, blank=True)
    max_execution_seconds = models.PositiveIntegerField(default=60)
    max_session_seconds = models.PositiveIntegerField(default=300)
    memory_mb = models.PositiveIntegerField(default=512)
    cpus = models.FloatField(default=0.5)
    pids = models.PositiveIntegerField(default=64)
    tmp_mb = models.PositiveIntegerField(default=100)
    out_mb = models.PositiveIntegerField(default=16)
    output_kb = models.PositiveIntegerField(default=1024)
    rate_limit_calls = models.PositiveIntegerField(default=60)
    rate_limit_seconds = models.PositiveIntegerField(default=60)
    requires_approval = models.BooleanField(default=False)
    stateful = models.BooleanField(default=False)
    idempotent = models.BooleanField(default=False)
    metadata = models.JSONField(default=dict, blank=True)
    tags = ArrayField(models.CharField(max_length=50), default=list, blank=True)
    capabilities = ArrayField(models.CharField(max_length=50), default=list, blank=True)
    dependencies = models.JSONField(default=list, blank=True)
    examples = models.JSONField(default=list, blank=True)
    created_by = models.ForeignKey(
        "guardian.User", models.PROTECT, related_name="+", null=True, blank=True
    )
    last_used_at = models.DateTimeField(null=True, blank=True)
    revision = models.PositiveIntegerField(default=1, help_text="Counts edits; the ETag.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ToolQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="tool_name_and_version_are_unique_per_team",
                fields=["team", "name", "version"],
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                name="tool_limits_are_in_range",
                condition=Q(
                    max_execution_seconds__range=(1, 3600),
                    max_session_seconds__range=(10, 3600),
                    memory_mb__range=(32, 4096),
                    cpus__range=(0.01, 4),
                    pids__range=(4, 512),
                    tmp_mb__range=(1, 1024),
                    out_mb__range=(1, 256),
                    output_kb__range=(1, 1024),
                ),
            ),
            models.CheckConstraint(
                name="tool_trust_is_known",
                condition=Q(trust__in=["untrusted", "reviewed", "trusted"]),
            ),
        ]
        triggers = [
            pgtrigger.FSM(name="tool_status_edges", field="status", transitions=TOOL_EDGES),
            pgtrigger.Trigger(
                name="tool_starts_as_draft",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Q(new__status__df="draft"),
                func="RAISE EXCEPTION 'a tool starts as draft' USING ERRCODE = 'check_violation';",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def limits(self) -> dict[str, Any]:
        """The run limits: seconds, MiB, CPUs, processes, KiB."""
        names = (
            "max_execution_seconds", "memory_mb", "cpus", "pids", "tmp_mb", "out_mb", "output_kb",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    @transition(status, [Status.DRAFT, Status.QUARANTINED], Status.ACTIVE)
    def activate(self) -> None:
        """A revision was approved."""

    @transition(status, Status.ACTIVE, Status.INACTIVE)
    def switch_off(self) -> None:
        """Somebody does not want it used for now."""

    @transition(status, Status.INACTIVE, Status.ACTIVE)
    def switch_on(self) -> None:
        """It may be used again; what was approved still is."""

    @transition(
        status,
        [Status.DRAFT, Status.ACTIVE, Status.INACTIVE, Status.MAINTENANCE, Status.DEPRECATED],
        Status.QUARANTINED,
    )
    def quarantine(self) -> None:
        """What would run is not what was approved."""


class ToolVersion(FSMModelMixin, models.Model):
    """One revision of what a tool is, hashed; once approved, its content never changes."""

    class Status(models.TextChoices):
        PROPOSED = "proposed"
        APPROVED = "approved"
        REJECTED = "rejected"
        SUPERSEDED = "superseded"
        QUARANTINED = "quarantined"

    class ApprovalKind(models.TextChoices):
        SHIPPED = "shipped"
        ADMIN = "admin"
        SECOND_PERSON = "second_person"
        SOLO = "solo"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tool = models.ForeignKey(Tool, models.CASCADE, related_name="versions")
    revision = models.PositiveIntegerField()
    snapshot = models.JSONField()
    passport_hash = models.CharField(max_length=64)
    status = FSMField(
        choices=Status.choices, default=Status.PROPOSED, protected=True, max_length=12
    )
    author = models.ForeignKey(
        "guardian.User", models.PROTECT, related_name="+", null=True, blank=True
    )
    approver = models.ForeignKey(
        "guardian.User", models.PROTECT, related_name="+", null=True, blank=True
    )
    approval_kind = models.CharField(max_length=14, choices=ApprovalKind.choices, blank=True)
    note = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="tool_version_revision_is_unique", fields=["tool", "revision"]
            ),
            models.UniqueConstraint(
                name="tool_has_one_approved_version",
                fields=["tool"],
                condition=Q(status="approved"),
            ),
        ]
        triggers = [
            pgtrigger.FSM(
                name="tool_version_status_edges", field="status", transitions=VERSION_EDGES
            ),
            pgtrigger.Trigger(
                name="tool_version_starts_proposed",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Q(new__status__df="proposed"),
                func=(
                    "RAISE EXCEPTION 'a version starts as proposed'"
                    " USING ERRCODE = 'check_violation';"
                ),
            ),
            pgtrigger.Protect(
                name="approved_tool_version_is_frozen",
                operation=pgtrigger.Update,
                condition=(
                    ~pgtrigger.Q(old__status="proposed")
                    & (
                        pgtrigger.Q(old__snapshot__df=pgtrigger.F("new__snapshot"))
                        | pgtrigger.Q(old__passport_hash__df=pgtrigger.F("new__passport_hash"))
                        | pgtrigger.Q(old__revision__df=pgtrigger.F("new__revision"))
                    )
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tool} r{self.revision}"

    @transition(status, [Status.PROPOSED, Status.QUARANTINED], Status.APPROVED)
    def approve(self) -> None:
        """Somebody answers for this revision."""

    @transition(status, [Status.APPROVED, Status.QUARANTINED], Status.SUPERSEDED)
    def supersede(self) -> None:
        """A newer revision was approved."""

    @transition(status, Status.APPROVED, Status.QUARANTINED)
    def quarantine(self) -> None:
        """What would run differs from this revision."""
