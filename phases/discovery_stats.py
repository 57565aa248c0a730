"""How many discoveries there are, by type, phase and how far they are."""

from collections import Counter
from typing import Any

from django.db.models import Count, QuerySet

from phases.models import TaskDiscovery


def discovery_stats(rows: "QuerySet[TaskDiscovery]") -> dict[str, Any]:
    """{phases: [{workflow, phase, types, total}], types, statuses, total}, in one statement."""
    counted = (
        rows.order_by()
        .values_list(
            "source_task__phase__workflow__key",
            "source_task__phase__sequence_order",
            "source_task__phase__key",
            "discovery_type",
            "resolution_status",
        )
        .annotate(number=Count("pk"))
    )
    types: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    phases: dict[tuple[str, int, str], Counter[str]] = {}
    for workflow, order, phase, kind, status, number in counted:
        phases.setdefault((workflow, order, phase), Counter())[kind] += number
        types[kind] += number
        statuses[status] += number
    return {
        "phases": [
            {"workflow": key[0], "phase": key[2], "types": dict(found), "total": found.total()}
            for key, found in sorted(phases.items())
        ],
        "types": dict(types),
        "statuses": dict(statuses),
        "total": types.total(),
    }
