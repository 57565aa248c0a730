"""Orchestrator for operators: everything is seen here, states move through services only."""

from django.contrib import admin

from guardian.operators import RecordAdmin
from orchestrator.models import ExecutionPattern, PatternRun, StepRun


@admin.register(ExecutionPattern)
class ExecutionPatternAdmin(RecordAdmin):
    list_display = ["slug", "version", "name", "state", "team", "updated_at"]
    list_filter = ["state", "team"]
    list_select_related = ["team"]
    search_fields = ["slug", "name", "content_hash"]


@admin.register(PatternRun)
class PatternRunAdmin(RecordAdmin):
    list_display = [
        "id", "pattern", "state", "error_code", "error_step", "ticket", "started_by", "attempt",
        "created_at", "finished_at",
    ]  # fmt: skip
    list_filter = ["state", "error_code", "pattern__slug", "team"]
    list_select_related = ["pattern", "ticket", "started_by"]
    search_fields = ["id", "pattern__slug", "ticket__title", "error_code"]


@admin.register(StepRun)
class StepRunAdmin(RecordAdmin):
    list_display = [
        "id", "run", "step_id", "capability", "agent", "state", "error_code", "attempt",
        "started_at", "finished_at",
    ]  # fmt: skip
    list_filter = ["state", "capability", "agent", "error_code", "team"]
    list_select_related = ["run"]
    search_fields = ["id", "run__id", "step_id", "capability", "error"]
