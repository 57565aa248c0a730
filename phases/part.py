"""Who has a part in a ticket, the object rule of guardian said of tickets, and who must say why."""

from django.db.models import Q

from guardian.authority import Actor, owns
from guardian.errors import NotYours
from phases.models import Task, Ticket
from phases.models.task import OPEN

# Fewest and most characters of a reason that somebody gives.
REASON = (10, 2000)


def require_part(*, actor: Actor, ticket: Ticket) -> None:
    """An agent changes a ticket it opened, is assigned to or works on. Raises NotYours.

    It works on one while it holds, or was the last to hold, an open task of it or a task of its
    present phase: so who completed the phase's work may also move the ticket on.
    """
    if owns(actor, ticket.created_by_id, ticket.assignee_id):
        return
    mine = Task.objects.filter(Q(holder=actor.id) | Q(last_holder=actor.id), ticket=ticket)
    if not mine.filter(Q(status__in=OPEN) | Q(phase=ticket.phase_id)).exists():
        raise NotYours("An agent changes only tickets it opened, is assigned to or works on.")
