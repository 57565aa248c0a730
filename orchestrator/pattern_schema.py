"""Pattern files: two dialects read into one normal form, every fault listed with its path.

*flow* has steps without id: the id is `as`, or `step_<n>`; `as` is `last` unless given, and the
bare `{{key.x}}` of an earlier `as` means `{{state.key.x}}`. *registry* has steps with id and agent;
`as` is the id. The same plan has the same hash in both.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from guardian import conditions, strict_yaml
from guardian.errors import DomainError, ReferenceInvalid
from guardian.references import ROOTS, Reference, parse_template
from orchestrator import capabilities, templates
from orchestrator.agent_schema import SEMVER
from orchestrator.errors import PatternInvalid, TemplateInvalid
from orchestrator.pattern_graph import cycle, is_graph, needs
from orchestrator.pattern_inputs import NAME, Fault, fault, normal_inputs
from orchestrator.request_context import RequestCtx

LIMIT_BYTES = 256 * 1024
MOST_STEPS = 100
MOST_DEPTH = 20
SLUG = re.compile(r"^[a-z0-9][a-z0-9_-]{1,62}$")
# Words of fixed paths are no slugs.
RESERVED = frozenset({"validate"})
TOP_KEYS = frozenset({
    "id", "name", "version", "description", "category", "tags", "author", "prewarm",
    "timeout_seconds", "inputs", "outputs", "steps",
})  # fmt: skip
STEP_KEYS = frozenset({
    "id", "capability", "agent", "args", "as", "condition", "depends_on", "timeout_seconds",
    "retries", "on_error",
})  # fmt: skip
CTX_KEYS = frozenset(field.name for field in fields(RequestCtx))


def read(text: str) -> dict[str, Any]:
    """A pattern file, JSON or YAML, as plain data. Raises PatternInvalid."""
    if len(text.encode("utf-8", "replace")) > LIMIT_BYTES:
        raise refused([fault("", "too_large", "must be at most 256 KiB")])
    try:
        if text.lstrip().startswith("{"):
            raw = json.loads(text, object_pairs_hook=_unique)
        else:
            raw = strict_yaml.load(text)
    except strict_yaml.YamlInvalid as error:
        raise refused([fault("", error.code, error.detail)]) from error
    except (ValueError, RecursionError) as error:
        raise refused([fault("", "malformed_json", str(error)[:300])]) from error
    return plain(raw)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def plain(raw: Any) -> dict[str, Any]:
    """The data as JSON values of limited depth. Raises PatternInvalid."""
    if not isinstance(raw, Mapping):
        raise refused([fault("", "invalid", "must be an object")])
    if _depth(raw) > MOST_DEPTH:
        raise refused([fault("", "too_deep", f"is nested deeper than {MOST_DEPTH} levels")])
    try:
        text = json.dumps(raw, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise refused([fault("", "invalid", f"holds what JSON cannot: {error}")]) from error
    if len(text) > LIMIT_BYTES:
        raise refused([fault("", "too_large", "must be at most 256 KiB")])
    if "\\u0000" in text:
        raise refused([fault("", "invalid", "text may not hold the character U+0000")])
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _depth(value: Any, level: int = 1) -> int:
    if level > MOST_DEPTH + 1 or not isinstance(value, (Mapping, list)):
        return level - 1 if not isinstance(value, (Mapping, list)) else level
    items = value.values() if isinstance(value, Mapping) else value
    return max((_depth(item, level + 1) for item in items), default=level)


def refused(faults: list[Fault]) -> PatternInvalid:
    first = f"{faults[0]['path']}: " if faults[0]["path"] else ""
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return PatternInvalid(f"{first}{faults[0]['message']}{more}", errors=faults)


def normalise(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The normal form of a pattern. Raises PatternInvalid, which lists every fault."""
    reader = _Reader(raw)
    normal = reader.normal()
    if reader.faults:
        raise refused(reader.faults)
    return normal


