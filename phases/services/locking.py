"""Locks on tickets, always behind their columns, and on tasks, behind their ready rows."""

from collections.abc import Iterable
from uuid import UUID

from django.db import transaction

from guardian.errors import NotFound, StaleVersion
from phases.models import BoardColumn, Phase, ReadyTask, Task, Ticket


def locked_ticket(
    *, team_id: UUID, ticket_id: UUID, version: int | None = None, also: Iterable[UUID] = ()
) -> Ticket:
    """The ticket, locked behind its column and the further columns of `also`.

    Raises NotFound, and StaleVersion where it is not at `version` or has left its column meanwhile.
    """
    column_id = (
        Ticket.objects.filter(pk=ticket_id, team_id=team_id)
        .values_list("column_id", flat=True)
        .first()
    )
    if column_id is None:
        raise NotFound("There is no such ticket.")
    wanted = BoardColumn.objects.filter(pk__in={column_id, *also})
    locked = {column.pk for column in wanted.select_for_update(no_key=True).order_by("id")}
    ticket = (
        Ticket.objects.select_for_update(of=("self",), no_key=True)
        .select_related("phase", "column", "workflow", "previous_phase", "team")
        .get(pk=ticket_id)
    )
    if ticket.column_id not in locked or version not in {None, ticket.version}:
        raise StaleVersion(current_etag=f'"v{ticket.version}"')
    return ticket


def is_still_there(phase: Phase) -> bool:
    """Whether the phase is as it was read, in its column, now that this column is locked.

    Whoever edits a workflow holds all its columns, so the answer stays true until they are let go.
    """
    return Phase.objects.filter(pk=phase.pk, column_id=phase.column_id).exists()


def locked_tasks(task_ids: Iterable[UUID]) -> list[Task]:
    """These tasks in the order of their ids, locked behind their rows in the queue.

    A claim locks a ready row before its task. A row that appears after our look, put there by
    whoever had the task until we got it, would be locked behind its task: then all is let go and
    taken again.
    """
    ids = list(task_ids)
    if not ids:
        return []
    while True:
        before = transaction.savepoint()
        rows = ReadyTask.objects.filter(pk__in=ids).order_by("pk")
        held = list(rows.select_for_update(of=("self",)).values_list("pk", flat=True))
        tasks = list(
            Task.objects.filter(pk__in=ids)
            .order_by("pk")
            .select_for_update(of=("self",), no_key=True)
        )
        if not rows.exclude(pk__in=held).exists():
            transaction.savepoint_commit(before)
            return tasks
        transaction.savepoint_rollback(before)
