"""What phases found out goes on with their ticket, and is kept beside it."""

from typing import Any
from uuid import UUID

from django.db import transaction

from guardian.authority import Actor
from guardian.errors import NotFound
from guardian.outbox import emit
from phases import events
from phases.context import fitted_part, with_phase
from phases.harvest import harvest, summary_of
from phases.models import Phase, PhaseContext, Ticket
from phases.part import require_part
from phases.services.locking import locked_ticket


@transaction.atomic
def update_context(*, actor: Actor, ticket_id: UUID, phase: str | None = None) -> Ticket:
    """Take what a phase found out into its ticket, by default that of the phase it is in.

    The phase is named by key or id. The same again changes nothing.
    Raises NotFound, NotYours, StaleVersion.
    """
    ticket = locked_ticket(team_id=actor.team_id, ticket_id=ticket_id)
    require_part(actor=actor, ticket=ticket)
    if remember_phase(ticket, _asked(ticket, phase)):
        ticket.version += 1
        ticket.save(update_fields=["context", "context_summary", "version", "updated_at"])
        emit(
            events.TICKET_UPDATED,
            subject=ticket,
            actor=actor,
            changed=["context", "context_summary"],
            keys=["phases"],
        )
    return ticket


def _asked(ticket: Ticket, named: str | None) -> Phase:
    """The named phase; of a blocked ticket otherwise the one it was stopped in."""
    if named is None:
        stopped_in = ticket.previous_phase if ticket.is_blocked else None
        return stopped_in or ticket.phase
    for phase in Phase.objects.filter(workflow=ticket.workflow_id):
        if named in {phase.key, str(phase.pk)}:
            return phase
    raise NotFound("There is no such phase.")


def remember_phase(ticket: Ticket, phase: Phase) -> bool:
    """Put what a phase found out into its locked ticket; whether that is anything new.

    The caller saves the ticket.
    """
    found = harvest(ticket, phase)
    if not found:
        return False
    kept = PhaseContext.objects.filter(ticket=ticket, phase=phase).first()
    data = fitted_part(phase.key, found)
    if kept is not None and kept.context_data == data:
        return False
    summary = summary_of([(phase.name, data)])
    PhaseContext.objects.update_or_create(
        ticket=ticket,
        phase=phase,
        defaults={"team": ticket.team, "context_data": data, "context_summary": summary},
    )
    ticket.context = with_phase(ticket.context, phase.key, data)
    ticket.context_summary = summary_of(_by_phase(ticket))
    return True


def _by_phase(ticket: Ticket) -> list[tuple[str, dict[str, Any]]]:
    rows = PhaseContext.objects.filter(ticket=ticket).select_related("phase")
    return [(row.phase.name, row.context_data) for row in rows.order_by("phase__sequence_order")]
