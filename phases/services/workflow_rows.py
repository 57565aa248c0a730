"""A workflow's document written as rows: only what differs is touched."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.models import Model

from guardian.models import Team
from phases.models import BoardColumn, GateRequirement, Phase, Workflow
from phases.scoring import DEFAULT
from phases.workflow_document import PHASE_FIELDS, Document
from phases.workflow_yaml import Limits

_GATE = ("kind", "parameters", "min_evidence", "required")


def write_rows(*, team: Team, document: Document, is_default: bool = False) -> Workflow:
    """Make the stored workflow of this key what the document says; new rows where there are none.

    Under the locks of the workflow and its columns, or for a workflow nobody knows yet.
    """
    workflow = Workflow.objects.filter(team=team, key=document["key"]).first()
    if workflow is None:
        workflow = Workflow(team=team, key=document["key"], is_default=is_default)
    put(workflow, _workflow_values(document))
    columns = _write_columns(workflow, document)
    phases = _write_phases(workflow, document, columns)
    _write_gates(document, phases)
    Phase.objects.filter(workflow=workflow).exclude(key__in=phases).delete()
    BoardColumn.objects.filter(workflow=workflow).exclude(key__in=columns).delete()
    link(phases=phases.values(), columns=columns.values())
    return workflow


def put(row: Model, values: dict[str, Any]) -> list[str]:
    """Set what differs and save it as one more version; the names of what was changed.

    A field's old value is read from the row, so the row must be fresh or new.
    """
    changed = [name for name, value in values.items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, values[name])
    if row._state.adding:  # noqa: SLF001  Django's word for a row that is not stored yet
        row.save()
    elif changed:
        row.version += 1  # type: ignore[attr-defined]  # each of these models counts its edits
        row.save(update_fields=[*changed, "version", "updated_at"])
    return changed


def _workflow_values(document: Document) -> dict[str, Any]:
    plain = (
        "name",
        "description",
        "initial_phase",
        "has_result",
        "result_criteria",
        "on_result_found",
    )
    return {
        **{name: document[name] for name in plain},
        "approval_required": document["approval"]["required"],
        "approval_timeout_minutes": document["approval"]["timeout_minutes"],
        "score": _own(document["score"], {n: getattr(DEFAULT, n) for n in document["score"]}),
        "limits": _own(document["limits"], Limits().model_dump()),
        "context_kinds": document.get("context", {}),
    }


def _own(given: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    """What a workflow says otherwise than Lemnos would; the rest follows Lemnos."""
    return {name: value for name, value in given.items() if value != usual.get(name)}


def _by_key(rows: Iterable[Any]) -> dict[str, Any]:
    return {row.key: row for row in rows}


def _write_columns(workflow: Workflow, document: Document) -> dict[str, BoardColumn]:
    have = _by_key(BoardColumn.objects.filter(workflow=workflow))
    made = {}
    for item in document["board_columns"]:
        column = have.get(item["id"]) or BoardColumn(
            team_id=workflow.team_id, workflow=workflow, key=item["id"]
        )
        put(
            column,
            {
                "name": item["name"],
                "position": item["sequence_order"],
                "wip_limit": item["wip_limit"],
                "is_terminal": item["is_terminal"],
                "auto_transition_to": item["auto_transition_to"] or "",
                "color": item["color"],
            },
        )
        made[column.key] = column
    return made


def _write_phases(
    workflow: Workflow, document: Document, columns: dict[str, BoardColumn]
) -> dict[str, Phase]:
    home = {key: c["id"] for c in document["board_columns"] for key in c["phase_mapping"]}
    have = _by_key(Phase.objects.filter(workflow=workflow))
    made = {}
    for item in document["phases"]:
        phase = have.get(item["id"]) or Phase(
            team_id=workflow.team_id, workflow=workflow, key=item["id"]
        )
        column = columns[home[phase.key]]
        values = {
            **{name: item[name] for name in PHASE_FIELDS},
            "review_required": item["review"]["required"],
            "max_review_iterations": item["review"]["max_iterations"],
            "configuration": item["configuration"],
            "column_id": column.pk,
        }
        put(phase, values)
        phase.column = column
        made[phase.key] = phase
    return made


def _write_gates(document: Document, phases: dict[str, Phase]) -> None:
    rows = GateRequirement.objects.filter(phase__in=phases.values())
    have: dict[tuple[UUID, str], GateRequirement] = {(row.phase_id, row.key): row for row in rows}
    for item in document["phases"]:
        phase = phases[item["id"]]
        for gate in item["gate"]:
            row = have.pop((phase.pk, gate["key"]), None) or GateRequirement(
                team_id=phase.team_id, phase=phase, key=gate["key"]
            )
            put(row, {name: gate[name] for name in _GATE})
    GateRequirement.objects.filter(pk__in=[row.pk for row in have.values()]).delete()


def link(*, phases: Iterable[Phase], columns: Iterable[BoardColumn]) -> None:
    """The next column of a phase: its column's pointer, else that of the lowest forward phase.

    The phases come with their columns.
    """
    by_key = {phase.key: phase for phase in phases}
    pointers = {column.key: column for column in columns}
    for phase in by_key.values():
        pointer = pointers.get(phase.column.auto_transition_to)
        forward = sorted(
            (
                by_key[key]
                for key in phase.allowed_transitions
                if key in by_key
                and by_key[key].sequence_order > phase.sequence_order
                and by_key[key].kind != Phase.Kind.BLOCKED
            ),
            key=lambda p: p.sequence_order,
        )
        target = pointer or (forward[0].column if forward else None)
        if phase.next_column_id != (target.pk if target else None):
            phase.next_column = target
            phase.save(update_fields=["next_column"])
