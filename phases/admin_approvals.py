"""Operators' buttons for whether a ticket may begin, and that it is given up."""

from guardian.authority import MONITOR, Actor
from guardian.operators import RecordAdmin, reasoned_action
from phases import models, services

_DECIDABLE = ("pending_review", "timed_out")


def _others(actor: Actor, ticket: models.Ticket) -> bool:
    """Nobody decides about a ticket of their own."""
    return ticket.created_by_id != actor.id


def _asked(ticket: models.Ticket) -> bool:
    return ticket.is_open and ticket.approval_status in _DECIDABLE


class ApprovalButtons(RecordAdmin):
    """Shown on tickets."""

    @reasoned_action(
        label="Approve",
        scope="approvals:decide",
        level=MONITOR,
        human=True,
        fits=_asked,
        permits=_others,
    )
    def approve(self, *, actor: Actor, row: models.Ticket, reason: str) -> None:
        """Lets this ticket begin: it takes a place in its column, or waits for one."""
        services.approve_ticket(actor=actor, ticket_id=row.pk, reason=reason)

    @reasoned_action(
        label="Reject",
        scope="approvals:decide",
        level=MONITOR,
        human=True,
        danger=True,
        fits=_asked,
        permits=_others,
    )
    def reject(self, *, actor: Actor, row: models.Ticket, reason: str) -> None:
        """Does not let this ticket begin as it is; its author may change it and ask again."""
        services.reject_ticket(actor=actor, ticket_id=row.pk, reason=reason)

    @reasoned_action(
        label="Ask for approval again",
        scope="tickets:write",
        fits=lambda ticket: ticket.is_open and ticket.approval_status in {"rejected", "timed_out"},
    )
    def resubmit(self, *, actor: Actor, row: models.Ticket, reason: str) -> None:
        """Asks anew whether this ticket may begin."""
        services.resubmit_ticket(actor=actor, ticket_id=row.pk, reason=reason)

    @reasoned_action(
        label="Give up",
        scope="tickets:write",
        level=MONITOR,
        danger=True,
        fits=lambda ticket: ticket.is_open,
    )
    def fail(self, *, actor: Actor, row: models.Ticket, reason: str) -> None:
        """Ends this ticket as failed with all its open tasks; it may be reopened."""
        services.fail_ticket(actor=actor, ticket_id=row.pk, reason=reason)
