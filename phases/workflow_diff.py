"""What an import would do to a workflow: a plan over documents, which touches no row.

Paths are those of people: `phases.PHASE_DESIGN.name`, `phases.PHASE_DESIGN.gate.review.kind`,
`board_columns.testing.wip_limit`, and `workflow` for what stands at the top.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from phases.workflow_document import Document, digest_of

WORKFLOW = "workflow"
_NESTED = ("approval", "score", "limits", "context")
_NOT_COMPARED = ("format", "key", "phases", "board_columns")


@dataclass(frozen=True, slots=True)
class Use:
    """How many tickets need a phase: open ones in it, all in it, all that ever were or have work
    for it."""

    open: int = 0
    standing: int = 0
    ever: int = 0


NO_USE = Use()


@dataclass(slots=True)
class Plan:
    """What is made, changed, left, taken away, and what stays against the text; `document` is the
    workflow as it will be."""

    document: Document
    creates: list[str] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    keeps: list[str] = field(default_factory=list)
    deletes: list[str] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)
    digest: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "creates": self.creates,
            "updates": self.updates,
            "keeps": self.keeps,
            "deletes": self.deletes,
            "refused": self.refused,
            "digest": self.digest,
        }

    @property
    def changes_something(self) -> bool:
        return bool(self.creates or self.updates or self.deletes)


@dataclass(slots=True)
class _Parts:
    """A document as rows by key; a phase names its column, a column no phases."""

    top: Document
    phases: dict[str, Document]
    gates: dict[str, dict[str, Document]]
    columns: dict[str, Document]


def plan(
    current: Document | None, wanted: Document, *, overwrite: bool, uses: Mapping[str, Use]
) -> Plan:
    """What the text `wanted` makes of `current`; without `overwrite` what is there stays.

    A phase that tickets need stays, and so does its column; of a phase with tickets in it so do
    its column, its kind and a way out.
    """
    want = _parts(wanted)
    if current is None:
        made = Plan(document=deepcopy(wanted))
        made.creates = [WORKFLOW, *(path for path, _ in _rows(want))]
        made.digest = digest_of([None, wanted])
        return made
    have = _parts(current)
    merged, refused = _over(have, want, uses) if overwrite else (_beside(have, want), [])
    made = Plan(document=_assembled(merged), refused=refused)
    _compare(made, have, merged)
    made.digest = digest_of([current, made.document, refused])
    return made


def strands(
    have: Mapping[str, Any], want: Mapping[str, Any], use: Use
) -> Iterator[tuple[str, Use]]:
    """Fields of a phase (with its `column`) whose change would strand the tickets in it."""
    if use.standing and have.get("column") != want.get("column"):
        yield "column", use
    if use.open:
        for name in ("kind", "is_terminal"):
            if have[name] != want[name]:
                yield name, use
        if have["allowed_transitions"] and not want["allowed_transitions"]:
            yield "allowed_transitions", use


def in_use(path: str, use: Use) -> dict[str, Any]:
    """A refusal: {path, reason, tickets}."""
    if use.standing:
        stand = "1 ticket stands" if use.standing == 1 else f"{use.standing} tickets stand"
        return {"path": path, "reason": f"{stand} in it", "tickets": use.standing}
    count = "1 ticket" if use.ever == 1 else f"{use.ever} tickets"
    return {
        "path": path,
        "reason": f"the history or the tasks of {count} name it",
        "tickets": use.ever,
    }


def _parts(document: Document) -> _Parts:
    column_of = {
        key: column["id"] for column in document["board_columns"] for key in column["phase_mapping"]
    }
    top = {name: value for name, value in document.items() if name not in _NOT_COMPARED[2:]}
    return _Parts(
        top=deepcopy(top),
        phases={
            phase["id"]: {
                **{name: deepcopy(value) for name, value in phase.items() if name != "gate"},
                "column": column_of.get(phase["id"]),
            }
            for phase in document["phases"]
        },
        gates={
            phase["id"]: {gate["key"]: deepcopy(gate) for gate in phase["gate"]}
            for phase in document["phases"]
        },
        columns={
            column["id"]: {n: v for n, v in column.items() if n != "phase_mapping"}
            for column in document["board_columns"]
        },
    )


def _assembled(parts: _Parts) -> Document:
    phases = sorted(parts.phases.values(), key=lambda phase: phase["sequence_order"])
    columns = sorted(parts.columns.values(), key=lambda column: column["sequence_order"])
    mapping: dict[str, list[str]] = {column["id"]: [] for column in columns}
    for phase in phases:
        mapping.setdefault(phase["column"], []).append(phase["id"])
    return {
        **parts.top,
        "phases": [_phase(phase, parts.gates[phase["id"]]) for phase in phases],
        "board_columns": [_column(column, mapping[column["id"]]) for column in columns],
    }


def _phase(phase: Document, gates: dict[str, Document]) -> Document:
    told = {name: value for name, value in phase.items() if name not in {"column", "configuration"}}
    return {**told, "gate": list(gates.values()), "configuration": phase["configuration"]}


def _column(column: Document, mapping: list[str]) -> Document:
    head = ("id", "name", "sequence_order")
    return {
        **{name: column[name] for name in head},
        "phase_mapping": mapping,
        **{name: value for name, value in column.items() if name not in head},
    }


def _beside(have: _Parts, want: _Parts) -> _Parts:
    """What is there as it is, and beside it what is not there yet."""
    return _Parts(
        top=have.top,
        phases={**want.phases, **have.phases},
        gates={
            key: {**want.gates.get(key, {}), **have.gates.get(key, {})}
            for key in {**want.phases, **have.phases}
        },
        columns={**want.columns, **have.columns},
    )


def _over(
    have: _Parts, want: _Parts, uses: Mapping[str, Use]
) -> tuple[_Parts, list[dict[str, Any]]]:
    made = deepcopy(want)
    refused = list(_stay(made, have, uses))
    for key in made.phases.keys() - want.phases.keys():
        ways = made.phases[key]["allowed_transitions"]
        made.phases[key]["allowed_transitions"] = [way for way in ways if way in made.phases]
    for key, phase in made.phases.items():
        column = phase["column"]
        if column not in made.columns:
            made.columns[column] = deepcopy(have.columns[column])
            refused.append(in_use(f"board_columns.{column}", uses.get(key, NO_USE)))
    for column in made.columns.values():
        if column["auto_transition_to"] not in made.columns and column["id"] not in want.columns:
            column["auto_transition_to"] = None
    return made, refused


def _stay(made: _Parts, have: _Parts, uses: Mapping[str, Use]) -> Iterator[dict[str, Any]]:
    """Keep in `made` of each phase what its tickets need, and tell it."""
    for key, phase in have.phases.items():
        use = uses.get(key, NO_USE)
        if key in made.phases:
            for name, _ in list(strands(phase, made.phases[key], use)):
                made.phases[key][name] = deepcopy(phase[name])
                yield in_use(f"phases.{key}.{name}", use)
        elif use.ever:
            made.phases[key], made.gates[key] = deepcopy(phase), have.gates[key]
            yield in_use(f"phases.{key}", use)


def _compare(made: Plan, have: _Parts, merged: _Parts) -> None:
    old, new = dict(_rows(have)), dict(_rows(merged))
    _changed(made, WORKFLOW, _flat(have.top), _flat(merged.top))
    for path, row in new.items():
        if path in old:
            _changed(made, path, old[path], row)
        else:
            made.creates.append(path)
    made.deletes = [path for path in old if path not in new]


def _changed(made: Plan, path: str, old: Document, new: Document) -> None:
    changes = [
        {
            "path": name if path == WORKFLOW else f"{path}.{name}",
            "from": old.get(name),
            "to": new.get(name),
        }
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]
    made.updates += changes
    if not changes:
        made.keeps.append(path)


def _rows(parts: _Parts) -> Iterator[tuple[str, Document]]:
    for key, phase in parts.phases.items():
        yield f"phases.{key}", phase
        for name, gate in parts.gates[key].items():
            yield f"phases.{key}.gate.{name}", gate
    for key, column in parts.columns.items():
        yield f"board_columns.{key}", column


def _flat(top: Document) -> Document:
    """The top of a workflow with the parts of its parts by dotted names."""
    flat: Document = {}
    for name, value in top.items():
        if name in _NESTED:
            flat |= {f"{name}.{part}": inner for part, inner in value.items()}
        elif name not in _NOT_COMPARED:
            flat[name] = value
    return flat
