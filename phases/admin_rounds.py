"""Reviews, discoveries, results and findings in the operators' admin."""

from django.contrib import admin

from guardian.operators import RecordAdmin
from phases import models


@admin.register(models.Review)
class ReviewAdmin(RecordAdmin):
    icon = "rate_review"
    when_empty = "Phases that ask for a review open one when a task is handed in."
    list_display = ["task", "iteration", "status", "author", "reviewer", "created_at"]
    list_filter = ["status"]
    search_fields = ["task__title", "feedback"]


@admin.register(models.TaskDiscovery)
class TaskDiscoveryAdmin(RecordAdmin):
    icon = "lightbulb"
    when_empty = "Whoever works on a task reports what it comes upon: POST /api/v1/discoveries."
    list_display = [
        "description",
        "discovery_type",
        "resolution_status",
        "source_task",
        "discovered_by",
        "discovered_at",
    ]
    list_filter = ["discovery_type", "resolution_status"]
    search_fields = ["description"]


@admin.register(models.WorkflowResult)
class WorkflowResultAdmin(RecordAdmin):
    icon = "verified"
    when_empty = "Workflows that look for a result get theirs by POST /api/v1/tickets/{id}/results."
    list_display = ["summary", "ticket", "status", "submitted_by", "decided_by", "created_at"]
    list_filter = ["status"]
    search_fields = ["summary"]


@admin.register(models.PhaseContext)
class PhaseContextAdmin(RecordAdmin):
    icon = "notes"
    list_display = ["ticket", "phase", "context_summary", "updated_at"]
    list_filter = ["phase__workflow", "phase__kind"]
    search_fields = ["context_summary"]
