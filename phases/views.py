"""The board's page and the panel of a ticket."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe

from guardian.authority import GUARDIAN, Actor, may, require_scope
from guardian.errors import DomainError
from guardian.http import session_actor
from guardian.models import ApiToken, Team, User
from phases import board
from phases.models import Phase, Ticket, Workflow
from phases.panel import panel

# Pages bring everything themselves; nothing in a ticket's text may ever run.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
FIRST_CHOICE = "repo_checkup"
# What main.js imports: asked for at once, not one after the other.
MODULES = [
    f"lemnos/board/{name}.js"
    for name in (
        "dom", "api", "say", "store", "cards", "filters", "live", "move", "drag", "archive",
        "create", "replace", "acts", "panel", "keys", "select", "views", "table", "graph",
        "connect", "palette",
    )
]  # fmt: skip

Page = Callable[..., HttpResponse]


def _page(view: Page) -> Page:
    """For a logged-in member of a team that may read tickets; others are told what to do."""

    @require_safe
    @never_cache
    @gzip_page
    @login_required
    @wraps(view)
    def guarded(request: HttpRequest, **arguments: Any) -> HttpResponse:
        try:
            actor = session_actor(request)
            require_scope(actor, "tickets:read")
        except DomainError as refusal:
            response = render(request, "phases/refused.html", {"refusal": refusal}, status=403)
        else:
            response = view(request, actor, **arguments)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    return guarded


@_page
def home(request: HttpRequest, actor: Actor) -> HttpResponse:
    """The board one looked at last, else the checkup's, else the default one."""
    flows = {flow.key: flow for flow in Workflow.objects.for_team(actor.team_id)}
    default = next((key for key, flow in flows.items() if flow.is_default), None)
    for key in (request.session.get("board"), FIRST_CHOICE, default):
        if key in flows:
            return redirect("board", workflow=key)
    return _no_board(request, [], "")


@_page
def page(
    request: HttpRequest, actor: Actor, *, workflow: str, number: int | None = None
) -> HttpResponse:
    """A workflow's board, with a ticket's panel open where the address names one."""
    flows = list(Workflow.objects.for_team(actor.team_id).order_by("name"))
    flow = next((f for f in flows if f.key == workflow), None)
    if flow is None:
        return _no_board(request, flows, workflow)
    opened = _panel(actor, flow, number) if number is not None else None
    if "fragment" in request.GET:
        return _fragment(request, opened)
    if request.session.get("board") != flow.key:
        request.session["board"] = flow.key
    snapshot, people = board.snapshot(flow), _people(actor)
    phases = list(flow.phases.select_related("column", "next_column").order_by("sequence_order"))
    first = next(phase for phase in phases if phase.key == flow.initial_phase)
    return render(
        request,
        "phases/board.html",
        {
            "flow": flow,
            "flows": flows,
            "actor": actor,
            "other_teams": Team.objects.filter(memberships__user=actor.user)
            .exclude(pk=actor.team_id)
            .order_by("name"),
            "columns": snapshot["columns"],
            "data": {
                **snapshot,
                "phases": _phases(phases),
                "me": _me(actor),
                "label": "LEM",
                "start": first.column.key,
                "people": people,
                "initial": flow.initial_phase,
            },
            "people": people,
            "may_connect": actor.has_scope("tokens:self") and actor.has_scope("tasks:work"),
            "first_phases": _first_phases(phases, first, actor),
            "asks_source": flow.asks_source,
            "weak_isolation": settings.UNTRUSTED_LEVEL
            if settings.UNTRUSTED_LEVEL != "container"
            else "",
            "may_write": actor.has_scope("tickets:write"),
            "may_lift": request.user.is_staff and may(actor, "guardian:intervene", level=GUARDIAN),
            "panel": opened,
            "modules": MODULES,
            "number": number,
        },
        status=404 if number is not None and opened is None else 200,
    )


def _no_board(request: HttpRequest, flows: list[Workflow], wanted: str) -> HttpResponse:
    context = {"flows": flows, "wanted": wanted}
    return render(request, "phases/no_board.html", context, status=404 if wanted else 200)


def _fragment(request: HttpRequest, opened: dict[str, Any] | None) -> HttpResponse:
    if opened is None:
        return HttpResponse("There is no such ticket.", status=404, content_type="text/plain")
    return render(request, "phases/_panel.html", {"panel": opened})


def _panel(actor: Actor, flow: Workflow, number: int) -> dict[str, Any] | None:
    ticket = (
        Ticket.objects.select_related(
            "workflow",
            "phase",
            "phase__next_column",
            "previous_phase",
            "previous_phase__next_column",
            "column",
            "assignee",
            "created_by",
        )
        .prefetch_related("workflow__phases")
        .filter(team=actor.team, workflow=flow, number=number)
        .first()
    )
    return panel(ticket, actor) if ticket is not None else None


def _phases(phases: list[Phase]) -> list[dict[str, Any]]:
    return [
        {
            "key": phase.key,
            "name": phase.name,
            "kind": phase.kind,
            "order": phase.sequence_order,
            "column": phase.column.key,
            "next": phase.next_column.key if phase.next_column else None,
        }
        for phase in phases
    ]


def _first_phases(phases: list[Phase], first: Phase, actor: Actor) -> list[Phase]:
    """Where this actor may let a new ticket begin: a later phase needs level 4."""
    last = phases[-1].sequence_order if actor.authority >= GUARDIAN else first.sequence_order
    return [p for p in phases if p.kind == Phase.Kind.WORK and p.sequence_order <= last]


def _people(actor: Actor) -> list[dict[str, Any]]:
    """Whom a ticket can be given to, and whether they have a token that is valid."""
    members = User.objects.filter(memberships__team=actor.team, is_active=True)
    valid = ApiToken.objects.filter(user=OuterRef("pk"), team=actor.team, revoked_at=None)
    unexpired = valid.filter(Q(expires_at=None) | Q(expires_at__gt=Now()))
    rows = members.exclude(kind=User.Kind.SERVICE).annotate(connected=Exists(unexpired))
    return [
        {"id": str(row.pk), "name": row.name, "kind": row.kind, "connected": row.connected}
        for row in rows.order_by("kind", "username")[:200]
    ]


def _me(actor: Actor) -> dict[str, Any]:
    return {
        "id": str(actor.id),
        "name": actor.name,
        "authority": actor.authority,
        "human": actor.is_human,
        "write": actor.has_scope("tickets:write"),
        "decide": actor.has_scope("approvals:decide"),
        "tokens": actor.has_scope("tokens:admin"),
    }