def digest(normal: Mapping[str, Any]) -> str:
    """SHA-256 over canonical JSON: sorted keys, no spaces, UTF-8."""
    text = json.dumps(normal, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


class _Reader:
    """One reading of one file; goes on after a fault, so that all are found at once."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        self.faults: list[Fault] = []

    def _add(self, path: str, code: str, message: str) -> None:
        self.faults.append(fault(path, code, message))

    def normal(self) -> dict[str, Any]:
        for key in sorted(set(self.raw) - TOP_KEYS, key=str):
            self._add(str(key), "unknown_field", "is unknown")
        slug = self._text("id", required=True, limit=63)
        if slug and (not SLUG.match(slug) or slug in RESERVED):
            self._add("id", "invalid", f"must match {SLUG.pattern} and be no word of a path")
        version = self._text("version", limit=40) or "1.0.0"
        if not re.match(SEMVER, version):
            self._add("version", "invalid", "must be a semantic version such as 1.0.0")
        inputs, found = normal_inputs(self.raw.get("inputs", {}))
        self.faults += found
        steps = self._steps()
        return {
            "id": slug,
            "name": self._text("name", required=True, limit=120),
            "version": version,
            "description": self._text("description", limit=4000),
            "category": self._text("category", limit=60),
            "author": self._text("author", limit=120),
            "tags": self._tags(),
            "prewarm": self._bool("prewarm"),
            "timeout_seconds": self._whole(
                self.raw, "timeout_seconds", default=900, low=1, high=86400
            ),
            "inputs": inputs,
            "outputs": self._outputs(steps),
            "steps": self._checked(steps),
        }

    # Values

    def _text(self, key: str, *, required: bool = False, limit: int) -> str:
        value = self.raw.get(key, "")
        if not isinstance(value, str) or len(value) > limit:
            self._add(key, "invalid", f"must be a text of at most {limit} characters")
            return ""
        if required and not value.strip():
            self._add(key, "required", "is required")
        return value

    def _bool(self, key: str) -> bool:
        value = self.raw.get(key, False)
        if not isinstance(value, bool):
            self._add(key, "invalid", "must be true or false")
        return bool(value)

    def _tags(self) -> list[str]:
        tags = self.raw.get("tags", [])
        fits = isinstance(tags, list) and len(tags) <= 20
        if not fits or not all(isinstance(tag, str) and 0 < len(tag) <= 60 for tag in tags):
            self._add("tags", "invalid", "must be a list of at most 20 short texts")
            return []
        return sorted(set(tags))

    def _whole(
        self, raw: Mapping[str, Any], path: str, *, default: int, low: int, high: int
    ) -> int:
        value = raw.get(path.rpartition(".")[2], default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self._add(path, "invalid", f"must be a whole number from {low} to {high}")
            return default
        return value

    # Steps

    def _steps(self) -> list[dict[str, Any]]:
        raw = self.raw.get("steps")
        if not isinstance(raw, list) or not raw:
            self._add("steps", "required", "must be a list with at least one step")
            return []
        if len(raw) > MOST_STEPS:
            self._add("steps", "too_many", f"has more than {MOST_STEPS} steps")
            return []
        flow = not any(isinstance(step, Mapping) and "id" in step for step in raw)
        steps: list[dict[str, Any]] = []
        for number, step in enumerate(raw, start=1):
            path = f"steps[{number - 1}]"
            if not isinstance(step, Mapping):
                self._add(path, "invalid", "must be an object")
                continue
            for key in sorted(set(step) - STEP_KEYS, key=str):
                self._add(f"{path}.{key}", "unknown_field", "is unknown")
            steps.append(self._step(path, number, step, flow=flow, before=steps))
        return steps

    def _step(
        self,
        path: str,
        number: int,
        raw: Mapping[str, Any],
        *,
        flow: bool,
        before: list[dict[str, Any]],
    ) -> dict[str, Any]:
        step_id, name = self._names(path, number, raw, flow=flow)
        capability = self._name(path, raw, "capability", required=True)
        earlier = {step["as"] for step in before} if flow else set()
        args = raw.get("args", {})
        if not isinstance(args, Mapping):
            self._add(f"{path}.args", "invalid", "must be an object")
            args = {}
        condition = raw.get("condition") or ""
        if not isinstance(condition, str):
            self._add(f"{path}.condition", "invalid", "must be a text")
            condition = ""
        return {
            "id": step_id,
            "capability": capability,
            "agent": self._agent(path, raw, capability, flow=flow),
            "args": _with_state(args, earlier),
            "as": name,
            "condition": _with_state(condition, earlier),
            "depends_on": self._depends_on(path, raw),
            "timeout_seconds": self._whole(
                raw, f"{path}.timeout_seconds", default=60, low=1, high=86400
            ),
            "retries": self._whole(raw, f"{path}.retries", default=0, low=0, high=3),
            "on_error": self._on_error(path, raw),
        }

    def _names(
        self, path: str, number: int, raw: Mapping[str, Any], *, flow: bool
    ) -> tuple[str, str]:
        name = self._name(path, raw, "as")
        if name in ROOTS:
            self._add(f"{path}.as", "invalid", "inputs, state and ctx have a meaning of their own")
        if flow:
            return name or f"step_{number}", name or "last"
        step_id = self._name(path, raw, "id", required=True)
        if name and name != step_id:
            self._add(f"{path}.as", "invalid", "is the id where steps have ids")
        return step_id, step_id

    def _name(self, path: str, raw: Mapping[str, Any], key: str, *, required: bool = False) -> str:
        value = raw.get(key)
        if value is None or value == "":
            if required:
                self._add(f"{path}.{key}", "required", "is required")
            return ""
        pattern = re.compile(r"^[a-z][a-z0-9_.-]{0,99}$") if key == "capability" else NAME
        if not isinstance(value, str) or not pattern.match(value):
            self._add(f"{path}.{key}", "invalid", f"must match {pattern.pattern}")
            return ""
        return value

    def _agent(self, path: str, raw: Mapping[str, Any], capability: str, *, flow: bool) -> str:
        given = self._name(path, raw, "agent", required=not flow)
        if not capability:
            return given
        try:
            owner = capabilities.find(capability).agent
        except DomainError as unknown:
            available = ", ".join(unknown.data["available"]) or "none"
            self._add(
                f"{path}.capability", "capability_not_found", f"is unknown; known: {available}"
            )
            return given
        if given and given != owner:
            self._add(f"{path}.agent", "not_owner", f"{capability} belongs to {owner}")
        return owner

    def _depends_on(self, path: str, raw: Mapping[str, Any]) -> list[str]:
        wanted = raw.get("depends_on") or []
        if not isinstance(wanted, list) or not all(isinstance(item, str) for item in wanted):
            self._add(f"{path}.depends_on", "invalid", "must be a list of step ids")
            return []
        return sorted(set(wanted))

    def _on_error(self, path: str, raw: Mapping[str, Any]) -> str:
        value = raw.get("on_error", "fail")
        if value not in {"fail", "continue"}:
            self._add(f"{path}.on_error", "invalid", "must be fail or continue")
            return "fail"
        return str(value)

    # What only the whole shows

    def _checked(self, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self._check_names(steps)
        readable = [self._check_texts(number, step) for number, step in enumerate(steps)]
        if not all(readable):
            return steps
        graph = is_graph(steps)
        for number, step in enumerate(steps):
            others = [s for s in steps if s is not step] if graph else steps[:number]
            self._check_references(number, step, {s["as"] for s in others}, steps)
            self._check_args(number, step)
        if circle := cycle(needs(steps)):
            self._add("steps", "cycle", "wait for each other: " + " → ".join(circle))
        return steps

    def _check_names(self, steps: list[dict[str, Any]]) -> None:
        graph = is_graph(steps)
        ids: set[str] = set()
        names: set[str] = set()
        for number, step in enumerate(steps):
            if step["id"] and step["id"] in ids:
                self._add(f"steps[{number}].id", "duplicate", f"{step['id']} is there already")
            elif step["as"] in names and (graph or step["as"] != "last"):
                self._add(f"steps[{number}].as", "duplicate", f"{step['as']} is there already")
            ids.add(step["id"])
            names.add(step["as"])
        for number, step in enumerate(steps):
            for wanted in step["depends_on"]:
                if wanted not in ids:
                    where = f"steps[{number}].depends_on"
                    self._add(where, "unknown_step", f"{wanted} is no step of this pattern")

    def _check_texts(self, number: int, step: dict[str, Any]) -> bool:
        before = len(self.faults)
        for path, text in templates.texts(step["args"], f"steps[{number}].args"):
            try:
                templates.parse(text)
            except TemplateInvalid as error:
                self._add(path, error.code, error.detail)
        if step["condition"]:
            try:
                conditions.parse(step["condition"], roots=ROOTS)
            except DomainError as error:
                self._add(f"steps[{number}].condition", error.code, error.detail)
        return len(self.faults) == before

    def _check_references(
        self, number: int, step: dict[str, Any], known: set[str], steps: list[dict[str, Any]]
    ) -> None:
        for part in ("args", "condition"):
            if part == "args":
                found = list(templates.references(step["args"]))
            else:
                text = step["condition"]
                found = list(conditions.references(conditions.parse(text))) if text else []
            for reference in found:
                self._check_reference(f"steps[{number}].{part}", reference, known, steps)

    def _check_reference(
        self, path: str, reference: Reference, known: set[str], steps: list[dict[str, Any]]
    ) -> None:
        first = str(reference.parts[0]) if reference.parts else ""
        if reference.root == "state" and not first:
            self._add(path, "reference_invalid", "state needs a key: {{state.step}}")
        elif reference.root == "state" and first not in known:
            later = any(step["as"] == first for step in steps)
            why = "comes only later" if later else "is set by no step"
            self._add(path, "reference_invalid", f"state.{first} {why}")
        elif reference.root == "inputs" and first and first not in (self.raw.get("inputs") or {}):
            self._add(path, "reference_invalid", f"inputs.{first} is not declared")
        elif reference.root == "ctx" and first and first not in CTX_KEYS:
            self._add(path, "reference_invalid", f"ctx.{first} does not exist")

    def _check_args(self, number: int, step: dict[str, Any]) -> None:
        """What can be known before templates have values: names, and constants."""
        try:
            contract = capabilities.find(step["capability"]) if step["capability"] else None
        except DomainError:
            return  # reported where the capability is named
        if contract is None:
            return
        path = f"steps[{number}].args"
        for name in contract.inputs.get("required", []):
            if name not in step["args"]:
                self._add(f"{path}.{name}", "required", f"{contract.name} needs it")
        constant = {
            name: value
            for name, value in step["args"].items()
            if not any("{{" in text for _, text in templates.texts(value))
        }
        known = contract.inputs.get("properties", {})
        if contract.inputs.get("additionalProperties") is False:
            for name in sorted(set(step["args"]) - set(known)):
                self._add(f"{path}.{name}", "unknown_field", f"{contract.name} does not take it")
                constant.pop(name, None)
        for found in contract.faults({**contract.inputs, "required": []}, constant, path):
            self.faults.append(found)

    def _outputs(self, steps: list[dict[str, Any]]) -> dict[str, str]:
        """Name → template; state keys stand for themselves, no outputs for the last step's."""
        raw = self.raw.get("outputs")
        known = {step["as"] for step in steps}
        if raw is None:
            return {steps[-1]["as"]: _whole_state(steps[-1]["as"])} if steps else {}
        if isinstance(raw, list):
            raw = {name: _whole_state(name) for name in raw if isinstance(name, str)} or None
        if not isinstance(raw, Mapping) or not all(isinstance(text, str) for text in raw.values()):
            self._add("outputs", "invalid", "must be a list of state keys or name → template")
            return {}
        outputs: dict[str, str] = {}
        for name, text in raw.items():
            path = f"outputs.{name}"
            outputs[str(name)] = _with_state(text, known)
            try:
                found = list(templates.references(outputs[str(name)]))
            except TemplateInvalid as error:
                self._add(path, error.code, error.detail)
                continue
            for reference in found:
                self._check_reference(path, reference, known, steps)
        return outputs


def _whole_state(name: str) -> str:
    return "{{state." + name + "}}"


def _with_state(value: Any, earlier: set[str]) -> Any:
    """The flow dialect's bare `{{key.x}}` of an earlier `as`, written out as `{{state.key.x}}`."""
    if isinstance(value, str):
        return _text_with_state(value, earlier) if "{{" in value else value
    if isinstance(value, Mapping):
        return {key: _with_state(item, earlier) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_state(item, earlier) for item in value]
    return value


def _text_with_state(text: str, earlier: set[str]) -> str:
    at = 0
    while (start := text.find("{{", at)) >= 0:
        if start > 0 and text[start - 1] == "\\":
            at = start + 2
            continue
        try:
            reference, end = parse_template(text, start, roots=None)
        except ReferenceInvalid:
            at = start + 2  # reported when the text is checked
            continue
        if reference.root in earlier and reference.root not in ROOTS:
            root = text.index(reference.root, start)
            text = text[:root] + "state." + text[root:]
            end += len("state.")
        at = end
    return text
