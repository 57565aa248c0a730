"""The tab "Memory" of a ticket's panel: what was remembered of it, and what was shown to it."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from guardian.authority import Actor
from guardian.fragments import fragment
from memory.models import MemoryRecord, MemoryUse

SHOWN = 20


@fragment("memory:read")
def memory(request: HttpRequest, actor: Actor, ticket_id: UUID) -> HttpResponse:
    """Records of this ticket's tasks that the team may read, and those its tasks were given."""
    records = MemoryRecord.objects.for_team(actor.team_id).readable_by(actor.id)
    own = list(records.filter(ticket_id=ticket_id).select_related("owner").order_by("-id")[:SHOWN])
    tasks = {row.task_id for row in own if row.task_id}
    used = (
        MemoryUse.objects.for_team(actor.team_id)
        .filter(task_id__in=tasks, record__in=records)
        .select_related("record")
        .order_by("-used_at")[:SHOWN]
    )
    return render(request, "memory/panel_memory.html", {"records": own, "used": used})
