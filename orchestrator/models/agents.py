"""Who works: what an agent is, its published versions, and the instances that hold the work."""

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django_fsm import FSMField, FSMModelMixin, transition

from guardian.models import TeamQuerySet, TeamRow

WORKING = ("idle", "running")
BUILT_IN_RUNTIMES = ("pattern", "python", "llm")
LIVE = ("idle", "running", "paused", "maintenance", "degraded", "error", "quarantined")
VERSION_EDGES = [("draft", "published"), ("published", "deprecated")]
INSTANCE_EDGES = [
    ("idle", "running"),
    ("running", "idle"),
    *((state, to) for state in WORKING for to in ("paused", "maintenance", "degraded")),
    *(("degraded", to) for to in ("idle", "running", "paused")),
    *(("paused", to) for to in WORKING),
    *(("maintenance", to) for to in WORKING),
    ("error", "idle"),
    ("quarantined", "idle"),
    ("stopped", "idle"),
    *((state, "error") for state in LIVE if state not in ("error", "quarantined")),
    *((state, "quarantined") for state in LIVE if state != "quarantined"),
    *((state, "stopped") for state in LIVE),
    *((state, "terminated") for state in (*LIVE, "stopped")),
]


class AgentDefinition(TeamRow):
    """An agent by name; what it does stands in its versions."""

    slug = models.SlugField(max_length=63)
    name = models.CharField(max_length=120)
    enabled = models.BooleanField(default=True)
    revision = models.PositiveIntegerField(default=1)

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="agent_definition_slug_is_unique_in_its_team", fields=["team", "slug"]
            )
        ]

    def __str__(self) -> str:
        return self.slug


