"""What the first page of the admin shows."""

from typing import Any

from django import template
from django.conf import settings

from guardian import console

register = template.Library()


@register.inclusion_tag("guardian/operators/overview.html", takes_context=True)
def overview(context: template.Context) -> dict[str, Any]:
    """Numbers that lead to their rows, boards at a glance, and how the parts are."""
    request = context["request"]
    return {
        **console.tiles(request),
        "panels": console.panels(request),
        "parts": console.state_of_parts(),
        "weak_isolation": settings.UNTRUSTED_LEVEL
        if settings.UNTRUSTED_LEVEL != "container"
        else "",
    }
