"""Phases and columns are edited here, one at a time; a workflow's rules hold after each edit."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any
from uuid import UUID

from django.db import transaction

from guardian.authority import Actor
from guardian.errors import Invalid, NotFound, StaleVersion
from guardian.outbox import emit
from phases import events
from phases.errors import PhaseInUse
from phases.models import BoardColumn, Phase, Ticket, Workflow
from phases.services.workflow_edits import faults_of, locked_workflow, settle, uses_of
from phases.services.workflow_rows import write_rows
from phases.workflow_diff import Use, strands
from phases.workflow_document import Document, document_of

NAMED_TICKETS = 20
# The names that a phase and a column have by themselves, and their places in a workflow's file.
_PHASE_PATHS = {
    "review_required": "review.required",
    "max_review_iterations": "review.max_iterations",
}
_COLUMN_NAMES = {"position": "sequence_order"}
_TOLD = {path: name for name, path in _PHASE_PATHS.items()}


@transaction.atomic
def change_phase(
    *, actor: Actor, phase_id: UUID, version: int | None, changes: dict[str, Any], reason: str = ""
) -> Phase:
    """Edit a phase; `column` names its column's key. Claims show it from now on.

    Raises NotFound, StaleVersion, Invalid, PhaseInUse.
    """
    row = _mine(Phase, actor, phase_id)
    flow = locked_workflow(team_id=actor.team_id, workflow_id=row.workflow_id)
    row = Phase.objects.select_related("column", "workflow").get(pk=phase_id)
    _check_version(row, version)

    def edit(document: Document) -> None:
        phase = next(item for item in document["phases"] if item["id"] == row.key)
        for name, value in changes.items():
            if name == "column":
                _rehome(document, row.key, value)
            elif name in _PHASE_PATHS:
                phase["review"][_PHASE_PATHS[name].partition(".")[2]] = value
            else:
                phase[name] = value

    use = uses_of(flow)[row.key]
    before = _facts(row, changes)
    if _edit(flow, ("phases", row.key), edit, check=lambda a, b: _check_use(row, use, a, b)):
        row = Phase.objects.select_related("column", "workflow").get(pk=phase_id)
        _tell(events.PHASE_UPDATED, row, actor, reason, before)
    return row


@transaction.atomic
def change_column(
    *, actor: Actor, column_id: UUID, version: int | None, changes: dict[str, Any], reason: str = ""
) -> BoardColumn:
    """Edit a column: a higher limit lets queued tickets in at once, a lower one may be exceeded.

    Raises NotFound, StaleVersion, Invalid.
    """
    row = _mine(BoardColumn, actor, column_id)
    flow = locked_workflow(team_id=actor.team_id, workflow_id=row.workflow_id)
    row = BoardColumn.objects.select_related("workflow").get(pk=column_id)
    _check_version(row, version)

    def edit(document: Document) -> None:
        column = next(item for item in document["board_columns"] if item["id"] == row.key)
        for name, value in changes.items():
            column[_COLUMN_NAMES.get(name, name)] = value
        column["auto_transition_to"] = column["auto_transition_to"] or None

    before = _facts(row, changes)
    if _edit(flow, ("board_columns", row.key), edit):
        row = BoardColumn.objects.select_related("workflow").get(pk=column_id)
        _tell(events.BOARD_COLUMN_UPDATED, row, actor, reason, before)
    return row


def _mine(model: Any, actor: Actor, pk: UUID) -> Any:
    row = model.objects.filter(pk=pk, team_id=actor.team_id).first()
    if row is None:
        raise NotFound(f"There is no such {'phase' if model is Phase else 'column'}.")
    return row


def _check_version(row: Any, version: int | None) -> None:
    if version not in {None, row.version}:
        raise StaleVersion(current_etag=f'"v{row.version}"')


def _rehome(document: Document, key: str, column: Any) -> None:
    """An unknown column leaves the phase in none, which is a fault of its own."""
    for item in document["board_columns"]:
        item["phase_mapping"] = [one for one in item["phase_mapping"] if one != key]
        if item["id"] == column:
            item["phase_mapping"].append(key)


def _edit(
    flow: Workflow,
    where: tuple[str, str],
    edit: Callable[[Document], None],
    check: Callable[[Document, Document], None] = lambda _before, _after: None,
) -> bool:
    """Whether the edit changed anything. Raises Invalid for what was no fault before."""
    before = document_of(flow)
    after = deepcopy(before)
    edit(after)
    if after == before:
        return False
    known = set(faults_of(before))
    faults = [fault for fault in faults_of(after) if fault not in known]
    if faults:
        raise _invalid(faults, after, where)
    check(before, after)
    write_rows(team=flow.team, document=after)
    settle(flow=flow, before=before, after=after)
    return True


def _invalid(faults: list[Any], document: Document, where: tuple[str, str]) -> Invalid:
    part, key = where
    place = next(n for n, item in enumerate(document[part]) if item["id"] == key)
    named = [
        {"path": _path_of(path, part, place), "code": code, "message": message}
        for path, code, message in faults
    ]
    first = (
        f"{named[0]['path']}: {named[0]['message']}" if named[0]["path"] else named[0]["message"]
    )
    return Invalid(first, errors=named)


def _path_of(path: tuple[str | int, ...], part: str, place: int) -> str:
    """As the body has it: what is of the edited row without the way to it."""
    if path[:2] != (part, place):
        return ".".join(map(str, path))
    told = ".".join(map(str, path[2:]))
    if part == "phases" and told == "id":
        return "column"  # a phase in no column is the one fault its key can have
    if part == "board_columns" and told == "sequence_order":
        return "position"
    return _TOLD.get(told, told)


def _check_use(row: Phase, use: Use, before: Document, after: Document) -> None:
    old, new = (_phase_of(document, row.key) for document in (before, after))
    found = [name for name, _ in strands(old, new, use)]
    if not found:
        return
    tickets = Ticket.objects.filter(phase=row).order_by("number")
    numbers = list(tickets.values_list("number", flat=True)[:NAMED_TICKETS])
    are = "1 ticket stands" if use.standing == 1 else f"{use.standing} tickets stand"
    raise PhaseInUse(
        f"{are} in {row.name}: {' and '.join(found)} can change when they have left it.",
        tickets=numbers,
        count=use.standing,
        fields=found,
        remedy="Move these tickets to another phase first, or leave these fields out.",
    )


def _phase_of(document: Document, key: str) -> Document:
    phase = next(item for item in document["phases"] if item["id"] == key)
    homes = (c["id"] for c in document["board_columns"] if key in c["phase_mapping"])
    return {**phase, "column": next(homes, None)}


def _facts(row: Any, names: dict[str, Any]) -> dict[str, Any]:
    return {
        name: row.column.key if name == "column" else getattr(row, name) for name in sorted(names)
    }


def _tell(kind: str, row: Any, actor: Actor, reason: str, before: dict[str, Any]) -> None:
    after = _facts(row, before)
    changed = [name for name in after if before[name] != after[name]]
    emit(
        kind,
        subject=row,
        actor=actor,
        reason=reason,
        before={name: before[name] for name in changed},
        after={name: after[name] for name in changed},
        changed=changed,
        key=row.key,
        workflow=row.workflow.key,
        workflow_id=str(row.workflow_id),
    )
