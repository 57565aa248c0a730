"""YAML from strangers: plain values only, of limited depth, no anchors, no doubled keys.

The C loader composes nested values by recursion in C, so a few hundred kilobytes of `[` end the
process; and it never asks Python about aliases. Both are judged here on the stream of events,
before anything is composed.
"""

from typing import Any

import yaml

from guardian.errors import Invalid

MOST_DEPTH = 20


class YamlInvalid(Invalid):
    """This YAML cannot be read."""

    code = "yaml_invalid"
    remedy = "Correct the place it names; keys may stand once and aliases are not read."


class _Loader(yaml.CSafeLoader):
    """The safe loader that refuses doubled keys."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  the library's signature
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _fault("keys must be plain texts", key.start_mark)
            if key.value in seen:
                raise _fault(f"the key {key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(text: str, *, depth: int = MOST_DEPTH) -> Any:
    """The one document of a text. Raises YamlInvalid, whose `errors` name line and column."""
    try:
        _judge(text, depth)
        return yaml.load(text, Loader=_Loader)  # noqa: S506  a subclass of the safe loader
    except yaml.YAMLError as error:
        what = getattr(error, "problem", None) or str(error)
        raise _fault(what[:300], getattr(error, "problem_mark", None)) from error
    except ValueError as error:  # a date such as 2026-99-99
        raise _fault(str(error)[:300], None) from error


def _fault(what: str, mark: Any) -> YamlInvalid:
    """`mark` is a place PyYAML tells, counted from zero; None where it knows none."""
    place = {"line": mark.line + 1, "column": mark.column + 1} if mark else {}
    return YamlInvalid(
        f"line {mark.line + 1}: {what}" if mark else what,
        errors=[{"path": "", "code": YamlInvalid.code, "message": what, **place}],
    )


def _judge(text: str, depth: int) -> None:
    level = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _fault("anchors and aliases are not allowed", event.start_mark)
        if isinstance(event, yaml.CollectionStartEvent):
            level += 1
            if level > depth:
                raise _fault(f"is nested deeper than {depth} levels", event.start_mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            level -= 1
