"""One change of a workflow under its locks: what it may not do, and what follows from it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Count, Exists, OuterRef, Q

from guardian.errors import NotFound
from phases import claims, workflow_rules
from phases.models import BoardColumn, PhaseHistory, Task, Ticket, Workflow
from phases.models.ticket import OPEN
from phases.services.tasks import make_ready
from phases.services.waiting import admit_queued
from phases.services.wip import judge_wip
from phases.workflow_diff import Use
from phases.workflow_document import Document
from phases.workflow_yaml import WorkflowSpec, shape_faults

# What decides whether a task of a phase may be claimed now.
_READINESS = ("sequence_order", "kind", "is_terminal")


def lock_key(*, team_id: UUID, key: str) -> None:
    """One at a time makes or changes a workflow of this key, also one that is not there yet."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtext('phases workflow'), hashtext(%s))",
            [f"{team_id} {key}"],
        )


def locked_workflow(*, team_id: UUID, workflow_id: UUID) -> Workflow:
    """The workflow, locked with all its columns: no ticket comes or goes. Raises NotFound."""
    rows = Workflow.objects.filter(team_id=team_id, pk=workflow_id)
    flow = rows.select_for_update(no_key=True).first()
    if flow is None:
        raise NotFound("There is no such workflow.")
    lock_columns(flow)
    return flow


def lock_columns(flow: Workflow) -> None:
    list(
        BoardColumn.objects.select_for_update(no_key=True)
        .filter(workflow=flow)
        .order_by("id")
        .values_list("id", flat=True)
    )


def uses_of(flow: Workflow) -> dict[str, Use]:
    """How many tickets need each phase of a workflow, by its key."""
    phases = dict(flow.phases.values_list("id", "key"))
    standing = (
        Ticket.objects.filter(workflow=flow)
        .values("phase_id")
        .annotate(all=Count("id"), open=Count("id", filter=Q(status__in=OPEN)))
    )
    here = {row["phase_id"]: (row["open"], row["all"]) for row in standing}
    return {
        key: Use(*here.get(pk, (0, 0)), _ever(flow, pk, here.get(pk, (0, 0))[1]))
        for pk, key in phases.items()
    }


def _ever(flow: Workflow, phase_id: UUID, standing: int) -> int:
    """Tickets that are or were in a phase or have tasks for it."""
    was = PhaseHistory.objects.filter(ticket=OuterRef("pk")).filter(
        Q(to_phase=phase_id) | Q(from_phase=phase_id)
    )
    works = Task.objects.filter(ticket=OuterRef("pk"), phase=phase_id)
    rows = Ticket.objects.filter(workflow=flow)
    return rows.filter(Exists(was) | Exists(works)).count() or standing


def faults_of(document: Document) -> list[workflow_rules.Fault]:
    """Every fault of a workflow as it would be: of its parts' shape and between them."""
    return [*shape_faults(WorkflowSpec, document), *workflow_rules.faults_of(document)]


def settle(*, flow: Workflow, before: Document | None, after: Document) -> None:
    """After a workflow was written: its queue, its limits and whoever waits for a place."""
    if before is None:
        return
    if before["score"] != after["score"]:
        claims.weigh_anew(workflow_id=flow.pk)
    if _by(before, "phases", _READINESS) != _by(after, "phases", _READINESS):
        refresh_queue(flow=flow)
    limits = _by(before, "board_columns", ("wip_limit",))
    changed = [
        column["id"]
        for column in after["board_columns"]
        if column["id"] in limits and limits[column["id"]] != (column["wip_limit"],)
    ]
    rows = flow.columns.filter(key__in=changed).order_by("id")
    for column_id in list(rows.values_list("id", flat=True)):
        admit_queued(column_id=column_id)
        judge_wip(column_ids=[column_id])


def _by(document: Document, part: str, names: tuple[str, ...]) -> Mapping[str, tuple[Any, ...]]:
    return {row["id"]: tuple(row[name] for name in names) for row in document[part]}


def refresh_queue(*, flow: Workflow) -> None:
    """Make the queue true for every task of this workflow that nobody has."""
    tasks = Task.objects.filter(ticket__workflow=flow, status__in=("pending", "needs_work"))
    ids = list(tasks.filter(deps_left=0).order_by("id").values_list("id", flat=True))
    for start in range(0, len(ids), 500):
        make_ready(ids[start : start + 500])
