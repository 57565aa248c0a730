"""Tools for operators: everything is seen here, states move through services only."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from guardian import console
from guardian.authority import GUARDIAN, Actor
from guardian.links import soft_page, soft_path
from guardian.operators import RecordAdmin, reasoned_action
from tools import services
from tools.models import (
    FileChunk,
    SandboxHost,
    Tool,
    ToolArtifact,
    ToolExecution,
    ToolExecutionLog,
    ToolPermission,
    ToolVersion,
)

soft_path(ToolExecution, "context__ticket_id", "ticket_id")
soft_path(ToolExecution, "context__task_id", "task_id")


@admin.register(Tool)
class ToolAdmin(RecordAdmin):
    icon = "build"
    list_display = ["name", "version", "status", "security_level", "trust", "team", "last_used_at"]
    list_filter = ["status", "security_level", "trust", "category", "team"]
    search_fields = ["name", "description"]

    @reasoned_action(
        label="Approve as it is now",
        scope="tools:approve",
        human=True,
        fits=lambda tool: tool.status in {"draft", "quarantined"},
    )
    def approve(self, *, actor: Actor, row: Tool, reason: str) -> None:
        """You answer for what would run now: its revision is approved and the tool is active.

        A tool that serves every team needs level 5.
        """
        services.approve_tool(actor=actor, tool_id=row.pk, reason=reason)

    @reasoned_action(
        label="Switch off",
        scope="tools:publish",
        fits=lambda tool: tool.status == "active",
    )
    def switch_off(self, *, actor: Actor, row: Tool, reason: str) -> None:
        """Lets this tool rest: new runs are refused until somebody switches it on again."""
        services.switch_tool(actor=actor, tool_id=row.pk, on=False, reason=reason)

    @reasoned_action(
        label="Switch on",
        scope="tools:publish",
        fits=lambda tool: tool.status == "inactive",
    )
    def switch_on(self, *, actor: Actor, row: Tool, reason: str) -> None:
        """This tool may be used again, as it was approved."""
        services.switch_tool(actor=actor, tool_id=row.pk, on=True, reason=reason)

    @reasoned_action(
        label="Take out of use",
        scope="tools:approve",
        danger=True,
        fits=lambda tool: tool.status not in {"quarantined", "archived"},
    )
    def withdraw(self, *, actor: Actor, row: Tool, reason: str) -> None:
        """Quarantines this tool: pending runs are refused until somebody approves it again."""
        services.withdraw_tool(actor=actor, tool_id=row.pk, reason=reason)


@admin.register(ToolVersion)
class ToolVersionAdmin(RecordAdmin):
    icon = "history_edu"
    team_path = "tool__team"
    list_display = ["tool", "revision", "status", "approval_kind", "approver", "created_at"]
    list_filter = ["status", "approval_kind"]
    search_fields = ["tool__name", "passport_hash"]


@admin.register(ToolPermission)
class ToolPermissionAdmin(RecordAdmin):
    icon = "shield_person"
    list_display = ["tool", "principal_type", "principal_id", "level", "effect", "team"]
    list_filter = ["effect", "level", "principal_type", "team"]
    search_fields = ["tool__name", "principal_id"]


@admin.register(ToolExecution)
class ToolExecutionAdmin(RecordAdmin):
    icon = "terminal"
    list_display = [
        "id", "tool", "status", "result_class", "isolation_level", "user", "execution_time_ms",
        "created_at",
    ]  # fmt: skip
    list_filter = ["status", "result_class", "isolation_level", "tool", "team"]
    search_fields = ["id", "tool__name", "error_message"]

    def extra_links(self, row: ToolExecution) -> dict[str, str]:
        """The ticket and task it ran for, which its context names."""
        pages = {
            name.capitalize(): soft_page(f"{name}_id", row.context.get(f"{name}_id"))
            for name in ("ticket", "task")
        }
        return {name: url for name, url in pages.items() if url}

    @reasoned_action(
        label="Cancel",
        scope="tools:execute",
        level=GUARDIAN,
        danger=True,
        fits=lambda execution: not execution.has_ended,
    )
    def cancel(self, *, actor: Actor, row: ToolExecution, reason: str) -> None:
        """Ends this run: a waiting one at once, a running one within seconds."""
        services.cancel_execution(execution_id=row.pk, actor=actor, reason=reason)


@admin.register(ToolExecutionLog)
class ToolExecutionLogAdmin(RecordAdmin):
    icon = "notes"
    list_display = ["execution", "seq", "level", "source", "message"]
    list_filter = ["level", "source"]
    list_select_related = ["execution__tool"]
    search_fields = ["execution__id", "message"]


@admin.register(ToolArtifact)
class ToolArtifactAdmin(RecordAdmin):
    icon = "attach_file"
    list_display = ["name", "media_type", "size", "team", "created_by", "created_at"]
    list_filter = ["media_type", "team"]
    search_fields = ["name", "sha256"]


@admin.register(FileChunk)
class FileChunkAdmin(RecordAdmin):
    icon = "data_array"
    team_path = None
    view_level = 5  # bytes of every team
    list_display = ["sha256", "seq"]
    list_filter = ["seq"]
    search_fields = ["sha256"]
    exclude = ["data"]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("data")


@admin.register(SandboxHost)
class SandboxHostAdmin(RecordAdmin):
    icon = "dns"
    team_path = None
    list_display = ["name", "levels", "probed_at", "heartbeat_at"]
    list_filter = ["heartbeat_at"]
    search_fields = ["name"]


console.tile(
    "Tools in quarantine",
    Tool,
    where={"status__exact": "quarantined"},
    group="waiting",
    scope="tools:approve",
)
# Refused archives and failing programs are answers; these are for a person to mend.
console.tile(
    "Runs that broke down, 24 h",
    ToolExecution,
    where=lambda: {
        "result_class__in": "infra_error,handler_error,invalid_output",
        "output_data__refused__isnull": "True",
        "completed_at__gte": (timezone.now() - timedelta(hours=24))
        .replace(microsecond=0)
        .isoformat(),
    },
    group="attention",
)
console.tile(
    "Tool runs open", ToolExecution, where={"status__in": "pending,running"}, group="running"
)
