"""The board's figures: what each column holds, and which hold more than their limit."""

from typing import Any

from phases import board
from phases.models import BoardColumn, Workflow
from phases.services.wip import OVER


def stats(workflow: Workflow) -> list[dict[str, Any]]:
    """The figures that the board shows over each column, in its order."""
    return [
        {
            "key": column.key,
            "name": column.name,
            "position": column.position,
            "color": column.color,
            "is_terminal": column.is_terminal,
            **board.counts(column),
            "exceeded_since": column.exceeded_since,
        }
        for column in BoardColumn.objects.filter(workflow=workflow).order_by("position")
    ]


def violations(workflow: Workflow) -> list[dict[str, Any]]:
    """Columns with more admitted tickets than their limit: {column, limit, admitted, excess}."""
    rows = BoardColumn.objects.filter(OVER, workflow=workflow).order_by("position")
    return [
        {
            "column": column.key,
            "name": column.name,
            "limit": column.wip_limit,
            "admitted": column.admitted_count,
            "excess": column.admitted_count - (column.wip_limit or 0),
            "since": column.exceeded_since,
        }
        for column in rows
    ]
