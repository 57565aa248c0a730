"""A ticket's context as it is read: what the ticket itself carries, else what is kept beside it."""

from typing import Any

from phases.models import PhaseContext, Ticket


def full_context(ticket: Ticket) -> dict[str, Any]:
    """{full_context, summary}: of a phase that the ticket had no room for, what was kept of it."""
    carried = ticket.context.get("phases", {})
    rows = PhaseContext.objects.filter(ticket=ticket).exclude(phase__key__in=carried)
    kept = dict(rows.values_list("phase__key", "context_data"))
    whole = {**ticket.context, "phases": {**kept, **carried}} if kept else ticket.context
    return {"full_context": whole, "summary": ticket.context_summary}
