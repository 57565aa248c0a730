"""Orchestrator for operators: everything is seen here, states move through services only."""

from datetime import timedelta

from django.contrib import admin
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_fsm import can_proceed

from guardian import console
from guardian.authority import MONITOR, Actor
from guardian.columns import ago
from guardian.operators import RecordAdmin, reasoned_action
from orchestrator import services
from orchestrator.models import (
    AgentDefinition,
    AgentExecution,
    AgentInstance,
    AgentTrigger,
    AgentVersion,
    ExecutionPattern,
    PatternRun,
    RuntimeSwitch,
    StepRun,
)


@admin.register(AgentDefinition)
class AgentDefinitionAdmin(RecordAdmin):
    icon = "smart_toy"
    list_display = ["slug", "name", "enabled", "team", "updated_at"]
    list_filter = ["enabled", "team"]
    search_fields = ["slug", "name"]


@admin.register(AgentVersion)
class AgentVersionAdmin(RecordAdmin):
    icon = "history_edu"
    list_display = ["definition", "version", "state", "tags", "updated_at"]
    list_filter = ["state", "team"]
    search_fields = ["definition__slug", "version", "content_hash"]

    @reasoned_action(
        label="Publish",
        scope="agents:publish",
        fits=lambda version: version.state == AgentVersion.State.DRAFT,
    )
    def publish(self, *, actor: Actor, row: AgentVersion, reason: str) -> None:
        """Fixes this version's content for good; agents may work by it from now on."""
        services.publish_version(version=row, actor=actor, reason=reason)


@admin.register(AgentTrigger)
class AgentTriggerAdmin(RecordAdmin):
    icon = "bolt"
    when_empty = "No published agent waits for events."
    list_display = ["type", "definition", "agent_version", "priority", "filters"]
    list_filter = ["priority", "team"]
    list_select_related = ["agent_version__definition"]
    search_fields = ["type", "definition__slug"]


_TONES = {"healthy": "ok", "warning": "wait", "degraded": "bad", "stale": "bad"}


def condition_of(agent: AgentInstance) -> tuple[str, str]:
    """(tone, words) of an agent's health. Only agents that send heartbeats are measured."""
    if agent.health != AgentInstance.Health.UNKNOWN:
        return _TONES[agent.health], agent.health
    if agent.last_heartbeat is not None:
        return "none", f"heard {ago(agent.last_heartbeat)}"
    if agent.last_assigned_at is not None:
        return "none", f"not measured; given work {ago(agent.last_assigned_at)}"
    return "none", "not measured; never had work"


@admin.register(AgentInstance)
class AgentInstanceAdmin(RecordAdmin):
    icon = "support_agent"
    list_display = [
        "name", "agent_version", "runtime", "state", "condition", "capacity", "last_assigned_at",
    ]  # fmt: skip
    list_filter = ["state", "health", "runtime", "agent_type", "team"]
    list_select_related = ["agent_version__definition"]
    search_fields = ["name", "user__username"]

    @admin.display(description="health", ordering="health")
    def condition(self, row: AgentInstance) -> SafeString:
        """What was measured; where nothing was, what is known instead."""
        tone, text = condition_of(row)
        return format_html('<span class="lem-badge lem-{}">{}</span>', tone, text)

    @reasoned_action(
        label="Pause",
        scope="agents:operate",
        level=MONITOR,
        fits=lambda agent: can_proceed(agent.pause),
    )
    def pause(self, *, actor: Actor, row: AgentInstance, reason: str) -> None:
        """Gives this agent no new work; what it has may end."""
        services.pause_agent(actor=actor, instance_id=row.pk, reason=reason)

    @reasoned_action(
        label="Resume",
        scope="agents:operate",
        level=MONITOR,
        fits=lambda agent: can_proceed(agent.resume_idle),
    )
    def resume(self, *, actor: Actor, row: AgentInstance, reason: str) -> None:
        """Gives this agent work again."""
        services.resume_agent(actor=actor, instance_id=row.pk, reason=reason)

    @reasoned_action(
        label="Stop",
        scope="agents:operate",
        level=MONITOR,
        danger=True,
        fits=lambda agent: can_proceed(agent.stop),
    )
    def stop(self, *, actor: Actor, row: AgentInstance, reason: str) -> None:
        """Takes this agent off until somebody starts it; what it has may end."""
        services.stop_agent(actor=actor, instance_id=row.pk, reason=reason)

    @reasoned_action(
        label="Start",
        scope="agents:operate",
        level=MONITOR,
        fits=lambda agent: can_proceed(agent.start),
    )
    def start(self, *, actor: Actor, row: AgentInstance, reason: str) -> None:
        """Brings this stopped agent back."""
        services.start_agent(actor=actor, instance_id=row.pk, reason=reason)


