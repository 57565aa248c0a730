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
from phases.models.ticket import CLOSED, OPEN
from phases.serializers import PRIORITIES

CARDS = 50
# How the reason of a task begins whose review was refused as often as its phase allows.
REVIEW_ESCALATED = "review_escalated"
_WORDS = {number: word for word, number in PRIORITIES.items()}

# What is open first, by priority and place, then what ended before it was done. A column of
# finished tickets shows the newest first, which the same index gives priority by priority.
_TOP = """
SELECT t.id FROM phases_boardcolumn c CROSS JOIN LATERAL (
    (SELECT o.id, 0 AS ended, o.priority, o.rank FROM phases_ticket o
      WHERE o.column_id = c.id AND o.status IN ('pending', 'in_progress')
      ORDER BY o.priority, o.rank, o.id LIMIT %s)
    UNION ALL
    (SELECT e.id, 1, e.priority, e.rank FROM phases_ticket e
      WHERE e.column_id = c.id AND e.status IN ('completed', 'failed', 'cancelled')
      ORDER BY e.priority, e.rank, e.id LIMIT %s)
    ORDER BY 2, 3, 4, 1 LIMIT %s) t
 WHERE c.id = ANY(%s)
UNION ALL
SELECT t.id FROM phases_boardcolumn c CROSS JOIN LATERAL (
    (SELECT o.id, 0 AS ended, o.rank FROM phases_ticket o
      WHERE o.column_id = c.id AND o.status IN ('pending', 'in_progress')
      ORDER BY o.priority, o.rank, o.id LIMIT %s)
    UNION ALL
    (SELECT n.id, 1, n.rank FROM generate_series(1, 4) p(priority) CROSS JOIN LATERAL (
        SELECT e.id, e.rank FROM phases_ticket e
         WHERE e.column_id = c.id AND e.priority = p.priority
           AND e.status IN ('completed', 'failed', 'cancelled')
         ORDER BY e.rank DESC, e.id DESC LIMIT %s) n
      ORDER BY n.rank DESC, n.id DESC LIMIT %s)
    ORDER BY 2, 3 DESC, 1 DESC LIMIT %s) t
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
    values = [*[CARDS] * 3, others, *[CARDS] * 4, finished]
    top = RawSQL(_TOP, values)  # noqa: S611  no text of users
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


def _newest(card: dict[str, Any]) -> tuple[bool, float, str]:
    return (card["status"] in OPEN, card["rank"], card["id"])


def more(column: BoardColumn, after: Ticket) -> dict[str, Any]:
    """The cards of a column that come behind this one: {cards, next}."""
    newest_first = is_finished(column)
    behind = (
        Q(priority__gt=after.priority)
        | Q(priority=after.priority, rank__gt=after.rank)
        | Q(priority=after.priority, rank=after.rank, pk__gt=after.pk)
    )
    older = Q(rank__lt=after.rank) | Q(rank=after.rank, pk__lt=after.pk)
    rows = Ticket.objects.filter(column=column)
    ids: list[UUID] = []
    if after.is_open:
        ids += _first(rows.filter(behind, status__in=OPEN).order_by(*_PLACE), CARDS + 1)
    ended = rows.filter(status__in=CLOSED)
    if not after.is_open:
        ended = ended.filter(older if newest_first else behind)
    ended = ended.order_by(*(("-rank", "-id") if newest_first else _PLACE))
    ids += _first(ended, CARDS + 1 - len(ids))
    shown = cards(ids[:CARDS])
    if newest_first:
        shown.sort(key=_newest, reverse=True)
    return {"cards": shown, "next": len(ids) > CARDS}


_PLACE = ("priority", "rank", "id")


def _first(rows: "QuerySet[Ticket]", many: int) -> list[UUID]:
    return list(rows.values_list("pk", flat=True)[:many]) if many > 0 else []


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
        .order_by(*_PLACE)
    )
    tickets.sort(key=lambda ticket: not ticket.is_open)
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
