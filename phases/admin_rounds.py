"""Reviews, discoveries, results and findings in the operators' admin."""

from django.contrib import admin

from guardian.authority import Actor
from guardian.operators import RecordAdmin, reasoned_action
from phases import models, services


def _unsettled(discovery: models.TaskDiscovery) -> bool:
    return discovery.resolution_status in {"open", "in_progress"}


def _undecided(result: models.WorkflowResult) -> bool:
    return result.status == "pending_validation" and result.ticket.is_open


def _of_another(actor: Actor, result: models.WorkflowResult) -> bool:
    """Nobody decides about a result of their own."""
    return result.submitted_by_id != actor.id


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

    @reasoned_action(label="Resolved", scope="tickets:write", fits=_unsettled)
    def resolve(self, *, actor: Actor, row: models.TaskDiscovery, reason: str) -> None:
        """What was found is dealt with; this is final, and the reason is kept as its note."""
        services.resolve_discovery(actor=actor, discovery_id=row.pk, status="resolved", note=reason)

    @reasoned_action(label="Invalid", scope="tickets:write", fits=_unsettled)
    def invalidate(self, *, actor: Actor, row: models.TaskDiscovery, reason: str) -> None:
        """There is nothing in it; this is final. Tasks that it spawned stay."""
        services.resolve_discovery(actor=actor, discovery_id=row.pk, status="invalid", note=reason)


@admin.register(models.WorkflowResult)
class WorkflowResultAdmin(RecordAdmin):
    icon = "verified"
    when_empty = "Workflows that look for a result get theirs by POST /api/v1/tickets/{id}/results."
    list_display = ["summary", "ticket", "status", "submitted_by", "decided_by", "created_at"]
    list_filter = ["status"]
    search_fields = ["summary"]

    @reasoned_action(
        label="Validate",
        scope="approvals:decide",
        danger=True,
        bulk=False,
        fits=_undecided,
        permits=_of_another,
    )
    def validate(self, *, actor: Actor, row: models.WorkflowResult, reason: str) -> None:
        """It is what the workflow looks for; where that says so, the ticket ends with it."""
        services.decide_result(
            actor=actor,
            ticket_id=row.ticket_id,
            result_id=row.pk,
            verdict="validated",
            reason=reason,
        )

    @reasoned_action(
        label="Reject",
        scope="approvals:decide",
        bulk=False,
        fits=_undecided,
        permits=_of_another,
    )
    def reject(self, *, actor: Actor, row: models.WorkflowResult, reason: str) -> None:
        """It is not what the workflow looks for; the work goes on."""
        services.decide_result(
            actor=actor,
            ticket_id=row.ticket_id,
            result_id=row.pk,
            verdict="rejected",
            reason=reason,
        )


@admin.register(models.PhaseContext)
class PhaseContextAdmin(RecordAdmin):
    icon = "notes"
    list_display = ["ticket", "phase", "context_summary", "updated_at"]
    list_filter = ["phase__workflow", "phase__kind"]
    search_fields = ["context_summary"]
