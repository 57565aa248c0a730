"""Tickets that wait: for a place in a full column, for evidence, for an answer that got lost."""

from collections.abc import Iterator
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from guardian.outbox import defer, emit
from phases import events
from phases.models import BoardColumn, Phase, PhaseGateResult, Task, Ticket
from phases.services.board import advance_ticket
from phases.services.gate import is_answered
from phases.services.tasks import make_ready
from phases.services.wip import judge_wip, untold_columns


@transaction.atomic
def admit_queued(*, column_id: UUID) -> int:
    """Give free places to the tickets queued for a column, then retry moves that waited for it.

    Those moves are jobs of their own, after this commits: each of them locks further columns,
    and whoever holds one of these and waits for ours would wait for ever.
    """
    column = BoardColumn.objects.select_for_update(no_key=True).get(pk=column_id)
    admitted = _admit(column)
    judge_wip(column_ids=[column_id])
    waiting = Ticket.objects.still_open().filter(
        workflow_id=column.workflow_id, auto_wait__column=column.key
    )
    ids = waiting.order_by("priority", "phase_entered_at").values_list("id", flat=True)
    for ticket_id in ids[:50]:
        defer(
            "phases.advance_ticket",
            queue="system",
            lock=f"phases.column:{column_id}",  # in this order, one behind the other
            queueing_lock=f"phases.advance_ticket:{ticket_id}",
            ticket_id=str(ticket_id),
        )
    return admitted


def retry_moves() -> int:
    """Ask again for every ticket that could go on: no lost event is the end of a ticket.

    Each in its own transaction; where nothing has changed nothing is asked or written. Returns
    how many moved.
    """
    free = Q(wip_limit=None) | Q(admitted_count__lt=F("wip_limit"))
    queued = BoardColumn.objects.filter(free, queued_count__gt=0)
    for column_id in list(queued.values_list("id", flat=True)):
        admit_queued(column_id=column_id)
    for column_id in untold_columns():
        _judge_alone(column_id)
    idle = [ticket.pk for ticket in _idle_tickets() if not _nothing_new(ticket)]
    return sum(bool(advance_ticket(ticket_id=ticket_id)["moved"]) for ticket_id in idle)


@transaction.atomic
def _judge_alone(column_id: UUID) -> None:
    BoardColumn.objects.select_for_update(no_key=True).get(pk=column_id)
    judge_wip(column_ids=[column_id])


def _idle_tickets() -> Iterator[Ticket]:
    """Open ones whose phase had work, or that wait with a note, and where none is open."""
    here = Task.objects.filter(ticket=OuterRef("pk"), phase=OuterRef("phase"))
    return (
        Ticket.objects.still_open()
        .filter(phase__kind=Phase.Kind.WORK)
        .filter(Exists(here.filter(visit=OuterRef("visit"))) | Q(auto_wait__isnull=False))
        .exclude(Exists(here.still_open()))
        .select_related("phase")
        .order_by("priority", "phase_entered_at")
        .iterator()
    )


def _nothing_new(ticket: Ticket) -> bool:
    """Whether what the ticket waits for, by its note, is as it was."""
    note = ticket.auto_wait or {}
    if note.get("reason") == "wip_full":
        column = BoardColumn.objects.filter(
            workflow_id=ticket.workflow_id, key=note.get("column")
        ).first()
        return column is not None and column.is_full
    if note.get("reason") == "tasks_open":
        return Task.objects.still_open().filter(ticket=ticket).exists()
    if note.get("reason") == "gate_not_passed":
        answers = PhaseGateResult.objects.filter(ticket=ticket, phase=ticket.phase)
        return is_answered(ticket=ticket, answer=answers.order_by("-id").first())
    return False


def _admit(column: BoardColumn) -> int:
    free = 200 if column.wip_limit is None else max(0, column.wip_limit - column.admitted_count)
    count = 0
    for ticket in (
        Ticket.objects.select_for_update(no_key=True).queued().filter(column=column)[:free]
    ):
        ticket.admitted_at = timezone.now()
        ticket.version += 1
        ticket.save(update_fields=["admitted_at", "version", "updated_at"])
        tasks = Task.objects.filter(ticket=ticket, status__in=["pending", "needs_work"])
        make_ready(list(tasks.order_by("id").values_list("id", flat=True)))
        emit(events.TICKET_UPDATED, subject=ticket, changed=["admitted_at"])
        count += 1
    return count
