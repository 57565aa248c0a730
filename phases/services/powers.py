"""What a move needs before anything is locked: the powers it asks for, its reason, an approval."""

from typing import Any

from guardian.authority import GUARDIAN, MONITOR, Actor
from guardian.errors import AuthorityTooLow, Invalid
from phases.errors import ApprovalRequired, ApprovedText, OverrideNotAllowed
from phases.models import PhaseHistory, Ticket
from phases.part import REASON

# What a person read who approved it.
APPROVED_AS_READ = ("title", "description", "context")


def check_powers(actor: Actor, reason: str, *, override: bool, force: bool) -> None:
    if not (override or force):
        return
    if actor.authority < GUARDIAN:
        raise AuthorityTooLow(required=GUARDIAN, actual=actor.authority)
    if not actor.is_human:
        raise OverrideNotAllowed
    if len(reason.strip()) < REASON[0]:
        needed = f"of at least {REASON[0]} characters is needed to override"
        raise Invalid(path="reason", reason=needed)


def check_wish(actor: Actor, ticket: Ticket, kind: str, reason: str, *, queue: bool) -> None:
    # Lemnos itself names what failed, however short that is called.
    least = 1 if actor.kind == "service" else REASON[0]
    if kind == PhaseHistory.Kind.BLOCK and len(reason.strip()) < least:
        needed = f"of at least {least} characters is needed to block a ticket"
        raise Invalid(path="reason", reason=needed)
    if queue and kind not in {PhaseHistory.Kind.BACKWARD, PhaseHistory.Kind.UNBLOCK}:
        raise Invalid(path="queue", reason="is only for moves back or out of Blocked")
    if kind == PhaseHistory.Kind.FORWARD:
        require_approval(ticket)


def require_approval(ticket: Ticket) -> None:
    """Raises ApprovalRequired."""
    if not ticket.is_approved:
        raise ApprovalRequired(
            f"This ticket is not approved: {ticket.get_approval_status_display().lower()}.",
            approval_status=ticket.approval_status,
        )


def check_approved_text(actor: Actor, ticket: Ticket, changes: dict[str, Any]) -> None:
    """What was approved stays as it was read, unless somebody who may approve it changes it."""
    if ticket.approval_status != Ticket.Approval.APPROVED or may_decide(actor, ticket):
        return
    for name in APPROVED_AS_READ:
        if name in changes and changes[name] != getattr(ticket, name):
            raise ApprovedText(path=name)


def may_decide(actor: Actor, ticket: Ticket) -> bool:
    """Whether this actor may approve the ticket: a person of level 3 who did not open it."""
    return (
        actor.is_human
        and actor.authority >= MONITOR
        and actor.has_scope("approvals:decide")
        and actor.id != ticket.created_by_id
    )
