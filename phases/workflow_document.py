"""A workflow's rows as one document of plain values, and as the YAML text it is exported as.

The document has every key in export order, so equal workflows are equal documents and equal bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import yaml

from phases.models import BoardColumn, GateRequirement, Phase, Workflow
from phases.scoring import weights_of
from phases.workflow_yaml import Limits, WorkflowSpec

FORMAT = 1
Document = dict[str, Any]
PHASE_FIELDS = (
    "sequence_order", "name", "description", "kind", "allowed_transitions", "is_terminal",
    "done_definitions", "expected_outputs", "phase_prompt", "next_steps_guide", "entry_task",
)  # fmt: skip
_DEFINITION = ("key", "text", "proved_by", "required")
_OUTPUT = ("type", "pattern", "required", "validation_rule")
_TASK = ("task_type", "title", "required_capabilities", "timeout_seconds")
_GATE = ("key", "kind", "parameters", "min_evidence", "required")


def document_of(workflow: Workflow) -> Document:
    """What is stored of a workflow, as its YAML says it; reads all of its rows."""
    columns = list(workflow.columns.order_by("position"))
    phases = list(workflow.phases.order_by("sequence_order"))
    gates = GateRequirement.objects.filter(phase__workflow=workflow).order_by("created_at", "id")
    by_phase: dict[Any, list[GateRequirement]] = {}
    for gate in gates:
        by_phase.setdefault(gate.phase_id, []).append(gate)
    return {
        "format": FORMAT,
        "key": workflow.key,
        "name": workflow.name,
        "description": workflow.description,
        "initial_phase": workflow.initial_phase,
        "has_result": workflow.has_result,
        "result_criteria": workflow.result_criteria,
        "on_result_found": workflow.on_result_found,
        "approval": {
            "required": workflow.approval_required,
            "timeout_minutes": workflow.approval_timeout_minutes,
        },
        "score": _numbers(asdict(weights_of(workflow.score))),
        "limits": {**Limits().model_dump(), **workflow.limits},
        **({"context": workflow.context_kinds} if workflow.context_kinds else {}),
        "phases": [_phase(phase, by_phase.get(phase.pk, [])) for phase in phases],
        "board_columns": [_column(column, phases) for column in columns],
    }


def _phase(phase: Phase, gates: list[GateRequirement]) -> Document:
    told = {"id": phase.key, **{name: getattr(phase, name) for name in PHASE_FIELDS}}
    told["done_definitions"] = [_ordered(row, _DEFINITION) for row in phase.done_definitions]
    told["expected_outputs"] = [_ordered(row, _OUTPUT) for row in phase.expected_outputs]
    told["entry_task"] = _ordered(phase.entry_task, _TASK) if phase.entry_task else None
    told["review"] = {
        "required": phase.review_required,
        "max_iterations": phase.max_review_iterations,
    }
    told["gate"] = [{name: getattr(gate, name) for name in _GATE} for gate in gates]
    told["configuration"] = phase.configuration
    return told


def _column(column: BoardColumn, phases: list[Phase]) -> Document:
    return {
        "id": column.key,
        "name": column.name,
        "sequence_order": column.position,
        "phase_mapping": [phase.key for phase in phases if phase.column_id == column.pk],
        "wip_limit": column.wip_limit,
        "is_terminal": column.is_terminal,
        "auto_transition_to": column.auto_transition_to or None,
        "color": column.color,
    }


def _ordered(row: Mapping[str, Any], names: tuple[str, ...]) -> Document:
    """jsonb keeps no order of keys; ours is that of the file."""
    return {name: row.get(name) for name in names if name in row}


def canonical(spec: WorkflowSpec) -> Document:
    """A checked text as `document_of` would tell it, were it stored."""
    document = spec.model_dump()
    document["score"] = _numbers(document["score"])
    if not document["context"]:
        del document["context"]
    document["phases"].sort(key=lambda phase: phase["sequence_order"])
    document["board_columns"].sort(key=lambda column: column["sequence_order"])
    order = {phase["id"]: phase["sequence_order"] for phase in document["phases"]}
    for column in document["board_columns"]:
        column["phase_mapping"].sort(key=lambda key: order.get(key, 0))
        column["auto_transition_to"] = column["auto_transition_to"] or None
    return document


def _numbers(weights: Mapping[str, float]) -> dict[str, float]:
    """7200.0 is written as people do."""
    return {name: int(value) if value == int(value) else value for name, value in weights.items()}


def digest_of(value: Any) -> str:
    """SHA-256 over canonical JSON: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


# As text

_FOLD = 100


class _Dumper(yaml.SafeDumper):
    """Lists stand two spaces in, long lines are folded where nothing is lost by it."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:  # noqa: FBT001, FBT002  the library's signature
        return super().increase_indent(flow, False)  # noqa: FBT003  as above

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    lines = value.split("\n")
    plain = value.isprintable() or (len(lines) > 1 and all(map(str.isprintable, lines)))
    style = None
    if not plain or value != value.strip() or "\ufeff" in value:
        style = '"' if value else None
    elif len(lines) > 1:
        style = "|" if all(line == line.strip() for line in lines) else '"'
    elif len(value) > _FOLD:
        style = ">" if "  " not in value and value.replace(" ", "").isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def dump(document: Document) -> str:
    """The document as YAML: UTF-8, LF, two spaces; read again it is the same document."""
    text: str = yaml.dump(
        document,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        indent=2,
        width=_FOLD,
        line_break="\n",
    )
    return text
