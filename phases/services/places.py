"""Where a card stands in its column, among the open ones of its priority."""

from uuid import UUID

from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from guardian.authority import Actor
from guardian.outbox import emit
from phases import events
from phases.models import Ticket

# Ranks begin as seconds since 1970, of which a double keeps about 2e-7 (IEEE 754): neighbours as
# far apart as this always have a number between them, and a step leaves room for a few more.
CLOSEST, STEP = 1e-5, 1e-3


def put_at(*, actor: Actor, ticket: Ticket, position: int | None) -> int:
    """Give a ticket the rank of the place `position` (0 is the top, None the last); that place.

    The caller holds the lock of the column and saves the rank. Where no number is left between two
    neighbours, those behind move on a step, as many as stand too close.
    """
    rows = Ticket.objects.still_open().filter(column=ticket.column, priority=ticket.priority)
    others = list(rows.exclude(pk=ticket.pk).order_by("rank", "id").values_list("pk", "rank"))
    place = len(others) if position is None else max(0, min(position, len(others)))
    before = others[place - 1][1] if place else None
    after = others[place][1] if place < len(others) else None
    if before is None:
        ticket.rank = timezone.now().timestamp() if after is None else after - 1
    elif after is None:
        ticket.rank = before + 1
    elif after - before > 2 * CLOSEST:
        ticket.rank = (before + after) / 2
    else:
        ticket.rank = before + STEP
        _move_on(actor, ticket, others[place:])
    return place


def _move_on(actor: Actor, ticket: Ticket, behind: list[tuple[UUID, float]]) -> None:
    last = ticket.rank
    for pk, rank in behind:
        if rank - last > CLOSEST:
            return
        last += STEP
        Ticket.objects.filter(pk=pk).update(rank=last, version=F("version") + 1, updated_at=Now())
        emit(
            events.BOARD_TICKET_MOVED,
            subject=Ticket.objects.get(pk=pk),
            actor=actor,
            column=ticket.column.key,
        )
