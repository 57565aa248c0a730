"""The board's read model: one shape for the page, the API and the live frames.

Five queries at any size: columns with their counts, their phases, the top tickets of each column,
and for these their tasks with holders and their newest gate results.
"""

from collections import Counter
from typing import Any
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Case, OuterRef, Q, QuerySet, Subquery, When
from django.db.models.expressions import RawSQL

from guardian.models import Event, ResourceLock
from guardian.stops import told_stop
from phases.models import (
    BoardColumn,
    Phase,
    PhaseGateResult,
    Task,
    TaskDependency,
    Ticket,
    Workflow,
)
from phases.serializers import PRIORITIES

CARDS = 50
# How the reason of a task begins whose review was refused as often as its phase allows.
REVIEW_ESCALATED = "review_escalated"
_WORDS = {number: word for word, number in PRIORITIES.items()}

# By priority and place; a column of finished tickets shows the newest first, which the same index
# gives priority by priority.
_TOP = """
SELECT t.id FROM phases_boardcolumn c CROSS JOIN LATERAL (
    SELECT id FROM phases_ticket t WHERE t.column_id = c.id
     ORDER BY t.priority, t.rank, t.id LIMIT %s) t
 WHERE c.id = ANY(%s)
UNION ALL
SELECT t.id FROM phases_boardcolumn c CROSS JOIN LATERAL (
    SELECT n.id FROM generate_series(1, 4) p(priority) CROSS JOIN LATERAL (
        SELECT t.id, t.rank FROM phases_ticket t
         WHERE t.column_id = c.id AND t.priority = p.priority
         ORDER BY t.rank DESC, t.id DESC LIMIT %s) n
     ORDER BY n.rank DESC, n.id DESC LIMIT %s) t
 WHERE c.id = ANY(%s)
"""


def snapshot(workflow: Workflow) -> dict[str, Any]:
    """{workflow, seq, stopped, columns: [{…, phases, admitted, queued, total, cards}]}.

    `stopped` is {reason, by, since, everywhere} while a kill switch is on, else null.
    """
    # Read with the first query: what happens after this number is told by live frames.
    newest = Event.objects.exclude(seq=None).order_by("-seq").values("seq")[:1]
    columns = list(
        BoardColumn.objects.filter(workflow=workflow)
        .annotate(head=Subquery(newest), stopped=told_stop(OuterRef("team")))
        .prefetch_related("phases")
        .order_by("position")
    )
    finished = [column.pk for column in columns if is_finished(column)]
    others = [column.pk for column in columns if column.pk not in finished]
    top = RawSQL(_TOP, [CARDS, others, CARDS, CARDS, finished])  # noqa: S611  no text of users
    by_column: dict[str, list[dict[str, Any]]] = {}
    for card in _cards(Ticket.objects.filter(pk__in=top)):
        by_column.setdefault(card["column"], []).append(card)
    for column in columns:
        if column.pk in finished and column.key in by_column:
            by_column[column.key].sort(key=_newest, reverse=True)
    return {
        "workflow": {"key": workflow.key, "name": workflow.name},
        "seq": (columns[0].head if columns else None) or 0,
        "stopped": columns[0].stopped if columns else None,
        "columns": [_column(column, by_column.get(column.key, [])) for column in columns],
    }


def is_finished(column: BoardColumn) -> bool:
    """Whether tickets end here; `column` comes with its phases prefetched."""
    phases = list(column.phases.all())
    return bool(phases) and all(phase.kind == Phase.Kind.DONE for phase in phases)


def _newest(card: dict[str, Any]) -> tuple[float, str]:
    return (card["rank"], card["id"])


def more(column: BoardColumn, after: Ticket) -> dict[str, Any]:
    """The cards of a column that come behind this one: {cards, next}."""
    rows = Ticket.objects.filter(column=column)
    if is_finished(column):
        behind = Q(rank__lt=after.rank) | Q(rank=after.rank, pk__lt=after.pk)
        rows = rows.filter(behind).order_by("-rank", "-id")
    else:
        behind = (
            Q(priority__gt=after.priority)
            | Q(priority=after.priority, rank__gt=after.rank)
            | Q(priority=after.priority, rank=after.rank, pk__gt=after.pk)
        )
        rows = rows.filter(behind).order_by("priority", "rank", "id")
    ids = list(rows.values_list("pk", flat=True)[: CARDS + 1])
    shown = cards(ids[:CARDS])
    if is_finished(column):
        shown.sort(key=_newest, reverse=True)
    return {"cards": shown, "next": len(ids) > CARDS}


def _column(column: BoardColumn, shown: list[dict[str, Any]]) -> dict[str, Any]:
    phases = sorted(column.phases.all(), key=lambda p: p.sequence_order)
    return {
        "key": column.key,
        "name": column.name,
        "position": column.position,
        "color": column.color,
        "is_terminal": column.is_terminal,
        "auto_transition_to": column.auto_transition_to,
        "version": column.version,
        "newest_first": is_finished(column),
        "phases": [{"key": p.key, "name": p.name} for p in phases],
        **counts(column),
        "cards": shown,
        "next": column.total_count > len(shown),
    }


