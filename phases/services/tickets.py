"""Tickets: opened, edited, called off."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from guardian.authority import MONITOR, Actor, require_level
from guardian.models import User
from guardian.outbox import emit
from phases import claims, events
from phases.context import changed_context, check_context
from phases.errors import Invalid, TicketClosed, WorkflowNotFound
from phases.models import BoardColumn, Phase, PhaseHistory, Task, Ticket, Workflow
from phases.part import require_part
from phases.services.cancels import cancel_open_tasks
from phases.services.locking import is_still_there, locked_tasks, locked_ticket
from phases.services.powers import check_approved_text
from phases.services.restarts import restart, restart_columns
from phases.services.tasks import create_entry_task


@transaction.atomic
def open_ticket(
    *,
    actor: Actor,
    title: str,
    workflow: str | None = None,
    description: str = "",
    phase: str | None = None,
    priority: int = Ticket.Priority.MEDIUM,
    deadline: datetime | None = None,
    labels: list[str] | None = None,
    assignee: UUID | None = None,
    context: dict[str, Any] | None = None,
) -> Ticket:
    """A new ticket with its history row and its phase's first task, all or none.

    Raises WorkflowNotFound, Invalid, ReservedContextKey, AuthorityTooLow.
    """
    flow, start, column = _locked_start(actor, workflow, phase)
    check_context(actor=actor, workflow=flow, given=context or {}, keys=flow.context_kinds)
    now = timezone.now()
    waits = flow.approval_required
    ticket = Ticket.objects.create(
        team=actor.team,
        workflow=flow,
        number=_next_number(actor.team_id),
        title=title,
        description=description,
        phase=start,
        column=column,
        phase_entered_at=now,
        admitted_at=None if waits or column.is_full else now,
        approval_status=Ticket.Approval.PENDING_REVIEW if waits else Ticket.Approval.NOT_REQUIRED,
        approval_expires_at=flow.approval_ends(now) if waits else None,
        priority=priority,
        rank=now.timestamp(),
        deadline=deadline,
        assignee=_assignee(actor, assignee),
        labels=labels or [],
        context=context or {},
        created_by=actor.user,
    )
    PhaseHistory.objects.create(
        team=actor.team,
        ticket=ticket,
        to_phase=start,
        kind=PhaseHistory.Kind.CREATE,
        via=PhaseHistory.Via.API,
        transitioned_by=actor.user,
        ticket_version=ticket.version,
    )
    emit(
        events.TICKET_CREATED,
        subject=ticket,
        actor=actor,
        number=ticket.number,
        workflow=flow.key,
        phase=start.key,
    )
    if waits:
        tell_approval_asked(ticket=ticket, actor=actor)
    create_entry_task(actor=actor, ticket=ticket, phase=start)
    return ticket


def tell_approval_asked(*, ticket: Ticket, actor: Actor, reason: str = "") -> None:
    until = ticket.approval_expires_at
    emit(
        events.TICKET_APPROVAL_REQUESTED,
        subject=ticket,
        actor=actor,
        reason=reason,
        number=ticket.number,
        expires_at=until.isoformat() if until else None,
    )


def _workflow(actor: Actor, key: str | None) -> Workflow:
    flows = Workflow.objects.for_team(actor.team_id)
    found = flows.filter(key=key).first() if key else flows.filter(is_default=True).first()
    if found is None:
        known = ", ".join(flows.order_by("key").values_list("key", flat=True))
        raise WorkflowNotFound(path="workflow", reason=f"{key!r} is unknown; known: {known}")
    return found


def _locked_start(
    actor: Actor, workflow: str | None, phase: str | None
) -> tuple[Workflow, Phase, BoardColumn]:
    """Where a new ticket begins, with the column locked; looked for anew while it is edited."""
    while True:
        flow = _workflow(actor, workflow)
        start = _start_phase(actor, flow, phase)
        column = BoardColumn.objects.filter(pk=start.column_id).select_for_update(no_key=True)
        locked = column.first()
        if locked is not None and is_still_there(start):
            return flow, start, locked


def _start_phase(actor: Actor, flow: Workflow, key: str | None) -> Phase:
    phase = flow.phases.filter(key=key or flow.initial_phase).first()
    if phase is None:
        raise Invalid(path="phase", reason=f"{key!r} is no phase of workflow {flow.key}")
    first = flow.phases.get(key=flow.initial_phase)
    if phase.kind != Phase.Kind.WORK:
        raise Invalid(path="phase", reason="a ticket cannot start there")
    if phase.sequence_order > first.sequence_order:
        require_level(actor, 4)
    return phase


def _assignee(actor: Actor, user_id: UUID | None) -> User | None:
    if user_id is None:
        return None
    user = User.objects.filter(pk=user_id, memberships__team=actor.team).first()
    if user is None:
        raise Invalid(path="assignee", reason="is no member of this team")
    return user


def _next_number(team_id: UUID) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO phases_ticketcounter (team_id, last) VALUES (%s, 1)"
            " ON CONFLICT (team_id) DO UPDATE SET last = phases_ticketcounter.last + 1"
            " RETURNING last",
            [team_id],
        )
        row = cursor.fetchone()
    assert row is not None  # noqa: S101  RETURNING of an upsert always gives its row
    return int(row[0])


@transaction.atomic
def update_ticket(
    *,
    actor: Actor,
    ticket_id: UUID,
    version: int | None,
    changes: dict[str, Any],
    via: str = PhaseHistory.Via.API,
) -> Ticket:
    """Edit title, description, priority, deadline, labels, assignee or context.

    Keys of `context` replace those of the ticket, null removes one. Where the workflow's work is
    about such a key, the ticket begins anew in its first phase.
    Raises NotFound, StaleVersion, NotYours, TicketClosed, Invalid, WorkRunning.
    """
    asked = "context" in changes
    columns = restart_columns(team_id=actor.team_id, ticket_id=ticket_id) if asked else []
    ticket = locked_ticket(
        team_id=actor.team_id, ticket_id=ticket_id, version=version, also=columns
    )
    require_part(actor=actor, ticket=ticket)
    if not ticket.is_open:
        raise TicketClosed(status=ticket.status)
    replaced: list[str] = []
    given = changes.get("context", {})
    if asked:
        context, replaced = changed_context(ticket, given)
        check_context(actor=actor, workflow=ticket.workflow, given=given, keys=replaced)
        changes = {**changes, "context": context}
    if "assignee" in changes:
        changes = {**changes, "assignee": _assignee(actor, changes["assignee"])}
    check_approved_text(actor, ticket, changes)
    before, old_priority = _told(ticket, changes, replaced), ticket.priority
    for name, value in changes.items():
        setattr(ticket, name, value)
    after = _told(ticket, changes, replaced)
    if replaced:
        restart(actor=actor, ticket=ticket, replaced=replaced, locked=columns, via=via)
    else:
        ticket.version += 1
        ticket.save(update_fields=[*changes, "version", "updated_at"])
    if "priority" in changes or "deadline" in changes:
        _pass_on(ticket, old_priority)
    emit(
        events.TICKET_UPDATED,
        subject=ticket,
        actor=actor,
        before=before,
        after=after,
        changed=sorted(changes),
        keys=sorted(given),
    )
    return ticket


def _told(ticket: Ticket, names: Iterable[str], keys: list[str]) -> dict[str, Any]:
    """The fields as an event keeps them; of the context what the work is about, in full."""
    return {
        name: {key: ticket.context.get(key) for key in keys}
        if name == "context"
        else str(getattr(ticket, name))
        for name in names
    }


def _pass_on(ticket: Ticket, old_priority: int) -> None:
    """To all that is open: what is held now may come back into the queue.

    Tasks with a priority of their own keep it.
    """
    still_open = Task.objects.still_open().filter(ticket=ticket)
    ids = [task.pk for task in locked_tasks(still_open.values_list("id", flat=True))]
    if ticket.priority != old_priority:
        rows = Task.objects.filter(pk__in=ids, priority=old_priority)
        rows.update(priority=ticket.priority)
    claims.refresh(ids)


@transaction.atomic
def cancel_ticket(*, actor: Actor, ticket_id: UUID, reason: str) -> Ticket:
    """Call a ticket off with its open tasks. Its creator may, or level 3.

    Raises NotFound, NotYours, TicketClosed, AuthorityTooLow.
    """
    ticket = _to_end(actor, ticket_id)
    if ticket.created_by_id != actor.id:
        require_level(actor, MONITOR)
    _end(ticket, actor, events.TICKET_CANCELLED, reason)
    return ticket


@transaction.atomic
def fail_ticket(*, actor: Actor, ticket_id: UUID, reason: str) -> Ticket:
    """Give a ticket up, with its open tasks; needs level 3.

    Raises NotFound, NotYours, TicketClosed, AuthorityTooLow.
    """
    ticket = _to_end(actor, ticket_id)
    require_level(actor, MONITOR)
    _end(ticket, actor, events.TICKET_FAILED, reason)
    return ticket


def _to_end(actor: Actor, ticket_id: UUID) -> Ticket:
    ticket = locked_ticket(team_id=actor.team_id, ticket_id=ticket_id)
    require_part(actor=actor, ticket=ticket)
    return ticket


def _end(ticket: Ticket, actor: Actor, kind: str, reason: str) -> None:
    if not ticket.is_open:
        raise TicketClosed(status=ticket.status)
    cancel_open_tasks(ticket=ticket, actor=actor, reason=reason)
    if kind == events.TICKET_FAILED:
        ticket.fail()
    else:
        ticket.cancel()
    ticket.version += 1
    ticket.save(update_fields=["status", "version", "updated_at"])
    emit(kind, subject=ticket, actor=actor, reason=reason, number=ticket.number)
    emit(events.BOARD_SLOT_FREED, subject=ticket.column, column=ticket.column.key)
