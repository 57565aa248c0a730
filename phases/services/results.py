"""What a workflow looks for: a holder says it is found, somebody else decides whether it is."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django_fsm import can_proceed

from guardian.authority import MONITOR, Actor, require_level, require_scope
from guardian.errors import IllegalTransition, Invalid, NotFound, NotYours, SelfReview, StaleVersion
from guardian.outbox import emit
from phases import events
from phases.errors import NoResultWanted, TicketClosed
from phases.models import Phase, PhaseHistory, Task, Ticket, WorkflowResult
from phases.part import require_part
from phases.results import fault_in_content
from phases.services.cancels import cancel_open_tasks
from phases.services.locking import is_still_there, locked_ticket
from phases.services.moves import write_move
from phases.services.tasks import create_entry_task

VALIDATED, REJECTED = "validated", "rejected"


@transaction.atomic
def submit_result(
    *, actor: Actor, ticket_id: UUID, summary: str, evidence: list[Any] | None = None
) -> WorkflowResult:
    """Say that what the workflow looks for is found; whoever holds or held a task of it may.

    Raises NotFound, TicketClosed, NoResultWanted, NotYours, Invalid.
    """
    if reason := fault_in_content(evidence or []):
        raise Invalid(path="evidence", reason=reason)
    ticket = locked_ticket(team_id=actor.team_id, ticket_id=ticket_id)
    if not ticket.is_open:
        raise TicketClosed(status=ticket.status)
    if not ticket.workflow.has_result:
        raise NoResultWanted(f"{ticket.workflow.name} looks for no result.")
    held = Q(holder=actor.id) | Q(last_holder=actor.id)
    if not Task.objects.of_now(ticket).filter(held).exists():
        raise NotYours("Only who holds or held a task of this ticket may hand in its result.")
    result = WorkflowResult.objects.create(
        team=ticket.team,
        ticket=ticket,
        submitted_by=actor.user,
        summary=summary,
        evidence=evidence or [],
    )
    emit(
        events.RESULT_SUBMITTED,
        subject=result,
        actor=actor,
        ticket_id=str(ticket.pk),
        summary=summary[:500],
    )
    return result


@transaction.atomic
def decide_result(
    *, actor: Actor, ticket_id: UUID, result_id: UUID, verdict: str, reason: str = ""
) -> WorkflowResult:
    """Validate or reject a result of somebody else; for people, and agents of level 3.

    Where the workflow says stop_all, a validated one ends the ticket: its open tasks are called
    off, whoever holds them, and it enters the done phase past edges and gates.
    Raises NotFound, ScopeMissing, AuthorityTooLow, SelfReview, IllegalTransition, TicketClosed,
    StaleVersion.
    """
    require_scope(actor, "approvals:decide")
    if not actor.is_human:
        require_level(actor, MONITOR)
    done = Phase.objects.filter(
        workflow__tickets=ticket_id, team=actor.team, kind=Phase.Kind.DONE
    ).first()
    ticket = locked_ticket(
        team_id=actor.team_id, ticket_id=ticket_id, also=[done.column_id] if done else []
    )
    result = (
        WorkflowResult.objects.select_for_update(of=("self",))
        .select_related("submitted_by")
        .filter(pk=result_id, ticket=ticket)
        .first()
    )
    if result is None:
        raise NotFound("There is no such result.")
    if result.submitted_by_id == actor.id:
        raise SelfReview
    if not can_proceed(result.validate):
        raise IllegalTransition(f"This result is {result.status}.", allowed=[])
    stops = verdict == VALIDATED and ticket.workflow.on_result_found == "stop_all"
    if stops:
        _check_can_end(ticket, done)
    if verdict == VALIDATED:
        result.validate()
    else:
        result.reject()
    result.decided_by, result.decided_at, result.reason = actor.user, timezone.now(), reason
    result.save()
    emit(
        events.RESULT_DECIDED,
        subject=result,
        actor=actor,
        reason=reason,
        ticket_id=str(ticket.pk),
        verdict=verdict,
        stops=stops,
    )
    if stops and done is not None:
        _stop(ticket, done, actor, reason)
    return result


def _check_can_end(ticket: Ticket, done: Phase | None) -> None:
    if not ticket.is_open:
        raise TicketClosed(status=ticket.status)
    if done is not None and not is_still_there(done):
        raise StaleVersion(current_etag=f'"v{ticket.version}"')


def _stop(ticket: Ticket, done: Phase, actor: Actor, reason: str) -> None:
    """A ticket is one run: with its answer found, all that is left of it ends."""
    cancel_open_tasks(ticket=ticket, actor=actor, reason="The result of the workflow is found.")
    _enter_done(actor=actor, ticket=ticket, target=done, reason=reason)


def _enter_done(*, actor: Actor, ticket: Ticket, target: Phase, reason: str) -> None:
    """Into the done phase, past edges, gate and limit: what the ticket was for is found.

    The caller holds the locks of the ticket and of both columns, and has ended all its tasks.
    """
    old_column = ticket.column
    write_move(
        actor=actor,
        ticket=ticket,
        target=target,
        column=target.column,
        kind=PhaseHistory.Kind.RESULT,
        gate=None,
        options={
            "reason": reason,
            "via": PhaseHistory.Via.API,
            "override": False,
            "force": False,
        },
        queued=False,
    )
    if old_column.pk != target.column_id and old_column.wip_limit is not None:
        emit(events.BOARD_SLOT_FREED, subject=old_column, column=old_column.key)


@transaction.atomic
def generate_tasks(*, actor: Actor, ticket_id: UUID) -> list[Task]:
    """The entry task of a ticket's phase, where none of that phase is open: one, or none.

    Raises NotFound, NotYours, TicketClosed, StaleVersion.
    """
    ticket = locked_ticket(team_id=actor.team_id, ticket_id=ticket_id)
    require_part(actor=actor, ticket=ticket)
    if not ticket.is_open:
        raise TicketClosed(status=ticket.status)
    if ticket.phase.kind != Phase.Kind.WORK:
        return []
    made = create_entry_task(actor=actor, ticket=ticket, phase=ticket.phase)
    return [] if made is None else [made]