def counts(column: BoardColumn) -> dict[str, Any]:
    limit = column.wip_limit
    return {
        "wip_limit": limit,
        "admitted": column.admitted_count,
        "queued": column.queued_count,
        "total": column.total_count,
        "utilization": round(column.admitted_count / limit, 3) if limit else None,
        "exceeded": max(0, column.admitted_count - limit) if limit else 0,
    }


def cards(ticket_ids: list[UUID]) -> list[dict[str, Any]]:
    """The cards of these tickets, in board order."""
    return _cards(Ticket.objects.filter(pk__in=ticket_ids))


def _cards(rows: "QuerySet[Ticket]") -> list[dict[str, Any]]:
    tickets = list(
        rows.select_related("phase", "column", "assignee")
        .defer("description", "context", "context_summary")
        .order_by("priority", "rank", "id")
    )
    ids = [ticket.pk for ticket in tickets]
    tasks: dict[UUID, list[Any]] = {}
    for task in (
        Task.objects.filter(ticket_id__in=ids)
        .annotate(waits_for=_waits_for(), locks=_locks())
        .select_related("holder")
        .defer("result", "description")
        .order_by("id")
    ):
        tasks.setdefault(task.ticket_id, []).append(task)
    newest = (
        PhaseGateResult.objects.filter(ticket_id__in=ids)
        .order_by("ticket_id", "-id")
        .distinct("ticket_id")
    )
    gates: dict[UUID, PhaseGateResult] = {row.ticket_id: row for row in newest}
    return [_card(t, tasks.get(t.pk, []), gates.get(t.pk)) for t in tickets]


def _waits_for() -> Any:
    """Of a task that waits: the tickets, other than its own, whose tasks it waits for."""
    edges = (
        TaskDependency.objects.filter(task=OuterRef("pk"), satisfied=False)
        .exclude(depends_on__ticket=OuterRef("ticket"))
        .values_list("depends_on__ticket__number", flat=True)
    )
    return Case(When(deps_left__gt=0, then=ArraySubquery(edges)), default=None)


def _locks() -> Any:
    """What is locked for a task that is held."""
    held = ResourceLock.objects.held().filter(task_id=OuterRef("pk")).order_by("id")
    return Case(
        When(holds_locks=True, then=ArraySubquery(held.values_list("resource_id", flat=True))),
        default=None,
    )


def _card(ticket: Ticket, tasks: list[Any], gate: PhaseGateResult | None) -> dict[str, Any]:
    fresh = [t for t in tasks if t.visit >= ticket.fresh_from_visit]
    counted = [t for t in fresh if t.status not in {"cancelled", "duplicated"}]
    held = next((t for t in tasks if t.holder is not None), None)
    waiting = Counter(t.status for t in counted)
    escalated = sum((t.blocked_reason or "").startswith(REVIEW_ESCALATED) for t in counted)
    return {
        "id": str(ticket.pk),
        "v": ticket.version,
        "number": ticket.number,
        "title": ticket.title,
        "priority": _WORDS[ticket.priority],
        "status": ticket.status,
        "phase": ticket.phase.key,
        "phase_name": ticket.phase.name,
        "column": ticket.column.key,
        "rank": ticket.rank,
        "phase_entered_at": ticket.phase_entered_at.isoformat(),
        "labels": ticket.labels,
        "deadline": ticket.deadline.isoformat() if ticket.deadline else None,
        "created_by": str(ticket.created_by_id),
        "assignee": _person(ticket.assignee),
        "queued": ticket.is_open and ticket.is_approved and ticket.admitted_at is None,
        "blocked_reason": ticket.blocked_reason,
        "waits": ticket.auto_wait,
        "tasks": {
            "done": waiting["completed"],
            "total": len(counted),
            "failed": waiting["failed"],
            "blocked": waiting["blocked"],
        },
        "blocked_by": sorted({number for t in counted for number in t.waits_for or []}),
        "locks": [name for t in counted for name in t.locks or []],
        "reviews": {
            "waiting": waiting["under_review"],
            "begun": waiting["validating"],
            "escalated": escalated,
        },
        "approval": ticket.approval_status,
        "holder": _holder(held),
        "gate": _gate(ticket, gate),
        "facts": ticket.card_facts,
    }


def _person(user: Any) -> dict[str, str] | None:
    return {"id": str(user.pk), "name": user.name, "kind": user.kind} if user else None


def _holder(task: Task | None) -> dict[str, Any] | None:
    if task is None or task.lease_expires_at is None:
        return None
    return {
        **(_person(task.holder) or {}),
        "task": task.title,
        "status": task.status,
        "note": task.note,
        "progress": task.progress,
        "lease_expires_at": task.lease_expires_at.isoformat(),
    }


def _gate(ticket: Ticket, gate: PhaseGateResult | None) -> dict[str, Any] | None:
    if gate is None or gate.phase_id != ticket.phase_id or gate.visit != ticket.visit:
        return None
    rows = [r for r in gate.validation_result.get("requirements", []) if r["required"]]
    return {
        "status": gate.gate_status,
        "met": sum(r["met"] for r in rows),
        "total": len(rows),
        "reported": sum(r["level"] == "reported" and not r["met"] for r in rows),
        "missing": sum(bool(r.get("missing")) for r in rows),
    }
