"""What the first page of the admin shows."""

from typing import Any

from django import template
from django.conf import settings

from guardian import console
from guardian.asked import stops_seen
from guardian.columns import named

register = template.Library()


@register.filter
def row_name(row: Any) -> str:
    """A row's name over its page: as it is written, without the id behind it."""
    return named(row)


@register.inclusion_tag("guardian/operators/stopped.html", takes_context=True)
def stopped_work(context: template.Context) -> dict[str, Any]:
    """Over every page of the admin: where new work is stopped, by whom and why."""
    return {"stops": stops_seen(context["request"])}


@register.inclusion_tag("guardian/operators/overview.html", takes_context=True)
def overview(context: template.Context) -> dict[str, Any]:
    """Numbers that lead to their rows, boards at a glance, and how the parts are."""
    request = context["request"]
    found = console.tiles(request)
    return {
        **found,
        "headlines": console.headlines(request, found),
        "groups": [
            ("Decisions", found["waiting"]),
            ("Went wrong", found["attention"]),
            ("Under way", found["running"]),
        ],
        "panels": console.panels(request),
        "weak_isolation": settings.UNTRUSTED_LEVEL
        if settings.UNTRUSTED_LEVEL != "container"
        else "",
    }
