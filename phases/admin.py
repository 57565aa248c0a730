"""Phases in the operators' admin."""

import re
from importlib import import_module
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse

from guardian import console
from guardian.authority import MONITOR, Actor
from guardian.links import list_of, soft_link
from guardian.operators import Fields, RecordAdmin, reasoned_action
from phases import models, services
from phases.admin_approvals import ApprovalButtons
from phases.admin_waiting import Yours, to_confirm
from phases.services.move_checks import allowed_targets

soft_link("ticket_id", models.Ticket)
soft_link("task_id", models.Task)
soft_link("phase_id", models.Phase)


def move_fields(ticket: models.Ticket) -> Fields:
    """Where this ticket may go, the next phase first, and what level 4 may override."""
    here = ticket.phase.sequence_order
    open_ways = ticket.workflow.phases.filter(key__in=allowed_targets(ticket))
    ways = sorted(open_ways, key=lambda p: (p.sequence_order <= here, p.sequence_order))
    return {
        "to_phase": forms.ChoiceField(
            choices=[(phase.key, phase.name) for phase in ways], label="Move to"
        ),
        "override": forms.BooleanField(
            required=False, label="Override the gate (level 4, a reason of 10 characters)"
        ),
        "force": forms.BooleanField(
            required=False, label="Force the column's limit (level 4, a reason of 10 characters)"
        ),
        "queue": forms.BooleanField(
            required=False, label="Queue where the column is full (moves back only)"
        ),
    }


LABEL = re.compile(r"LEM-([0-9]+)", re.IGNORECASE)


def _may_call_off(actor: Actor, ticket: models.Ticket) -> bool:
    """Whoever opened a ticket, or level 3: as the service asks."""
    return ticket.created_by_id == actor.id or actor.authority >= MONITOR


@admin.register(models.GateRequirement)
class GateRequirementAdmin(RecordAdmin):
    icon = "rule"
    list_display = ["key", "phase", "kind", "min_evidence", "required"]
    list_filter = ["kind", "min_evidence"]
    search_fields = ["key"]


def of_named_ticket(
    queryset: QuerySet[Any], search_term: str, number: str
) -> tuple[QuerySet[Any], bool] | None:
    """The rows of the ticket that a search names, as in LEM-2; None for any other search."""
    label = LABEL.fullmatch(search_term.strip())
    return None if label is None else (queryset.filter(**{number: int(label[1][:9])}), False)


