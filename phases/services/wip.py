"""Columns that hold more than their limit: when it begins and when it is over, each told once."""

from collections.abc import Iterable
from uuid import UUID

from django.db.models import F, Q
from django.utils import timezone

from guardian.outbox import emit
from phases import events
from phases.models import BoardColumn

OVER = Q(wip_limit__isnull=False, admitted_count__gt=F("wip_limit"))


def untold_columns() -> list[UUID]:
    """Columns whose mark does not tell whether they are over their limit now."""
    begun = OVER & Q(exceeded_since=None)
    ended = ~OVER & Q(exceeded_since__isnull=False)
    return list(BoardColumn.objects.filter(begun | ended).values_list("id", flat=True))


def judge_wip(*, column_ids: Iterable[UUID]) -> None:
    """Open or close the violation of these columns, whose rows the caller has locked."""
    begun = OVER & Q(exceeded_since=None)
    ended = ~OVER & Q(exceeded_since__isnull=False)
    rows = BoardColumn.objects.filter(pk__in=list(column_ids)).filter(begun | ended)
    for column in rows.order_by("id"):
        is_over = column.exceeded_since is None
        column.exceeded_since = timezone.now() if is_over else None
        column.save(update_fields=["exceeded_since"])
        emit(
            events.BOARD_WIP_VIOLATED if is_over else events.BOARD_WIP_CLEARED,
            subject=column,
            column=column.key,
            workflow_id=str(column.workflow_id),
            limit=column.wip_limit,
            admitted=column.admitted_count,
            excess=max(0, column.admitted_count - column.wip_limit) if column.wip_limit else 0,
        )
