"""What of this app a budget can limit: claims reserve for the ticket and for the phase."""

from uuid import UUID

from guardian.budget_scopes import budget_scope
from phases.models import Phase, Ticket


@budget_scope("ticket")
def is_ticket_of_the_team(team_id: UUID, ticket_id: UUID) -> bool:
    """Whether the team has this ticket."""
    return Ticket.objects.filter(pk=ticket_id, team_id=team_id).exists()


@budget_scope("phase")
def is_phase_of_the_team(team_id: UUID, phase_id: UUID) -> bool:
    """Whether a workflow of the team has this phase."""
    return Phase.objects.filter(pk=phase_id, team_id=team_id).exists()