@admin.register(models.Ticket)
class TicketAdmin(ApprovalButtons):
    icon = "confirmation_number"
    when_empty = "Open the first one on the board, or with POST /api/v1/tickets."
    list_display = ["__str__", "workflow", "phase", "status", "priority", "created_at"]
    list_filter = ["status", "priority", "workflow", "approval_status"]
    search_fields = ["title", "number"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """LEM-2, as the board writes it, is the one with the number 2."""
        return of_named_ticket(queryset, search_term, "number") or super().get_search_results(
            request, queryset, search_term
        )

    def extra_links(self, row: models.Ticket) -> dict[str, str]:
        """Its card on the board, opened."""
        return {"Card on the board": reverse("ticket-panel", args=[row.workflow.key, row.number])}

    @reasoned_action(
        label="Move to…",
        scope="tickets:write",
        fits=lambda ticket: ticket.is_open,
        fields=move_fields,
    )
    def move(self, *, actor: Actor, row: models.Ticket, reason: str, **options: Any) -> None:
        """Moves this ticket by the phase service: its gate is asked, then the column's limit."""
        services.transition(
            actor=actor,
            ticket_id=row.pk,
            reason=reason,
            via=models.PhaseHistory.Via.ADMIN,
            **options,
        )

    @reasoned_action(
        label="Retry",
        scope="tickets:write",
        fits=lambda ticket: ticket.is_open and ticket.is_blocked,
    )
    def retry(self, *, actor: Actor, row: models.Ticket, reason: str) -> None:
        """Returns a blocked ticket to the phase it came from; its failed tasks are tried again."""
        services.retry_ticket(
            actor=actor, ticket_id=row.pk, reason=reason, via=models.PhaseHistory.Via.ADMIN
        )

    @reasoned_action(
        label="Ask the gate",
        scope="tickets:write",
        asks_reason=False,
        fits=lambda ticket: ticket.is_open,
    )
    def ask_gate(self, *, actor: Actor, row: models.Ticket) -> None:
        """Judges the gate of the ticket's phase now and keeps the answer; the ticket stays."""
        services.validate_gate(actor=actor, ticket_id=row.pk)

    @reasoned_action(
        label="Cancel",
        scope="tickets:write",
        danger=True,
        fits=lambda ticket: ticket.is_open,
        permits=_may_call_off,
    )
    def cancel(self, *, actor: Actor, row: models.Ticket, reason: str) -> None:
        """Calls this ticket off with all its open tasks; whoever works on one is stopped."""
        services.cancel_ticket(actor=actor, ticket_id=row.pk, reason=reason)

    @reasoned_action(
        label="Reopen",
        scope="tickets:write",
        level=MONITOR,
        fits=lambda ticket: ticket.status in {"failed", "cancelled"},
    )
    def reopen(self, *, actor: Actor, row: models.Ticket, reason: str) -> None:
        """Takes this ticket up again where it stood, with the tasks that were called off with it.

        In a full column it waits for a place.
        """
        services.reopen_ticket(
            actor=actor, ticket_id=row.pk, reason=reason, via=models.PhaseHistory.Via.ADMIN
        )


@admin.register(models.TicketCounter)
class TicketCounterAdmin(RecordAdmin):
    icon = "tag"
    list_display = ["team", "last"]
    list_filter = ["team"]
    search_fields = ["team__slug"]


@admin.register(models.PhaseHistory)
class PhaseHistoryAdmin(RecordAdmin):
    icon = "timeline"
    list_display = ["ticket", "kind", "from_phase", "to_phase", "via", "transitioned_by"]
    list_filter = ["kind", "via"]
    search_fields = ["ticket__title", "transition_reason"]


def stuck_among(tasks: QuerySet[Any]) -> QuerySet[Any]:
    """Tasks of open tickets that failed or are blocked, or whose holder has fallen silent."""
    still = Q(status__in=("failed", "blocked"), ticket__status__in=("pending", "in_progress"))
    silent = Q(status__in=("assigned", "running"), lease_expires_at__lt=Now())
    return tasks.filter(still | silent)


class Stuck(admin.SimpleListFilter):
    """Whether a task can go on by itself."""

    title = "progress"
    parameter_name = "stuck"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Stuck")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return stuck_among(queryset) if self.value() == "yes" else queryset


@admin.register(models.Task)
class TaskAdmin(RecordAdmin):
    icon = "task_alt"
    list_display = ["title", "ticket", "phase", "status", "holder", "lease_expires_at", "fence"]
    list_filter = [Stuck, "status", "task_type", "ticket__status"]
    search_fields = ["title", "ticket__title", "error_message", "=error_code"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """LEM-2 finds the tasks of that ticket."""
        return of_named_ticket(
            queryset, search_term, "ticket__number"
        ) or super().get_search_results(request, queryset, search_term)

    @reasoned_action(
        label="Put back in the queue",
        scope="tickets:write",
        level=MONITOR,
        fits=lambda task: task.holder_id is not None,
    )
    def release(self, *, actor: Actor, row: models.Task, reason: str) -> None:
        """Ends the holder's lease; another may claim this task at once."""
        services.release_task(actor=actor, task_id=row.pk, fence=None, reason=reason)

    @reasoned_action(
        label="Try again",
        scope="tickets:write",
        level=MONITOR,
        fits=lambda task: task.status in {"failed", "cancelled"},
    )
    def retry(self, *, actor: Actor, row: models.Task, reason: str) -> None:
        """Puts a failed or cancelled task back in the queue, counters at zero.

        If it is what its ticket was blocked for, the ticket goes back to work with it.
        """
        services.retry_task(
            actor=actor, task_id=row.pk, reason=reason, via=models.PhaseHistory.Via.ADMIN
        )

    @reasoned_action(
        label="Cancel",
        scope="tickets:write",
        danger=True,
        fits=lambda task: task.is_open,
        permits=lambda actor, task: _may_call_off(actor, task.ticket),
    )
    def cancel(self, *, actor: Actor, row: models.Task, reason: str) -> None:
        """Calls this task off; a running one hears it with its next heartbeat, at most 10 s."""
        services.cancel_task(actor=actor, task_id=row.pk, reason=reason)


@admin.register(models.ReadyTask)
class ReadyTaskAdmin(RecordAdmin):
    icon = "hourglass_top"
    when_empty = "Nobody has to take anything up just now."
    list_display = ["task", "capability_key", "priority", "ready_at", "not_before"]
    list_filter = ["priority"]
    search_fields = ["capability_key"]


@admin.register(models.TaskDependency)
class TaskDependencyAdmin(RecordAdmin):
    icon = "account_tree"
    list_display = ["task", "depends_on", "satisfied"]
    list_filter = ["satisfied"]
    search_fields = ["task__title"]


@admin.register(models.PhaseGateArtifact)
class PhaseGateArtifactAdmin(RecordAdmin):
    icon = "inventory_2"
    list_display = ["artifact_type", "ticket", "phase", "source", "collected_by", "created_at"]
    list_filter = [Yours, "source", "artifact_type", "ticket__status"]
    search_fields = ["artifact_type", "ticket__title"]

    @reasoned_action(
        label="Confirm",
        scope="approvals:decide",
        human=True,
        asks_reason=False,
        fits=lambda artifact: (
            artifact.source == models.PhaseGateArtifact.Source.REPORTED
            or artifact.rejected_by_id is not None
        ),
    )
    def confirm(self, *, actor: Actor, row: models.PhaseGateArtifact) -> None:
        """You have looked at this evidence and vouch for it; nobody confirms their own."""
        services.verify_artifact(
            actor=actor, ticket_id=row.ticket_id, artifact_id=row.pk, confirm=True
        )

    @reasoned_action(
        label="Reject",
        scope="approvals:decide",
        human=True,
        danger=True,
        fits=lambda artifact: artifact.rejected_by_id is None,
    )
    def reject(self, *, actor: Actor, row: models.PhaseGateArtifact, reason: str) -> None:
        """This evidence counts for no gate until somebody confirms it; your reason stands by it."""
        services.verify_artifact(
            actor=actor, ticket_id=row.ticket_id, artifact_id=row.pk, confirm=False, note=reason
        )


@admin.register(models.PhaseGateResult)
class PhaseGateResultAdmin(RecordAdmin):
    icon = "fact_check"
    list_display = ["ticket", "phase", "gate_status", "evaluation", "created_at"]
    list_filter = ["gate_status", "evaluation"]
    search_fields = ["ticket__title"]


import_module("phases.admin_rounds")  # registers itself
import_module("phases.admin_workflows")  # so does this

console.tile(
    "Blocked tickets",
    models.Ticket,
    where={"is_blocked__exact": 1, "status__in": "pending,in_progress"},
    group="waiting",
    scope="tickets:write",
)
console.tile(
    "Stuck tasks",
    models.Task,
    where={"stuck": "yes"},
    narrow=stuck_among,
    group="headline",
    icon="running_with_errors",
    zero="Every open task can go on",
)
console.tile(
    "Tickets to approve",
    models.Ticket,
    where={"approval_status__exact": "pending_review", "status__in": "pending,in_progress"},
    group="waiting",
    scope="approvals:decide",
)
console.tile(
    "Evidence to confirm",
    models.PhaseGateArtifact,
    where={"decide": "mine"},
    theirs=to_confirm,
    group="waiting",
    scope="approvals:decide",
)
console.tile(
    "Open tickets",
    models.Ticket,
    where={"status__in": "pending,in_progress"},
    group="running",
)
console.tile(
    "Tasks in hand", models.Task, where={"status__in": "assigned,running"}, group="running"
)
console.tile(
    "Queue",
    models.ReadyTask,
    where={},
    group="headline",
    icon="hourglass_top",
    zero="No task waits to be taken up",
)


def board_rows(teams: list[Any]) -> list[dict[str, Any]]:
    """Each workflow's columns with how full they are; the counts are kept by a trigger."""
    columns = (
        models.BoardColumn.objects.filter(team_id__in=teams)
        .select_related("workflow")
        .order_by("workflow__name", "position")
    )
    return [
        {
            "title": column.workflow.name,
            "name": column.name,
            "count": column.total_count,
            "limit": column.wip_limit,
            "full": column.is_full,
            "waiting": column.queued_count,
            "url": list_of(models.Ticket, column__id__exact=column.pk),
        }
        for column in columns
    ]


console.panel("Boards", board_rows)
console.page("Board", icon="view_kanban", route="boards")
