"""Request bodies: strict JSON. Apart from `http`, because DRF imports it early."""

import json
import math
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from rest_framework import parsers

from guardian import errors
from guardian.foreign_errors import MalformedJson

MAX_DEPTH = 100


class StrictJSONParser(parsers.JSONParser):
    """JSON of at most 1 MiB, an object, no doubled keys, and only what PostgreSQL can keep."""

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        raw = stream.read(settings.JSON_BODY_LIMIT + 1)
        if len(raw) > settings.JSON_BODY_LIMIT:
            raise errors.BodyTooLarge(limit_bytes=settings.JSON_BODY_LIMIT)
        if not raw.strip():
            return {}
        try:
            value = read_json(raw)
        except ValueError as error:
            raise MalformedJson(str(error)[:200]) from error
        if not isinstance(value, dict):
            raise errors.Invalid("The body must be a JSON object.", path="", reason="")
        check_storable(value)
        return _from_identity(value, (parser_context or {}).get("request"))


def read_json(text: str | bytes) -> Any:
    """JSON as its standard has it, and no key twice. Raises ValueError."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _from_identity(body: dict[str, Any], request: Any) -> dict[str, Any]:
    """Team and level come from who asks: a body may repeat its own team, and claims no level."""
    body.pop("authority", None)
    if "team_id" in body:
        actor = getattr(request, "auth", None)
        if str(body.pop("team_id")).lower() != str(getattr(actor, "team_id", "")):
            raise errors.NotFound("There is no such team here.")
    return body


def check_storable(value: Any) -> None:
    """Raises Invalid with the path of the first thing that jsonb or text cannot hold."""
    # No recursion: the depth is what is judged.
    todo: list[tuple[Any, str, int]] = [(value, "", 0)]
    while todo:
        item, path, depth = todo.pop()
        if depth > MAX_DEPTH:
            raise errors.Invalid(path=path[:200], reason=f"is nested more than {MAX_DEPTH} deep")
        if isinstance(item, str):
            _check_text(item, path)
        elif isinstance(item, float) and not math.isfinite(item):
            raise errors.Invalid(path=path[:200], reason="is a number too large to keep")
        elif isinstance(item, dict):
            for key, inner in item.items():
                _check_text(key, path)
                todo.append((inner, f"{path}.{key}" if path else key, depth + 1))
        elif isinstance(item, list):
            todo.extend((inner, f"{path}[{i}]", depth + 1) for i, inner in enumerate(item))


def _check_text(text: str, path: str) -> None:
    if "\x00" in text:
        raise errors.Invalid(path=path[:200], reason="may not hold the character U+0000")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise errors.Invalid(path=path[:200], reason="holds half of a surrogate pair")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
