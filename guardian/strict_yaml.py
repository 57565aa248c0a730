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


class _Loader(yaml.CSafeLoader):
    """The safe loader that refuses doubled keys."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  the library's signature
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(names) != len(node.value):
            raise YamlInvalid("The keys of an object must be plain texts.")
        if len(set(names)) != len(names):
            raise YamlInvalid("An object has the same key twice.")
        return super().construct_mapping(node, deep)


def load(text: str, *, depth: int = MOST_DEPTH) -> Any:
    """The one document of a text. Raises YamlInvalid."""
    try:
        _judge(text, depth)
        return yaml.load(text, Loader=_Loader)  # noqa: S506  a subclass of the safe loader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        what = getattr(error, "problem", None) or str(error)
        raise YamlInvalid(f"{line}{what}"[:300]) from error
    except ValueError as error:  # a date such as 2026-99-99
        raise YamlInvalid(str(error)[:300]) from error


def _judge(text: str, depth: int) -> None:
    level = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise YamlInvalid(f"line {line}: anchors and aliases are not allowed")
        if isinstance(event, yaml.CollectionStartEvent):
            level += 1
            if level > depth:
                raise YamlInvalid(f"line {line}: is nested deeper than {depth} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            level -= 1
