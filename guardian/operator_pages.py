"""Pages of the admin that are no list of one model: what waits for a person, and health."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.http import require_safe

from guardian import console, parts


def _page(request: HttpRequest, template: str, title: str, **shown: Any) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": title, **shown}
    return TemplateResponse(request, f"guardian/operators/{template}.html", context)


@require_safe
def _waiting(request: HttpRequest) -> HttpResponse:
    """Everything that waits for a person's decision, each with its list."""
    sections = console.waiting_sections(request)
    total = sum(section["count"] for section in sections)
    return _page(request, "waiting", "Waiting for you", sections=sections, total=total)


@require_safe
def _health(request: HttpRequest) -> HttpResponse:
    """Each part of the installation, how it is, and what was found."""
    return _page(request, "health", "Health", parts=parts.state_of_parts(request))


waiting = admin.site.admin_view(_waiting)
health = admin.site.admin_view(_health)
