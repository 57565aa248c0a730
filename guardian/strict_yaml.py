"""YAML from strangers: plain values only, of limited depth, no anchors, no tags, no doubled keys.

The C loader composes nested values by recursion in C, so a few hundred kilobytes of `[` end the
process; and it never asks Python about aliases. So values are built here from the stream of events,
without recursion, and every fault is kept with its place, not the first one alone.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import yaml

from guardian.errors import Invalid
from guardian.storable import storable

MOST_DEPTH = 20
MOST_VALUES = 100_000
MOST_FAULTS = 100

Path = tuple[str | int, ...]
_TAG = "tag:yaml.org,2002:"
_RESOLVER = yaml.resolver.Resolver()
_CONSTRUCTOR = yaml.constructor.SafeConstructor()


class YamlInvalid(Invalid):
    """This YAML cannot be read."""

    code = "yaml_invalid"
    remedy = "Correct the places it names; keys may stand once, and aliases and tags are not read."


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a text, both counted from one."""

    line: int
    column: int


@dataclass(slots=True)
class Document:
    """What a text says, and where each key and value of it stands."""

    value: Any = None
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    faults: list[dict[str, Any]] = field(default_factory=list)

    def fault(
        self, path: Iterable[str | int], code: str, message: str, *, at_key: bool = False
    ) -> dict[str, Any]:
        """A fault at a path of the document, with the place of the nearest thing that is there."""
        parts = tuple(path)
        near: Place | None = None
        while near is None:
            near = (self.keys.get(parts) if at_key else None) or self.values.get(parts)
            if not parts:
                break
            parts, at_key = parts[:-1], False
        return _fault(message, near or Place(1, 1), code, tuple(path))


def load(text: str, *, depth: int = MOST_DEPTH) -> Any:
    """The one document of a text. Raises YamlInvalid, whose `errors` name line and column."""
    found = _built(text, _Builder(depth=depth, plain=False))
    if found.faults:
        raise refused(found.faults)
    return found.value


def read(text: str, *, depth: int = MOST_DEPTH) -> Document:
    """The same with the places of everything, and its values as JSON has them: dates are texts.

    What can be read around is kept in `faults`; raises YamlInvalid where nothing can be read.
    """
    return _built(text, _Builder(depth=depth, plain=True))


def refused(faults: list[dict[str, Any]], detail: str = "") -> YamlInvalid:
    """The refusal for these faults, told in the order of the text."""
    shown = sorted(faults, key=lambda f: (f.get("line", 0), f.get("column", 0)))[:MOST_FAULTS]
    first = shown[0]
    said = f"line {first['line']}: {first['message']}" if "line" in first else first["message"]
    more = f" ({len(faults)} faults in all)" if len(faults) > 1 else ""
    return YamlInvalid(detail or f"{said}{more}", errors=shown)


def _fault(message: str, place: Place | None, code: str, path: Path = ()) -> dict[str, Any]:
    where = {"line": place.line, "column": place.column} if place else {}
    return {"path": ".".join(map(str, path)), **where, "code": code, "message": message}


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def _built(text: str, builder: "_Builder") -> Document:
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            builder.take(event)
    except yaml.reader.ReaderError as error:
        before = text.encode("utf-8", "surrogatepass")[: error.position]
        place = Place(before.count(b"\n") + 1, len(before.rpartition(b"\n")[2]) + 1)
        raise refused([_fault(str(error.reason)[:300], place, "yaml_invalid")]) from error
    except yaml.YAMLError as error:
        what = getattr(error, "problem", None) or str(error)
        mark = getattr(error, "problem_mark", None)
        fault = _fault(what[:300], _place(mark) if mark else None, "yaml_invalid")
        raise refused([*builder.document.faults, fault]) from error
    except UnicodeEncodeError as error:
        fault = _fault("holds half a character (a lone surrogate)", None, "yaml_invalid")
        raise refused([fault]) from error
    return builder.document


