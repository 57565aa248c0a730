"""Fragments: what an app knows of a ticket, as a piece of a page that another app shows.

The panel of a ticket is phases'; cost, runs and memory are not. Each of their owners answers one
address with markup for its tab, so that nobody imports a sibling (`PANEL_TABS` names them).
"""

from collections.abc import Callable
from decimal import Decimal
from functools import wraps
from typing import Any
from uuid import UUID

from django.db.models import Count, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from guardian.authority import Actor, require_scope
from guardian.errors import DomainError
from guardian.http import session_actor
from guardian.models import Budget, CostRecord

SHOWN = 30
View = Callable[[HttpRequest, Actor, UUID], HttpResponse]


def fragment(scope: str) -> Callable[[View], Callable[..., HttpResponse]]:
    """For a logged-in member with this scope; others get the status and one sentence."""

    def wrap(view: View) -> Callable[..., HttpResponse]:
        @require_safe
        @never_cache
        @wraps(view)
        def guarded(request: HttpRequest, ticket_id: UUID) -> HttpResponse:
            try:
                actor = session_actor(request)
                require_scope(actor, scope)
                return view(request, actor, ticket_id)
            except DomainError as refusal:
                return HttpResponse(
                    refusal.detail, status=refusal.status, content_type="text/plain"
                )

        return guarded

    return wrap


@fragment("costs:read")
def cost(request: HttpRequest, actor: Actor, ticket_id: UUID) -> HttpResponse:
    """What this ticket has cost, what is held for it, and its limit."""
    lines = CostRecord.objects.for_team(actor.team_id).filter(ticket_id=ticket_id)
    sums = lines.aggregate(
        charged=Sum("amount", filter=Q(kind="charge"), default=Decimal(0)),
        prompt=Sum("prompt_tokens", filter=Q(kind="charge"), default=0),
        completion=Sum("completion_tokens", filter=Q(kind="charge"), default=0),
        held=Sum("amount", filter=Q(kind="hold", children=None), default=Decimal(0)),
    )
    by_model = (
        lines.filter(kind="charge")
        .values("provider", "model")
        .annotate(amount=Sum("amount"), calls=Count("pk"))
        .order_by("-amount")[:SHOWN]
    )
    context: dict[str, Any] = {
        **sums,
        "by_model": by_model,
        "lines": lines.order_by("-id")[:SHOWN],
        "budgets": Budget.objects.for_team(actor.team_id).filter(
            scope_type=Budget.Scope.TICKET, scope_id=str(ticket_id)
        ),
    }
    return render(request, "guardian/fragments/cost.html", context)
