"""Whether a payload is what a trigger waits for (orchestrator.md, A-4)."""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

_COMPARISON = re.compile(r"\s*(==|!=|<=|>=|<|>)\s*(-?\d+(?:\.\d+)?)\s*")
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_ABSENT = object()


def fits(filters: Mapping[str, Any], payload: Mapping[str, Any]) -> bool:
    """All filters hold: a scalar is equal, of a list any is, `">= 300"` compares a number."""
    return all(_holds(wanted, _at(payload, path)) for path, wanted in filters.items())


def _at(payload: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(payload, Mapping) or part not in payload:
            return _ABSENT
        payload = payload[part]
    return payload


def _holds(wanted: Any, found: Any) -> bool:
    if found is _ABSENT:
        return False
    if isinstance(wanted, list):
        return any(_holds(one, found) for one in wanted)
    if isinstance(wanted, str) and (comparison := _COMPARISON.fullmatch(wanted)):
        sign, number = comparison.groups()
        return _is_number(found) and _SIGNS[sign](found, float(number))
    # To Python true is 1; to JSON it is not.
    return bool(found == wanted) and isinstance(found, bool) == isinstance(wanted, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
