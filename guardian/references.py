"""References into plain data, `{{inputs.items[0].name | default(3)}}`: keys and indexes only.

Never attributes: a reference reads JSON-like values, so it can reach nothing but data.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from guardian.errors import ReferenceInvalid

MOST_PARTS = 10
ROOTS = frozenset({"inputs", "state", "ctx"})

_ROOT = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_PART = re.compile(r"\s*(?:\.\s*(?P<name>[A-Za-z0-9-][A-Za-z0-9_-]*)|\[\s*(?P<index>\d{1,6})\s*\])")
_DEFAULT = re.compile(r"\s*\|\s*default\s*\(\s*")
_LITERAL = re.compile(
    r"\"(?:[^\"\\\x00-\x1f]|\\.)*\""
    r"|-?(?:0|[1-9]\d{0,40})(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?"
    r"|true|false|null"
)
_CLOSE = re.compile(r"\s*\)\s*\}\}")
_END = re.compile(r"\s*\}\}")
_BLANKS = re.compile(r"\s*")


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


@dataclass(frozen=True, slots=True)
class Reference:
    """A root, the parts below it, and what stands in when nothing (or null) is there."""

    root: str
    parts: tuple[str | int, ...] = ()
    default: Any = MISSING

    @property
    def path(self) -> str:
        text = self.root
        for part in self.parts:
            text += f"[{part}]" if isinstance(part, int) else f".{part}"
        return text

    def find(self, scope: Mapping[str, Any]) -> Any:
        """The value, the default in place of nothing or null, or MISSING."""
        value: Any = scope.get(self.root, MISSING)
        for part in self.parts:
            value = _step(value, part)
        if value is MISSING or value is None:
            return value if self.default is MISSING else self.default
        return value


def _step(value: Any, part: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(part, MISSING) if isinstance(part, str) else MISSING
    if isinstance(value, (list, tuple)) and (isinstance(part, int) or part.isdigit()):
        index = int(part) if len(str(part)) < 10 else len(value)
        return value[index] if index < len(value) else MISSING
    return MISSING


def parse_literal(text: str) -> Any:
    """A JSON scalar; decimal numbers keep their digits."""
    return json.loads(text, parse_float=Decimal)


def parse_template(
    text: str, start: int, *, roots: frozenset[str] | None = ROOTS
) -> tuple[Reference, int]:
    """The `{{…}}` that begins at `start`, and where it ends. Raises ReferenceInvalid."""
    at = _skip(text, start + 2)
    root, at = _root(text, at, roots)
    parts, at = parse_parts(text, at)
    default: Any = MISSING
    if found := _DEFAULT.match(text, at):
        literal = _LITERAL.match(text, found.end())
        if literal is None:
            raise invalid("default() takes a JSON text, number, true, false or null", found.end())
        try:
            default = parse_literal(literal[0])
        except ValueError as error:
            raise invalid("the default is no JSON value", found.end()) from error
        end = _CLOSE.match(text, literal.end())
        at = literal.end()
    else:
        end = _END.match(text, at)
    if end is None:
        raise invalid("expected . or [ or | default(…) or }}", _skip(text, at))
    return Reference(root, parts, default), end.end()


def _skip(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at


def _root(text: str, at: int, roots: frozenset[str] | None) -> tuple[str, int]:
    found = _ROOT.match(text, at)
    if found is None or (roots is not None and found[0] not in roots):
        known = ", ".join(sorted(roots)) if roots else "a name"
        raise invalid(f"must begin with {known}", at)
    return found[0], found.end()


def parse_parts(text: str, at: int) -> tuple[tuple[str | int, ...], int]:
    """What follows the root: names and indexes. Raises ReferenceInvalid."""
    parts: list[str | int] = []
    while found := _PART.match(text, at):
        parts.append(found["name"] if found["index"] is None else int(found["index"]))
        at = found.end()
    if len(parts) > MOST_PARTS:
        raise invalid(f"has more than {MOST_PARTS} parts", at)
    return tuple(parts), at


def invalid(message: str, at: int) -> ReferenceInvalid:
    """`at` counts from 0, a column from 1."""
    return ReferenceInvalid(f"column {at + 1}: {message}", column=at + 1)
