"""Tools for operators: everything is seen here, states move through services only."""

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from unfold.admin import ModelAdmin

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


class ReadOnlyAdmin(ModelAdmin):
    """Rows that services write: listed, searched, opened, never edited."""

    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Tool)
class ToolAdmin(ReadOnlyAdmin):
    list_display = ["name", "version", "status", "security_level", "trust", "team", "last_used_at"]
    list_filter = ["status", "security_level", "trust", "category", "team"]
    list_select_related = ["team"]
    search_fields = ["name", "description"]


@admin.register(ToolVersion)
class ToolVersionAdmin(ReadOnlyAdmin):
    list_display = ["tool", "revision", "status", "approval_kind", "approver", "created_at"]
    list_filter = ["status", "approval_kind"]
    list_select_related = ["tool", "approver"]
    search_fields = ["tool__name", "passport_hash"]


@admin.register(ToolPermission)
class ToolPermissionAdmin(ReadOnlyAdmin):
    list_display = ["tool", "principal_type", "principal_id", "level", "effect", "team"]
    list_filter = ["effect", "level", "principal_type", "team"]
    list_select_related = ["tool", "team"]
    search_fields = ["tool__name", "principal_id"]


@admin.register(ToolExecution)
class ToolExecutionAdmin(ReadOnlyAdmin):
    list_display = [
        "id", "tool", "status", "result_class", "isolation_level", "user", "execution_time_ms",
        "created_at",
    ]  # fmt: skip
    list_filter = ["status", "result_class", "isolation_level", "tool", "team"]
    list_select_related = ["tool", "user"]
    search_fields = ["id", "tool__name", "error_message"]


@admin.register(ToolExecutionLog)
class ToolExecutionLogAdmin(ReadOnlyAdmin):
    list_display = ["execution", "seq", "level", "source", "message"]
    list_filter = ["level", "source"]
    list_select_related = ["execution", "execution__tool"]
    search_fields = ["execution__id", "message"]


@admin.register(ToolArtifact)
class ToolArtifactAdmin(ReadOnlyAdmin):
    list_display = ["name", "media_type", "size", "team", "created_by", "created_at"]
    list_filter = ["media_type", "team"]
    list_select_related = ["team", "created_by"]
    search_fields = ["name", "sha256"]


@admin.register(FileChunk)
class FileChunkAdmin(ReadOnlyAdmin):
    list_display = ["sha256", "seq"]
    list_filter = ["seq"]
    search_fields = ["sha256"]
    exclude = ["data"]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("data")


@admin.register(SandboxHost)
class SandboxHostAdmin(ReadOnlyAdmin):
    list_display = ["name", "levels", "probed_at", "heartbeat_at"]
    list_filter = ["heartbeat_at"]
    search_fields = ["name"]
