"""Shapes in and out."""

from typing import Any

from rest_framework import serializers

from guardian.http import StrictSerializer
from tools.models import SandboxHost, Tool, ToolArtifact, ToolExecution


class FileSerializer(serializers.ModelSerializer[ToolArtifact]):
    class Meta:
        model = ToolArtifact
        fields = ["id", "name", "media_type", "size", "sha256", "created_at"]
        read_only_fields = fields


class ToolSerializer(serializers.ModelSerializer[Tool]):
    limits = serializers.SerializerMethodField()
    is_global = serializers.SerializerMethodField()

    class Meta:
        model = Tool
        fields = [
            "id", "name", "version", "description", "category", "security_level", "status",
            "trust", "function_signature", "output_schema", "handler_kind", "requires_sandbox",
            "requires_approval", "stateful", "idempotent", "limits", "tags", "capabilities",
            "examples", "is_global", "last_used_at", "revision", "created_at", "updated_at",
        ]  # fmt: skip
        read_only_fields = fields

    def get_limits(self, tool: Tool) -> dict[str, Any]:
        return tool.limits

    def get_is_global(self, tool: Tool) -> bool:
        return tool.team_id is None


class ExecutionSerializer(serializers.ModelSerializer[ToolExecution]):
    execution_id = serializers.UUIDField(source="id", read_only=True)
    tool_name = serializers.CharField(source="tool.name", read_only=True)

    class Meta:
        model = ToolExecution
        fields = [
            "execution_id", "tool", "tool_name", "user", "context", "origin", "status",
            "result_class", "flags", "exit_code", "execution_time_ms", "output_data", "stdout",
            "stderr", "error_message", "resource_usage", "isolation_level", "needed_level",
            "limits_applied", "attempt", "created_at", "started_at", "completed_at",
        ]  # fmt: skip
        read_only_fields = fields


class ExecuteSerializer(StrictSerializer):
    input = serializers.JSONField(default=dict)
    context = serializers.JSONField(required=False, default=dict)  # type: ignore[assignment]  # a body's field, not the serializer's own
    timeout_seconds = serializers.FloatField(required=False, min_value=0.1, max_value=3600)
    wait = serializers.IntegerField(default=10, min_value=0, max_value=60)

    def validate_input(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise serializers.ValidationError("must be an object")
        return value

    def validate_context(self, value: Any) -> Any:
        return self.validate_input(value)


class CancelSerializer(StrictSerializer):
    reason = serializers.CharField(max_length=500)


class HostSerializer(serializers.ModelSerializer[SandboxHost]):
    class Meta:
        model = SandboxHost
        fields = ["name", "levels", "evidence", "warnings", "image", "probed_at", "heartbeat_at"]
        read_only_fields = fields


class SandboxStatusSerializer(serializers.Serializer[Any]):
    levels = serializers.ListField(child=serializers.CharField())
    untrusted_level = serializers.CharField()
    warnings = serializers.ListField(child=serializers.CharField())
    hosts = HostSerializer(many=True)


class EmptySerializer(StrictSerializer):
    """A body without fields."""
