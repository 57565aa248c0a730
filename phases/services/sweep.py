"""What happens to tasks without their holder: taken back from the silent, timed out, blocked."""

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from guardian import metrics
from guardian.outbox import emit
from phases import claims, events
from phases.models import Task, Ticket
from phases.reports import db_now
from phases.services.called_off import cancel_as_ordered
from phases.services.dependents import settle_blocks, with_dependents
from phases.services.endings import end_attempt
from phases.services.locking import locked_tasks
from phases.services.settling import end_task
from phases.services.tasks import make_ready
from phases.services.timeouts import time_out, timed_out

LOST_LEASES_UNTIL_FAILED = 3


@transaction.atomic
def sweep_leases(*, limit: int = 200) -> int:
    """Take work back from holders whose lease is over and end what outlived its cancel or timeout.

    The database clock decides. Returns how many tasks were taken back.
    """
    silent = list(
        Task.objects.select_for_update(skip_locked=True)
        .held()
        .filter(lease_expires_at__lte=Now())
        .order_by("lease_expires_at")[:limit]
    )
    for task in silent:
        _lose(task)
    overdue = list(
        Task.objects.select_for_update(skip_locked=True)
        .held()
        .filter(cancel_deadline__lte=Now())
        .order_by("id")[:limit]
    )
    for task in overdue:
        cancel_as_ordered(task)
    late = list(timed_out().select_for_update(skip_locked=True)[:limit])
    for task in late:
        time_out(task)
    return len(silent) + len(overdue) + len(late)


def _lose(task: Task) -> None:
    if task.cancel_deadline is not None:
        cancel_as_ordered(task)
        return
    held_by, never_began = task.holder_id, task.status == Task.Status.ASSIGNED
    task.lease_losses += 1
    metrics.LEASES_LOST.on_commit()
    if task.lease_losses >= LOST_LEASES_UNTIL_FAILED:
        message = f"Its holder went silent {task.lease_losses} times."
        end_attempt(task, code="lease_lost", message=message, permanent=True)
        return
    end_task(task_id=task.pk, reason="lease lost")
    if never_began:
        task.retry_count += 1
    task.not_before = db_now() + timedelta(seconds=2**task.lease_losses)
    task.give_back()
    task.save()
    emit(
        events.TASK_LEASE_LOST,
        subject=task,
        priority="high",
        ticket_id=str(task.ticket_id),
        held_by=str(held_by),
    )
    make_ready([task.pk])


@transaction.atomic
def handle_final_task(*, task_id: UUID) -> None:
    """A failed or cancelled task blocks what waits for it, by name.

    It may have been tried again since this was told: its lock comes first, then the look.
    """
    [_, *waiting] = found = with_dependents([task_id])
    locked_tasks(found)
    make_ready(settle_blocks(waiting))


def heal_queue(*, limit: int = 200) -> int:
    """Put right up to `limit` tasks that are missing in the queue, or there without cause.

    A statement that ends a task judges its tickets as they were when it began. One that was
    blocked, or came back, at the same moment leaves such a task behind. Returns how many it found.
    """
    found = claims.faults(limit=limit)
    by_ticket: dict[UUID, list[UUID]] = {}
    for task_id, ticket_id in found:
        by_ticket.setdefault(ticket_id, []).append(task_id)
    for ticket_id, task_ids in by_ticket.items():
        with transaction.atomic():
            Ticket.objects.select_for_update(of=("self",), no_key=True).get(pk=ticket_id)
            make_ready([task.pk for task in locked_tasks(task_ids)])
    return len(found)
