"""Locks on tickets, always behind their columns."""

from collections.abc import Iterable
from uuid import UUID

from guardian.errors import NotFound, StaleVersion
from phases.models import BoardColumn, Ticket


def locked_ticket(
    *, team_id: UUID, ticket_id: UUID, version: int | None = None, also: Iterable[UUID] = ()
) -> Ticket:
    """The ticket, locked behind its column and the further columns of `also`.

    Raises NotFound, and StaleVersion where it is not at `version` or has left its column meanwhile.
    """
    column_id = (
        Ticket.objects.filter(pk=ticket_id, team_id=team_id)
        .values_list("column_id", flat=True)
        .first()
    )
    if column_id is None:
        raise NotFound("There is no such ticket.")
    wanted = BoardColumn.objects.filter(pk__in={column_id, *also})
    locked = {column.pk for column in wanted.select_for_update(no_key=True).order_by("id")}
    ticket = (
        Ticket.objects.select_for_update(of=("self",), no_key=True)
        .select_related("phase", "column", "workflow", "previous_phase", "team")
        .get(pk=ticket_id)
    )
    if ticket.column_id not in locked or version not in {None, ticket.version}:
        raise StaleVersion(current_etag=f'"v{ticket.version}"')
    return ticket
