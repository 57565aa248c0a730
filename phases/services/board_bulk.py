"""Moving many cards at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from guardian.authority import Actor
from guardian.bulk import BatchRefused, in_bulk
from guardian.errors import Invalid, VersionRequired
from phases.errors import GateNotPassed
from phases.models import BoardColumn, Ticket
from phases.services.board import move_card
from phases.services.gate import validate_gate


@dataclass(frozen=True, slots=True)
class CardMove:
    """One card of a batch, as it was read, and where it is to go."""

    ticket_id: UUID
    column: str
    version: int | None


def move_cards(
    *, actor: Actor, moves: Sequence[CardMove], all_or_nothing: bool = False, reason: str = ""
) -> list[dict[str, Any]]:
    """Move cards in the order given: [{id, ticket_id, ok, status, version?, code?, detail?}].

    So a card that leaves a full column makes room for one that follows it. What is refused is
    undone, the answers of gates that refused excepted: they are kept, and so is what these gates
    asked of others. Raises Invalid for a ticket named twice, and BatchRefused.
    """
    seen: set[UUID] = set()
    for index, move in enumerate(moves):
        if move.ticket_id in seen:
            raise Invalid(path=f"moves[{index}].ticket_id", reason="is named twice")
        seen.add(move.ticket_id)
    refused: list[UUID] = []
    try:
        results = _move_all(actor, moves, all_or_nothing, reason, refused)
    except BatchRefused:
        _keep_answers(actor, refused)
        raise
    _keep_answers(actor, refused)
    return [{**result, "ticket_id": result["id"]} for result in results]


def _keep_answers(actor: Actor, refused: Sequence[UUID]) -> None:
    """Ask the gates that refused once more: their answers went with the moves that were undone."""
    for ticket_id in refused:
        validate_gate(actor=actor, ticket_id=ticket_id)


@transaction.atomic
def _move_all(
    actor: Actor,
    moves: Sequence[CardMove],
    all_or_nothing: bool,  # noqa: FBT001  said by name at the door
    reason: str,
    refused: list[UUID],
) -> list[dict[str, Any]]:
    _lock(actor.team_id, moves)
    work = [(move.ticket_id, partial(_moved, actor, move, reason, refused)) for move in moves]
    return in_bulk(work, all_or_nothing=all_or_nothing)


def _lock(team_id: UUID, moves: Sequence[CardMove]) -> None:
    """All columns of all moves, then all tickets, each by id: the order in which one move locks.

    A ticket that went to another column between our look and our lock would have that one locked
    behind it: then all is let go and taken again.
    """
    tickets = Ticket.objects.filter(team_id=team_id, pk__in=[move.ticket_id for move in moves])
    while True:
        before = transaction.savepoint()
        wanted = _columns(tickets, moves)
        columns = BoardColumn.objects.filter(pk__in=wanted).order_by("id")
        list(columns.select_for_update(no_key=True).values_list("pk", flat=True))
        list(tickets.order_by("id").select_for_update(no_key=True).values_list("pk", flat=True))
        if _columns(tickets, moves) <= wanted:
            transaction.savepoint_commit(before)
            return
        transaction.savepoint_rollback(before)


def _columns(tickets: QuerySet[Ticket], moves: Sequence[CardMove]) -> set[UUID]:
    """Where these tickets are, and where they are to go."""
    places = {
        pk: (flow, column)
        for pk, flow, column in tickets.values_list("pk", "workflow_id", "column_id")
    }
    targets = BoardColumn.objects.filter(workflow_id__in={flow for flow, _ in places.values()})
    by_key = {(c.workflow_id, c.key): c.pk for c in targets}
    going = {
        by_key.get((places[move.ticket_id][0], move.column))
        for move in moves
        if move.ticket_id in places
    }
    return {column for _, column in places.values()} | {pk for pk in going if pk is not None}


def _moved(actor: Actor, move: CardMove, reason: str, refused: list[UUID]) -> Mapping[str, Any]:
    if move.version is None:
        raise VersionRequired
    try:
        ticket = move_card(
            actor=actor,
            ticket_id=move.ticket_id,
            column=move.column,
            version=move.version,
            reason=reason,
        )
    except GateNotPassed:
        refused.append(move.ticket_id)
        raise
    return {"version": ticket.version}
