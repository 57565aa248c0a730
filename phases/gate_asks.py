"""What a phase's gate asks for: its requirements, its outputs, what is called done."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from phases.gate_kinds import Kind, Rules
from phases.models import GateRequirement, Phase

# Rules that read the stored content itself and need nobody's word.
SELF_EVIDENT = {"min_length", "sections"}
# Of these patterns every artifact is one, also one without a path.
ANYWHERE = {"**", "**/*"}
RULE_HELP = (
    "is no rule that a gate can judge; it takes rules such as min_length:500; "
    "sections:scope,acceptance_criteria; min:percentage=80; max:…; equals:has_tests=true; "
    "present:total; all_passed"
)


def requirements_of(phase: Phase) -> list[GateRequirement]:
    """The gate's rows, each required output that none asks for, each unproved done definition.

    What is not required asks and proves nothing.
    """
    rows = list(phase.requirements.order_by("created_at", "id"))
    needed = [row for row in rows if row.required]
    asked = {str(r.parameters.get("artifact_type")) for r in needed if r.kind == Kind.ARTIFACT}
    outputs = list(_outputs(phase, asked))
    proofs = {*proofs_of(needed), *proofs_of(outputs)}
    definitions = [
        GateRequirement(
            key=f"done_{definition['key']}",
            kind=Kind.MANUAL.value,
            parameters={"question": definition["text"]},
        )
        for definition in phase.done_definitions
        if definition.get("required", True) and definition.get("proved_by") not in proofs
    ]
    return [*rows, *outputs, *definitions]


def _outputs(phase: Phase, asked: set[str]) -> Iterable[GateRequirement]:
    """Each required output as a requirement: of its type, at its place, by its rule.

    Where the gate asks for the type itself, its requirement says what counts, wherever it is; a
    rule of the output is judged beside it.
    """
    seen = Counter[str]()
    for output in phase.expected_outputs:
        kind, rule = output["type"], output.get("validation_rule") or ""
        if not output.get("required", True) or (kind in asked and not rule):
            continue
        parameters: dict[str, Any] = {"artifact_type": kind}
        try:
            parameters["rules"] = rules_of(rule) if rule else {"present": True}
        except ValueError:
            # Stored before it was refused at the door: it is not passed for that.
            parameters |= {"rules": {}, "unjudged": rule}
        pattern = output.get("pattern") or "**/*"
        if kind not in asked and pattern not in ANYWHERE:
            parameters["pattern"] = pattern
        seen[kind] += 1
        # That something is there anybody may say; a figure must have been observed.
        said = set(parameters["rules"]) <= {*SELF_EVIDENT, "present"}
        yield GateRequirement(
            key=f"output_{kind}" + (f"_{seen[kind]}" if seen[kind] > 1 else ""),
            kind=Kind.ARTIFACT.value,
            parameters=parameters,
            min_evidence="reported" if said else "verified",
        )


def proofs_of(rows: Iterable[GateRequirement]) -> Iterable[str]:
    """What a done definition may name as its proof: a requirement, or a type one asks for."""
    for row in rows:
        yield row.key
        yield from types_asked(str(row.kind), row.parameters)


def types_asked(kind: str, parameters: Mapping[str, Any]) -> Iterable[str]:
    """The type of evidence that a requirement of this kind is about."""
    if kind == Kind.ARTIFACT:
        yield str(parameters.get("artifact_type"))
    elif kind == Kind.METRIC:
        yield str(parameters.get("name")).partition(".")[0]


def asks_something(phase: Phase) -> bool:
    """Whether a phase has a gate at all, by what is at hand: its rows are asked for last."""
    outputs = any(output.get("required", True) for output in phase.expected_outputs)
    definitions = any(d.get("required", True) for d in phase.done_definitions)
    return outputs or definitions or phase.requirements.exists()


def rules_of(text: str) -> dict[str, Any]:
    """An output's `validation_rule`, such as `min_length:500; sections:scope`, as rules of a gate.

    Raises ValueError where nobody could judge it.
    """
    rules: dict[str, Any] = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        name, _, value = (word.strip() for word in part.partition(":"))
        if name in rules:
            raise ValueError(f"{name} stands twice")
        rules[name] = _value(name, value)
    if not rules:
        raise ValueError("says no rule")
    Rules.model_validate(rules)
    return rules


def _value(name: str, text: str) -> Any:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if name == "min_length":
        return int(text)
    if name == "sections" and words:
        return words
    if name == "present":
        return words or True
    if name == "all_passed":
        return text in {"", "true"}
    pairs = [word.partition("=") for word in words]
    if not pairs or not all(key.strip() and value.strip() for key, _, value in pairs):
        raise ValueError(f"{name} takes figures such as percentage=80")
    return {key.strip(): _scalar(value.strip()) for key, _, value in pairs}


def _scalar(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, (dict, list)) else value


def path_expression(pattern: str) -> str:
    """A pattern of paths as a regular expression of the database.

    `**/` stands for any folders or none, `**` for anything, `*` and `?` stay within a name.
    """
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.removeprefix("./"))
    special = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    plain = (special.get(part) or re.sub(r"([][.^$+{}()|\\])", r"\\\1", part) for part in parts)
    return f"^(?:\\./)?{''.join(plain)}$"
