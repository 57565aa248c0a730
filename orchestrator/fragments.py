"""The tab "Runs" of a ticket's panel: runs of patterns and tools for it."""

from uuid import UUID

from django.db.models.fields.json import KeyTextTransform
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from guardian.authority import Actor
from guardian.errors import NotFound
from guardian.fragments import fragment
from orchestrator.models import PatternRun
from phases.models import Ticket
from tools.models import ToolExecution

SHOWN = 30


@fragment("agents:read")
def runs(request: HttpRequest, actor: Actor, ticket_id: UUID) -> HttpResponse:
    """Newest first, with what each step did and where a tool ran."""
    if not Ticket.objects.for_team(actor.team_id).filter(pk=ticket_id).exists():
        raise NotFound("There is no such ticket.")
    found = (
        PatternRun.objects.for_team(actor.team_id)
        .filter(ticket_id=ticket_id)
        .select_related("pattern", "task", "started_by")
        .prefetch_related("steps")
        .order_by("-id")[:SHOWN]
    )
    tools = (
        ToolExecution.objects.for_team(actor.team_id)
        .alias(about=KeyTextTransform("ticket_id", "context"))
        .filter(context__has_key="ticket_id", about=str(ticket_id))
        .select_related("tool", "user")
        .defer("input_data", "output_data", "stdout", "stderr")
        .order_by("-id")[:SHOWN]
    )
    return render(request, "orchestrator/panel_runs.html", {"runs": found, "tools": tools})
