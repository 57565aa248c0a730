"""The declared inputs of a pattern: what they may be, and checking given values against them."""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from guardian.conditions import same
from orchestrator.errors import PatternInputsInvalid

MOST_INPUTS = 50
NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")
KEYS = frozenset({"type", "required", "default", "enum", "description"})

Fault = dict[str, str]


def fault(path: str, code: str, message: str) -> Fault:
    return {"path": path, "code": code, "message": message}


def _parses(parse: Callable[[str], object]) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        if not isinstance(value, str):
            return False
        try:
            parse(value)
        except (ValueError, binascii.Error):
            return False
        return True

    return fits


def _number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": _number,
    "boolean": lambda value: isinstance(value, bool),
    "uuid": _parses(UUID),
    "date": _parses(date.fromisoformat),
    "datetime": _parses(datetime.fromisoformat),
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list),
    "bytes": _parses(lambda text: base64.b64decode(text, validate=True)),  # base64 text
}


def normal_inputs(declared: Any) -> tuple[dict[str, dict[str, Any]], list[Fault]]:
    """The declaration with every default written out, and its faults."""
    if not isinstance(declared, Mapping):
        return {}, [fault("inputs", "invalid", "must be an object: name → {type, …}")]
    faults: list[Fault] = []
    if len(declared) > MOST_INPUTS:
        faults.append(fault("inputs", "too_many", f"has more than {MOST_INPUTS} inputs"))
    normal = {}
    for name, spec in declared.items():
        found = list(_spec_faults(f"inputs.{name}", str(name), spec))
        faults += found
        if not found:
            normal[name] = {
                "type": spec["type"],
                "required": spec.get("required", False),
                **{key: spec[key] for key in ("default", "enum", "description") if key in spec},
            }
    return normal, faults


def _spec_faults(path: str, name: str, spec: Any) -> Iterator[Fault]:
    if not NAME.match(name):
        yield fault(path, "invalid", "a name is a letter, then letters, digits, _ or -")
    if not isinstance(spec, Mapping):
        yield fault(path, "invalid", "must be an object with `type`")
        return
    for key in sorted(set(spec) - KEYS, key=str):
        yield fault(f"{path}.{key}", "unknown_field", "is unknown")
    fits = TYPES.get(spec["type"]) if isinstance(spec.get("type"), str) else None
    if fits is None:
        yield fault(f"{path}.type", "invalid", f"must be one of {', '.join(TYPES)}")
        return
    if not isinstance(spec.get("required", False), bool):
        yield fault(f"{path}.required", "invalid", "must be true or false")
    yield from _value_faults(path, spec, fits)


def _value_faults(
    path: str, spec: Mapping[str, Any], fits: Callable[[Any], bool]
) -> Iterator[Fault]:
    enum = spec.get("enum")
    if enum is not None and not (isinstance(enum, list) and enum and all(map(fits, enum))):
        yield fault(f"{path}.enum", "invalid", f"must be a list of values of type {spec['type']}")
        return
    default = spec.get("default")
    if default is None:
        return
    if not fits(default):
        yield fault(f"{path}.default", "invalid", f"must be of type {spec['type']}")
    elif enum is not None and not any(same(default, value) for value in enum):
        yield fault(f"{path}.default", "invalid", "is not in enum")


def checked_inputs(declared: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given values with defaults filled in; null counts as not given.

    Raises PatternInputsInvalid, which lists every fault.
    """
    faults = [
        fault(f"inputs.{name}", "unknown_field", "is no input of this pattern")
        for name in sorted(set(given) - set(declared))
    ]
    values: dict[str, Any] = {}
    for name, spec in declared.items():
        value = given.get(name)
        if value is None:
            value = spec.get("default")
        if value is not None:
            values[name] = value
            faults += _given_faults(f"inputs.{name}", spec, value)
        elif spec["required"]:
            faults.append(fault(f"inputs.{name}", "required", "is required"))
    if faults:
        first = f"{faults[0]['path']}: {faults[0]['message']}"
        raise PatternInputsInvalid(first, errors=faults)
    return values


def _given_faults(path: str, spec: Mapping[str, Any], value: Any) -> list[Fault]:
    if not TYPES[spec["type"]](value):
        return [fault(path, "invalid", f"must be of type {spec['type']}")]
    if "enum" in spec and not any(same(value, allowed) for allowed in spec["enum"]):
        return [fault(path, "invalid", f"must be one of {spec['enum']}")]
    return []
