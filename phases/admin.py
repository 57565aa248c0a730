"""Phases in the operators' admin."""

from django.contrib import admin

from guardian.operators import RecordAdmin
from phases import models


@admin.register(models.Workflow)
class WorkflowAdmin(RecordAdmin):
    list_display = ["name", "key", "team", "is_default", "initial_phase"]
    list_filter = ["is_default", "team"]
    list_select_related = ["team"]
    search_fields = ["name", "key"]


@admin.register(models.Phase)
class PhaseAdmin(RecordAdmin):
    list_display = ["name", "key", "workflow", "column", "sequence_order", "kind"]
    list_filter = ["kind", "workflow"]
    list_select_related = ["workflow", "column"]
    search_fields = ["name", "key"]


@admin.register(models.GateRequirement)
class GateRequirementAdmin(RecordAdmin):
    list_display = ["key", "phase", "kind", "min_evidence", "required"]
    list_filter = ["kind", "min_evidence"]
    list_select_related = ["phase"]
    search_fields = ["key"]


@admin.register(models.BoardColumn)
class BoardColumnAdmin(RecordAdmin):
    list_display = [
        "name",
        "workflow",
        "wip_limit",
        "admitted_count",
        "queued_count",
        "total_count",
    ]
    list_filter = ["workflow"]
    list_select_related = ["workflow"]
    search_fields = ["name", "key"]


@admin.register(models.Ticket)
class TicketAdmin(RecordAdmin):
    list_display = ["number", "title", "workflow", "phase", "status", "priority", "created_at"]
    list_filter = ["status", "priority", "workflow"]
    list_select_related = ["workflow", "phase"]
    search_fields = ["title", "number"]


@admin.register(models.TicketCounter)
class TicketCounterAdmin(RecordAdmin):
    list_display = ["team", "last"]
    list_filter = ["team"]
    list_select_related = ["team"]
    search_fields = ["team__slug"]


@admin.register(models.PhaseHistory)
class PhaseHistoryAdmin(RecordAdmin):
    list_display = ["ticket", "kind", "from_phase", "to_phase", "via", "transitioned_by"]
    list_filter = ["kind", "via"]
    list_select_related = ["ticket", "from_phase", "to_phase", "transitioned_by"]
    search_fields = ["ticket__title", "transition_reason"]


@admin.register(models.Task)
class TaskAdmin(RecordAdmin):
    list_display = ["title", "ticket", "phase", "status", "holder", "lease_expires_at", "fence"]
    list_filter = ["status", "task_type"]
    list_select_related = ["ticket", "phase", "holder"]
    search_fields = ["title", "ticket__title"]


@admin.register(models.ReadyTask)
class ReadyTaskAdmin(RecordAdmin):
    list_display = ["task", "capability_key", "priority", "ready_at", "not_before"]
    list_filter = ["priority"]
    list_select_related = ["task"]
    search_fields = ["capability_key"]


@admin.register(models.TaskDependency)
class TaskDependencyAdmin(RecordAdmin):
    list_display = ["task", "depends_on", "satisfied"]
    list_filter = ["satisfied"]
    list_select_related = ["task", "depends_on"]
    search_fields = ["task__title"]


@admin.register(models.PhaseGateArtifact)
class PhaseGateArtifactAdmin(RecordAdmin):
    list_display = ["artifact_type", "ticket", "phase", "source", "collected_by", "created_at"]
    list_filter = ["source", "artifact_type"]
    list_select_related = ["ticket", "phase", "collected_by"]
    search_fields = ["artifact_type", "ticket__title"]


@admin.register(models.PhaseGateResult)
class PhaseGateResultAdmin(RecordAdmin):
    list_display = ["ticket", "phase", "gate_status", "evaluation", "created_at"]
    list_filter = ["gate_status", "evaluation"]
    list_select_related = ["ticket", "phase"]
    search_fields = ["ticket__title"]
