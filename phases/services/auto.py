"""A move that happens by itself, asked for by somebody: the answer is one word of a fixed list."""

from typing import Any
from uuid import UUID

from guardian.authority import Actor
from guardian.errors import NotFound, StaleVersion
from phases.models import Ticket
from phases.part import require_part
from phases.services.board import advance_ticket

ATTEMPTS = 3
REASONS = (
    "moved", "no_pointer", "terminal", "tasks_open", "gate_not_passed", "wip_full",
    "illegal_transition", "approval",
)  # fmt: skip
# What the ticket's note says more exactly.
_AS = {
    # Work was finally failed or called off: the phase's work is not done.
    "tasks_failed": "tasks_open",
    "cancelled": "tasks_open",
    "approval_required": "approval",
    "ticket_closed": "terminal",
    # Somebody else moved it each time we looked.
    StaleVersion.code: "illegal_transition",
}


def auto_transition(*, actor: Actor, ticket_id: UUID) -> dict[str, Any]:
    """Let a ticket go where its column points: {moved, to_phase, reason, detail}.

    `reason` is one of REASONS. Where its phase says so, what failed takes the ticket to Blocked,
    which is a move as well. Raises NotFound, NotYours.
    """
    ticket = Ticket.objects.filter(pk=ticket_id, team=actor.team).first()
    if ticket is None:
        raise NotFound("There is no such ticket.")
    require_part(actor=actor, ticket=ticket)
    for _ in range(ATTEMPTS):
        answer = advance_ticket(ticket_id=ticket_id)
        if answer["reason"] != StaleVersion.code:
            break
    ticket = Ticket.objects.get(pk=ticket_id)
    reason = "moved" if answer["moved"] else _AS.get(answer["reason"], answer["reason"])
    note = ticket.auto_wait or {}
    told = not answer["moved"] and note.get("reason") == answer["reason"]
    detail = note.get("detail", "") if told else ""
    return {"moved": answer["moved"], "to_phase": answer["to_phase"], "reason": reason,
            "detail": detail}  # fmt: skip
