"""What must hold between the parts of a workflow: asked of plain data, so of any text at once.

A part of a wrong type is left to its shape: here it is as if it were not there.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from phases import scoring
from phases.gate_asks import types_asked

# Of each: its path, its code, its message.
Fault = tuple[tuple[str | int, ...], str, str]


def faults_of(value: Any) -> list[Fault]:
    """Every fault between the parts: ids and orders, references, ways to done, weights."""
    if not isinstance(value, Mapping):
        return []
    phases = _rows(value, "phases")
    columns = _rows(value, "board_columns")
    return [
        *_unique("phases", phases, "id"),
        *_unique("phases", phases, "sequence_order"),
        *_unique("board_columns", columns, "id"),
        *_unique("board_columns", columns, "sequence_order"),
        *_keys_within(phases),
        *_proofs(phases),
        *_mapping(phases, columns),
        *_edges(phases),
        *_pointers(columns),
        *_kinds(phases),
        *_start(value, phases),
        *_weights(value),
    ]


def _rows(value: Mapping[str, Any], name: str) -> list[tuple[int, Mapping[str, Any]]]:
    rows = value.get(name)
    rows = rows if isinstance(rows, list) else []
    return [(place, row) for place, row in enumerate(rows) if isinstance(row, Mapping)]


def _keys(phases: list[tuple[int, Mapping[str, Any]]]) -> set[str]:
    return {row["id"] for _, row in phases if isinstance(row.get("id"), str)}


def _texts(row: Mapping[str, Any], name: str) -> list[tuple[int, str]]:
    value = row.get(name)
    value = value if isinstance(value, list) else []
    return [(place, text) for place, text in enumerate(value) if isinstance(text, str)]


def _unique(where: str, rows: list[tuple[int, Mapping[str, Any]]], name: str) -> Iterator[Fault]:
    seen: set[Any] = set()
    for place, row in rows:
        value = row.get(name)
        if not isinstance(value, (str, int)):
            continue
        if value in seen:
            yield (where, place, name), "not_unique", f"{value} stands twice"
        seen.add(value)


def _keys_within(phases: list[tuple[int, Mapping[str, Any]]]) -> Iterator[Fault]:
    for place, row in phases:
        for name in ("gate", "done_definitions"):
            for path, code, message in _unique(name, _rows(row, name), "key"):
                yield ("phases", place, *path), code, message


def _proofs(phases: list[tuple[int, Mapping[str, Any]]]) -> Iterator[Fault]:
    """A definition of done is proved by what the phase itself asks for."""
    for place, row in phases:
        known = {str(output.get("type")) for _, output in _rows(row, "expected_outputs")}
        for _, gate in _rows(row, "gate"):
            parameters = gate.get("parameters")
            known.add(str(gate.get("key")))
            if isinstance(parameters, Mapping):
                known |= {*types_asked(str(gate.get("kind")), parameters)}
        for at, definition in _rows(row, "done_definitions"):
            proof = definition.get("proved_by")
            if isinstance(proof, str) and proof not in known:
                path = ("phases", place, "done_definitions", at, "proved_by")
                message = f"{proof} is no requirement, output or evidence that this phase asks for"
                yield path, "unknown_reference", message


def _mapping(
    phases: list[tuple[int, Mapping[str, Any]]], columns: list[tuple[int, Mapping[str, Any]]]
) -> Iterator[Fault]:
    known = _keys(phases)
    seen: set[str] = set()
    for place, column in columns:
        for at, key in _texts(column, "phase_mapping"):
            path = ("board_columns", place, "phase_mapping", at)
            if key not in known:
                yield path, "unknown_reference", f"there is no phase {key}"
            elif key in seen:
                yield path, "not_unique", f"{key} is in a column already"
            seen.add(key)
    for place, row in phases:
        if isinstance(row.get("id"), str) and row["id"] not in seen:
            yield ("phases", place, "id"), "no_column", f"{row['id']} is in no column"


def _edges(phases: list[tuple[int, Mapping[str, Any]]]) -> Iterator[Fault]:
    known = _keys(phases)
    for place, row in phases:
        seen = Counter[str]()
        for at, key in _texts(row, "allowed_transitions"):
            path = ("phases", place, "allowed_transitions", at)
            seen[key] += 1
            if key not in known:
                yield path, "unknown_reference", f"there is no phase {key}"
            elif key == row.get("id"):
                yield path, "points_to_itself", f"{key} points to itself"
            elif seen[key] > 1:
                yield path, "not_unique", f"{key} stands twice"


def _pointers(columns: list[tuple[int, Mapping[str, Any]]]) -> Iterator[Fault]:
    known = _keys(columns)
    for place, column in columns:
        target = column.get("auto_transition_to")
        if not isinstance(target, str) or not target:
            continue
        path = ("board_columns", place, "auto_transition_to")
        if target not in known:
            yield path, "unknown_reference", f"there is no column {target}"
        elif target == column.get("id"):
            yield path, "points_to_itself", f"{target} points to itself"


def _kinds(phases: list[tuple[int, Mapping[str, Any]]]) -> Iterator[Fault]:
    if not phases:
        return
    done = [place for place, row in phases if row.get("kind") == "done"]
    blocked = [place for place, row in phases if row.get("kind") == "blocked"]
    if not done:
        yield ("phases",), "no_done", "exactly one phase must be of kind done; there is none"
    for place in done[1:]:
        yield ("phases", place, "kind"), "second_done", "exactly one phase must be of kind done"
    for place in blocked[1:]:
        path = ("phases", place, "kind")
        yield path, "second_blocked", "at most one phase may be of kind blocked"


def _start(
    value: Mapping[str, Any], phases: list[tuple[int, Mapping[str, Any]]]
) -> Iterator[Fault]:
    first = value.get("initial_phase")
    if not isinstance(first, str) or not phases:
        return
    by_key = {row["id"]: row for _, row in phases if isinstance(row.get("id"), str)}
    if first not in by_key:
        yield ("initial_phase",), "unknown_reference", f"there is no phase {first}"
        return
    if by_key[first].get("kind", "work") != "work":
        yield ("initial_phase",), "not_work", f"no ticket can begin in {first}: it has no work"
        return
    reached = reachable(first, by_key)
    if not any(by_key[key].get("kind") == "done" for key in reached) and any(
        row.get("kind") == "done" for row in by_key.values()
    ):
        message = f"no way over allowed_transitions leads from {first} to the done phase"
        yield ("initial_phase",), "done_unreachable", message


def reachable(first: str, by_key: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Keys of the phases that a ticket from `first` can come to, itself included."""
    reached: set[str] = set()
    ahead = [first]
    while ahead:
        key = ahead.pop()
        if key in by_key and key not in reached:
            reached.add(key)
            ahead += [target for _, target in _texts(by_key[key], "allowed_transitions")]
    return reached


def _weights(value: Mapping[str, Any]) -> Iterable[Fault]:
    score = value.get("score")
    if not isinstance(score, Mapping):
        return
    for name, message in scoring.faults_of(score):
        if name in scoring.NAMES:  # an unknown one is told by the shape
            yield ("score", name), "invalid", message[:1].lower() + message[1:].rstrip(".")
