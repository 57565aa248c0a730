"""The marks of a budget: that it is nearly or wholly used is told once in each period."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F
from django.utils import timezone

from guardian import events
from guardian.models import Budget
from guardian.outbox import emit


def mark_budgets(ids: list[UUID]) -> None:
    """Say once in each period that a budget is nearly or wholly used, inside a transaction."""
    now = timezone.now()
    marks = (
        ("warned_at", events.BUDGET_WARNED, F("limit") * F("alert_threshold")),
        ("critical_at", events.BUDGET_CRITICAL, F("limit") * F("critical_threshold")),
    )
    for column, kind, bound in marks:
        found = Budget.objects.filter(pk__in=ids, spent__gte=bound, **{f"{column}__isnull": True})
        _tell(found, column, kind, now)
    used_up = Budget.objects.filter(
        pk__in=ids, exceeded_at=None, limit__lte=F("spent") + F("reserved")
    )
    _tell(used_up, "exceeded_at", events.BUDGET_EXCEEDED, now)


def unmark(budget: Budget) -> list[str]:
    """Take back the marks that its figures do not reach any more: they are told when they do."""
    used = {
        "warned_at": budget.spent >= budget.limit * budget.alert_threshold,
        "critical_at": budget.spent >= budget.limit * budget.critical_threshold,
        "exceeded_at": budget.spent + budget.reserved >= budget.limit,
    }
    unmarked = [name for name, reached in used.items() if not reached]
    for name in unmarked:
        setattr(budget, name, None)
    return unmarked


def _tell(budgets: Any, column: str, kind: str, now: datetime) -> None:
    for budget in budgets.order_by("id").select_for_update():
        setattr(budget, column, now)
        budget.save(update_fields=[column, "updated_at"])
        emit(
            kind,
            subject=budget,
            team_id=budget.team_id,
            scope_type=budget.scope_type,
            scope_id=budget.scope_id,
            limit=str(budget.limit),
            spent=str(budget.spent),
        )