_NOTHING = object()


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not come yet."""

    value: Any
    path: Path
    key: Any = _NOTHING  # of a mapping: the key whose value comes next
    seen: set[str] = field(default_factory=set)
    skips: bool = False  # the next value stands behind a key that cannot be taken


class _Builder:
    """Makes values of events. What cannot be taken is a fault, and stands as None."""

    def __init__(self, *, depth: int, plain: bool) -> None:
        self.document = Document()
        self.depth = depth
        self.plain = plain
        self.open: list[_Open] = []
        self.count = 0
        self.documents = 0

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                fault = _fault("has more than one document", _place(event.start_mark), "documents")
                raise refused([*self.document.faults, fault])
        elif isinstance(event, yaml.CollectionEndEvent):
            self.open.pop()
        elif isinstance(event, yaml.NodeEvent):
            self._node(event)

    def _node(self, event: Any) -> None:
        self.count += 1
        if self.count > MOST_VALUES:
            raise refused([_fault(f"has more than {MOST_VALUES} values", None, "too_many_values")])
        place = _place(event.start_mark)
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            self._add("anchors and aliases are not allowed", place, "alias")
        if getattr(event, "tag", None):
            self._add(f"tags such as {event.tag[:60]} are not allowed", place, "tag")
        top = self.open[-1] if self.open else None
        if top is not None and isinstance(top.value, dict) and top.key is _NOTHING:
            self._key(top, event, place)
            return
        self._value(top, event, place)

    def _key(self, top: _Open, event: Any, place: Place) -> None:
        """A key is taken once; behind one that cannot be taken its value is read, and dropped."""
        top.skips = True
        if not isinstance(event, yaml.ScalarEvent):
            self._add("keys must be plain texts", place, "key")
            top.key = None
            if isinstance(event, yaml.CollectionStartEvent):
                self._push(event, (*top.path, "?"), place)
            return
        top.key = event.value
        if event.value in top.seen:
            self._add(f"the key {event.value[:100]!r} stands twice", place, "duplicate_key",
                      (*top.path, event.value))  # fmt: skip
            return
        top.seen.add(event.value)
        kind = self._kind(event)
        if kind == "merge":
            self._add("merge keys are not read", place, "merge_key", (*top.path, event.value))
            return
        top.skips = False
        path = (*top.path, event.value)
        self.document.keys[path] = place
        self._check_text(event.value, place, path)
        # A program's key may be a number or a word such as yes; in JSON all keys are texts.
        top.key = event.value if self.plain else self._scalar(event, kind, place, path)

    def _value(self, top: _Open | None, event: Any, place: Place) -> None:
        path: Path = ()
        if top is not None:
            part = len(top.value) if isinstance(top.value, list) else str(top.key)
            path = (*top.path, part)
        if top is None or not top.skips:
            self.document.values[path] = place
        value: Any = None
        if isinstance(event, yaml.CollectionStartEvent):
            value = self._push(event, path, place)
        elif isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, self._kind(event), place, path)
        if top is None:
            self.document.value = value
        elif isinstance(top.value, list):
            top.value.append(value)
        else:
            if not top.skips:
                top.value[top.key] = value
            top.key, top.skips = _NOTHING, False

    def _push(self, event: Any, path: Path, place: Place) -> Any:
        if len(self.open) >= self.depth:
            # What follows may be as deep as the text is long.
            fault = _fault(f"is nested deeper than {self.depth} levels", place, "too_deep", path)
            raise refused([*self.document.faults, fault])
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.open.append(_Open(value, path))
        return value

    def _kind(self, event: Any) -> str:
        if event.tag:
            return "str"
        tag = _RESOLVER.resolve(yaml.ScalarNode, event.value, event.implicit)
        return str(tag).removeprefix(_TAG)

    def _scalar(self, event: Any, kind: str, place: Place, path: Path) -> Any:
        if kind not in _MAKERS or (kind == "timestamp" and self.plain):
            self._check_text(event.value, place, path)
            return event.value
        node = yaml.ScalarNode(_TAG + kind, event.value)
        try:
            value = _MAKERS[kind](_CONSTRUCTOR, node)
        except ValueError as error:  # a date such as 2026-99-99, a number such as 0x_
            self._add(str(error)[:300], place, "yaml_invalid", path)
            return None
        if self.plain and isinstance(value, float) and not math.isfinite(value):
            self._add("must be a finite number", place, "invalid", path)
            return None
        return value

    def _check_text(self, text: str, place: Place, path: Path) -> None:
        if self.plain and storable(text) != text:
            self._add("holds U+0000 or half a character", place, "invalid", path)

    def _add(self, message: str, place: Place, code: str, path: Path = ()) -> None:
        if len(self.document.faults) < MOST_FAULTS:
            self.document.faults.append(_fault(message, place, code, path))


_MAKERS: dict[str, Any] = {
    "null": yaml.constructor.SafeConstructor.construct_yaml_null,
    "bool": yaml.constructor.SafeConstructor.construct_yaml_bool,
    "int": yaml.constructor.SafeConstructor.construct_yaml_int,
    "float": yaml.constructor.SafeConstructor.construct_yaml_float,
    "timestamp": yaml.constructor.SafeConstructor.construct_yaml_timestamp,
}