@admin.register(AgentExecution)
class AgentExecutionAdmin(RecordAdmin):
    icon = "play_circle"
    list_display = [
        "id", "instance", "kind", "task", "state", "attempt", "error_code", "started_at",
        "duration_seconds",
    ]  # fmt: skip
    list_filter = ["state", "kind", "error_code", "team"]
    search_fields = ["id", "task__title", "instance__name", "error_code"]


@admin.register(RuntimeSwitch)
class RuntimeSwitchAdmin(RecordAdmin):
    icon = "toggle_on"
    list_display = ["team", "running", "changed_by", "changed_at"]
    list_filter = ["running"]
    search_fields = ["team__slug"]

    @reasoned_action(
        label="Stop placing work",
        scope="runtime:operate",
        level=MONITOR,
        danger=True,
        fits=lambda switch: switch.running,
    )
    def switch_off(self, *, actor: Actor, row: RuntimeSwitch, reason: str) -> None:
        """The dispatcher places nothing more in this team; what runs goes on."""
        services.switch_runtime(actor=actor, running=False, reason=reason)

    @reasoned_action(
        label="Place work again",
        scope="runtime:operate",
        level=MONITOR,
        fits=lambda switch: not switch.running,
    )
    def switch_on(self, *, actor: Actor, row: RuntimeSwitch, reason: str) -> None:
        """The dispatcher gives ready tasks to agents again."""
        services.switch_runtime(actor=actor, running=True, reason=reason)


@admin.register(ExecutionPattern)
class ExecutionPatternAdmin(RecordAdmin):
    icon = "lan"
    list_display = ["slug", "version", "name", "state", "team", "updated_at"]
    list_filter = ["state", "team"]
    search_fields = ["slug", "name", "content_hash"]

    @reasoned_action(
        label="Publish",
        scope="patterns:publish",
        fits=lambda pattern: pattern.state == "draft" and not pattern.is_shipped,
    )
    def publish(self, *, actor: Actor, row: ExecutionPattern, reason: str) -> None:
        """Lets runs start from this version; from then on it never changes."""
        services.publish_pattern(slug=row.slug, version=row.version, actor=actor, reason=reason)

    @reasoned_action(
        label="Deprecate",
        scope="patterns:publish",
        danger=True,
        fits=lambda pattern: pattern.state == "published" and not pattern.is_shipped,
    )
    def deprecate(self, *, actor: Actor, row: ExecutionPattern, reason: str) -> None:
        """Lets no new run start from this version; running ones end as they would."""
        services.deprecate_pattern(slug=row.slug, version=row.version, actor=actor, reason=reason)


@admin.register(PatternRun)
class PatternRunAdmin(RecordAdmin):
    icon = "directions_run"
    list_display = [
        "id", "pattern", "state", "error_code", "error_step", "ticket", "started_by", "attempt",
        "created_at", "finished_at",
    ]  # fmt: skip
    list_filter = ["state", "error_code", "pattern", "team"]
    search_fields = ["id", "pattern__slug", "ticket__title", "error_code"]

    @reasoned_action(
        label="Cancel",
        scope="runs:write",
        danger=True,
        fits=lambda run: not run.is_ended,
    )
    def cancel(self, *, actor: Actor, row: PatternRun, reason: str) -> None:
        """Calls the run off: its open steps end as cancelled, its host stops within seconds."""
        services.cancel_run(run_id=row.pk, actor=actor, reason=reason)


@admin.register(StepRun)
class StepRunAdmin(RecordAdmin):
    icon = "steps"
    list_display = [
        "id", "run", "step_id", "capability", "agent", "state", "error_code", "attempt",
        "started_at", "finished_at",
    ]  # fmt: skip
    list_filter = ["state", "capability", "agent", "error_code", "team"]
    search_fields = ["id", "run__id", "step_id", "capability", "error"]


console.tile(
    "Agents in trouble",
    AgentInstance,
    where={"state__in": "degraded,error,quarantined"},
    group="attention",
)
console.tile("Agents at work", AgentInstance, where={"state__exact": "running"}, group="running")
console.tile(
    "Runs open", PatternRun, where={"state__in": "queued,running,waiting"}, group="running"
)
console.tile(
    "Failed runs, 24 h",
    PatternRun,
    where=lambda: {
        "state__exact": "failed",
        "finished_at__gte": (timezone.now() - timedelta(hours=24))
        .replace(microsecond=0)
        .isoformat(),
    },
    group="headline",
    icon="error",
    zero="No run failed",
)