class AgentVersion(FSMModelMixin, TeamRow):
    """What an agent is in one version. Published content never changes."""

    class State(models.TextChoices):
        DRAFT = "draft"
        PUBLISHED = "published"
        DEPRECATED = "deprecated"

    definition = models.ForeignKey(AgentDefinition, models.PROTECT, related_name="versions")
    version = models.CharField(max_length=64, help_text="Semantic version 2.0.0.")
    state = FSMField(choices=State.choices, default=State.DRAFT, protected=True, max_length=10)
    content = models.JSONField(encoder=DjangoJSONEncoder)
    content_hash = models.CharField(max_length=64, help_text="SHA-256 of the canonical content.")
    tags = ArrayField(models.CharField(max_length=50), default=list, blank=True)
    revision = models.PositiveIntegerField(default=1)

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="agent_version_is_unique_in_its_definition", fields=["definition", "version"]
            )
        ]
        triggers = [
            pgtrigger.FSM(
                name="agent_version_state_edges", field="state", transitions=VERSION_EDGES
            ),
            pgtrigger.Trigger(
                name="agent_version_starts_draft",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Q(new__state__df="draft"),
                func=(
                    "RAISE EXCEPTION 'a version of an agent starts draft'"
                    " USING ERRCODE = 'check_violation';"
                ),
            ),
            pgtrigger.Trigger(
                name="agent_version_content_is_fixed_once_published",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=~pgtrigger.Q(old__state="draft")
                & (
                    pgtrigger.Q(new__content__df=pgtrigger.F("old__content"))
                    | pgtrigger.Q(new__content_hash__df=pgtrigger.F("old__content_hash"))
                    | pgtrigger.Q(new__version__df=pgtrigger.F("old__version"))
                    | pgtrigger.Q(new__definition__df=pgtrigger.F("old__definition"))
                ),
                func=(
                    "RAISE EXCEPTION 'the content of a published version is fixed'"
                    " USING ERRCODE = 'check_violation';"
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.definition} {self.version}"

    @transition(state, State.DRAFT, State.PUBLISHED)
    def publish(self) -> None:
        """From here on its content is fixed and instances may start from it."""

    @transition(state, State.PUBLISHED, State.DEPRECATED)
    def deprecate(self) -> None:
        """No new starts; what runs goes on."""


class AgentInstanceQuerySet(TeamQuerySet):
    def built_in(self) -> "AgentInstanceQuerySet":
        return self.filter(runtime__in=BUILT_IN_RUNTIMES)

    def working(self) -> "AgentInstanceQuerySet":
        """Those that may be given new work."""
        return self.filter(state__in=WORKING)


class AgentInstance(FSMModelMixin, TeamRow):
    """An agent at work: a user of its own, some slots, a state and a health."""

    class Runtime(models.TextChoices):
        EXTERNAL = "external"
        PATTERN = "pattern"
        PYTHON = "python"
        LLM = "llm", "language model"

    class Type(models.TextChoices):
        WORKER = "worker"
        MONITOR = "monitor"
        WATCHDOG = "watchdog"
        GUARDIAN = "guardian"

    class State(models.TextChoices):
        IDLE = "idle"
        RUNNING = "running"
        PAUSED = "paused"
        MAINTENANCE = "maintenance"
        DEGRADED = "degraded"
        ERROR = "error"
        QUARANTINED = "quarantined"
        STOPPED = "stopped"
        TERMINATED = "terminated"

    class Health(models.TextChoices):
        UNKNOWN = "unknown"
        HEALTHY = "healthy"
        WARNING = "warning"
        DEGRADED = "degraded"
        STALE = "stale"

    user = models.OneToOneField("guardian.User", models.PROTECT, related_name="agent_instance")
    agent_version = models.ForeignKey(
        AgentVersion, models.PROTECT, null=True, blank=True, related_name="instances"
    )
    name = models.CharField(max_length=120)
    runtime = models.CharField(max_length=8, choices=Runtime.choices, default=Runtime.EXTERNAL)
    agent_type = models.CharField(max_length=8, choices=Type.choices, default=Type.WORKER)
    phase = models.ForeignKey(
        "phases.Phase", models.SET_NULL, null=True, blank=True, related_name="+"
    )
    state = FSMField(choices=State.choices, default=State.IDLE, protected=True, max_length=11)
    health = models.CharField(max_length=8, choices=Health.choices, default=Health.UNKNOWN)
    capabilities = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    capacity = models.PositiveSmallIntegerField(default=1, help_text="Tasks at once, 1 to 100.")
    tags = ArrayField(models.CharField(max_length=50), default=list, blank=True)
    metadata = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    parent = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="children"
    )
    state_reason = models.TextField(blank=True)
    restarts = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(auto_now_add=True)
    last_heartbeat = models.DateTimeField(null=True, blank=True)
    last_assigned_at = models.DateTimeField(null=True, blank=True)
    beat_no = models.BigIntegerField(default=0)
    revision = models.PositiveIntegerField(default=1)

    objects = AgentInstanceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="agent_name_is_unique_in_its_team_unless_terminated",
                fields=["team", "name"],
                condition=~Q(state="terminated"),
            ),
            models.CheckConstraint(
                name="agent_capacity_is_from_1_to_100", condition=Q(capacity__range=(1, 100))
            ),
        ]
        triggers = [
            pgtrigger.FSM(name="agent_state_edges", field="state", transitions=INSTANCE_EDGES),
            pgtrigger.Trigger(
                name="agent_starts_idle",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Q(new__state__df="idle"),
                func=("RAISE EXCEPTION 'an agent starts idle' USING ERRCODE = 'check_violation';"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.state})"

    @transition(state, State.IDLE, State.RUNNING)
    def take_slot(self) -> None:
        """It has its first task."""

    @transition(state, State.RUNNING, State.IDLE)
    def free_last_slot(self) -> None:
        """It has none left."""

    @transition(state, list(WORKING), State.PAUSED)
    def pause(self) -> None:
        """What runs may end; nothing new is given."""

    @transition(state, [State.PAUSED, State.MAINTENANCE], State.IDLE)
    def resume_idle(self) -> None:
        """Back, with nothing in hand."""

    @transition(state, [State.PAUSED, State.MAINTENANCE], State.RUNNING)
    def resume_running(self) -> None:
        """Back, with work still in hand."""

    @transition(state, [*LIVE], State.STOPPED)
    def stop(self) -> None:
        """Off until somebody starts it."""

    @transition(state, State.STOPPED, State.IDLE)
    def start(self) -> None:
        """On again."""


class RuntimeSwitch(models.Model):
    """Whether the dispatcher of a team places work at all."""

    team = models.OneToOneField("guardian.Team", models.CASCADE, primary_key=True)
    running = models.BooleanField(default=True)
    changed_by = models.ForeignKey("guardian.User", models.PROTECT, null=True, blank=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "runtime switches"

    def __str__(self) -> str:
        return f"{self.team}: {'running' if self.running else 'stopped'}"


def free_slots(instance: AgentInstance, running: int) -> int:
    """How many tasks more it may hold: its capacity, cut by its version's own limit."""
    limit = instance.capacity
    if instance.agent_version is not None:
        config = instance.agent_version.content.get("config", {})
        limit = min(limit, int(config.get("max_parallel_tasks", limit)))
    return max(0, limit - running)


__all__ = [
    "AgentDefinition",
    "AgentInstance",
    "AgentVersion",
    "RuntimeSwitch",
    "free_slots",
]
