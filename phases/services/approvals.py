"""Approvals: a person other than its author lets a ticket begin, refuses it, or is too late."""

from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from django_fsm import can_proceed

from guardian.authority import MONITOR, Actor, require_level, require_scope
from guardian.errors import IllegalTransition, SelfReview, StaleVersion
from guardian.outbox import emit
from phases import events
from phases.errors import TicketClosed
from phases.models import Task, Ticket
from phases.models.ticket import APPROVAL_EDGES
from phases.part import require_part
from phases.services.locking import locked_ticket
from phases.services.tasks import make_ready
from phases.services.tickets import tell_approval_asked

SCOPE = "approvals:decide"


@transaction.atomic
def approve_ticket(
    *, actor: Actor, ticket_id: UUID, reason: str = "", version: int | None = None
) -> Ticket:
    """Let a ticket begin: it takes a place in its column, or waits for one, and its tasks with it.

    Only a person of level 3 other than its author may; also after the question was put aside.
    Raises NotFound, Forbidden, ScopeMissing, AuthorityTooLow, SelfReview, StaleVersion,
    TicketClosed, IllegalTransition.
    """
    ticket = _to_decide(actor, ticket_id, version)
    if not can_proceed(ticket.approve):
        raise _refused(ticket)
    ticket.approve()
    ticket.admitted_at = None if ticket.column.is_full else timezone.now()
    ticket.auto_wait = None
    _save(ticket, "admitted_at", "auto_wait")
    queued = ticket.admitted_at is None
    emit(
        events.TICKET_APPROVED,
        subject=ticket,
        actor=actor,
        reason=reason,
        number=ticket.number,
        queued=queued,
    )
    _tell_card(ticket, actor, "admitted_at")
    waiting = Task.objects.filter(ticket=ticket, status__in=["pending", "needs_work"])
    make_ready(list(waiting.order_by("id").values_list("id", flat=True)))
    return ticket


@transaction.atomic
def reject_ticket(
    *, actor: Actor, ticket_id: UUID, reason: str, version: int | None = None
) -> Ticket:
    """Refuse a ticket as it is; its author may change it and ask again.

    Raises as approve_ticket does.
    """
    ticket = _to_decide(actor, ticket_id, version)
    if not can_proceed(ticket.reject):
        raise _refused(ticket)
    ticket.reject()
    _save(ticket)
    emit(events.TICKET_REJECTED, subject=ticket, actor=actor, reason=reason, number=ticket.number)
    _tell_card(ticket, actor)
    return ticket


@transaction.atomic
def resubmit_ticket(
    *, actor: Actor, ticket_id: UUID, reason: str = "", version: int | None = None
) -> Ticket:
    """Ask again for a ticket that was refused, or that nobody answered for in time.

    Raises NotFound, NotYours, StaleVersion, TicketClosed, IllegalTransition.
    """
    ticket = locked_ticket(team_id=actor.team_id, ticket_id=ticket_id, version=version)
    require_part(actor=actor, ticket=ticket)
    if not ticket.is_open:
        raise TicketClosed(status=ticket.status)
    if not can_proceed(ticket.resubmit):
        raise _refused(ticket)
    ticket.resubmit()
    ticket.approval_expires_at = ticket.workflow.approval_ends(timezone.now())
    _save(ticket)
    tell_approval_asked(ticket=ticket, actor=actor, reason=reason)
    _tell_card(ticket, actor)
    return ticket


def put_aside_unanswered(*, limit: int = 200) -> int:
    """Park tickets that nobody decided about in time, each by itself. Returns how many.

    Nothing of them is deleted: they may still be decided, or asked for again.
    """
    due = _due().order_by("approval_expires_at").values_list("team_id", "id")
    return sum(_put_aside(team_id, pk) for team_id, pk in list(due[:limit]))


@transaction.atomic
def _put_aside(team_id: UUID, ticket_id: UUID) -> bool:
    try:
        ticket = locked_ticket(team_id=team_id, ticket_id=ticket_id)
    except StaleVersion:
        return False  # it was moved meanwhile; the next minute asks again
    # Asked again behind the lock: whoever decided, or asked anew, has committed.
    if not _due().filter(pk=ticket_id).exists():
        return False
    ticket.put_aside()
    _save(ticket)
    emit(events.TICKET_APPROVAL_TIMED_OUT, subject=ticket, number=ticket.number)
    _tell_card(ticket, None)
    return True


def _due() -> QuerySet[Ticket]:
    return Ticket.objects.still_open().filter(
        approval_status=Ticket.Approval.PENDING_REVIEW, approval_expires_at__lte=Now()
    )


def _to_decide(actor: Actor, ticket_id: UUID, version: int | None) -> Ticket:
    """The ticket, locked, where this person may decide about it."""
    ticket = locked_ticket(team_id=actor.team_id, ticket_id=ticket_id, version=version)
    require_scope(actor, SCOPE)
    require_level(actor, MONITOR, human=True)
    if ticket.created_by_id == actor.id:
        raise SelfReview("Nobody approves a ticket of their own.")
    if not ticket.is_open:
        raise TicketClosed(status=ticket.status)
    return ticket


def _refused(ticket: Ticket) -> IllegalTransition:
    state = ticket.get_approval_status_display().lower()
    allowed = [to for source, to in APPROVAL_EDGES if source == ticket.approval_status]
    return IllegalTransition(f"The approval of this ticket is: {state}.", allowed=allowed)


def _save(ticket: Ticket, *names: str) -> None:
    ticket.version += 1
    fields = ["approval_status", "approval_expires_at", "version", "updated_at", *names]
    ticket.save(update_fields=fields)


def _tell_card(ticket: Ticket, actor: Actor | None, *names: str) -> None:
    changed = sorted({"approval_status", *names})
    emit(events.TICKET_UPDATED, subject=ticket, actor=actor, changed=changed)
