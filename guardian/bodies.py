"""Request bodies: strict JSON. Apart from `http`, because DRF imports it early."""

import json
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from rest_framework import parsers

from guardian import errors


class StrictJSONParser(parsers.JSONParser):
    """JSON of at most 1 MiB, an object, no doubled keys, no NaN."""

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
            value = json.loads(raw, object_pairs_hook=_unique, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise MalformedJson(str(error)[:200]) from error
        if not isinstance(value, dict):
            raise errors.Invalid("The body must be a JSON object.", path="", reason="")
        if "\\u0000" in raw.decode("utf-8", "replace"):
            raise errors.Invalid("Text may not hold the character U+0000.")
        return value


class MalformedJson(errors.Invalid):
    """The body is not valid JSON."""

    code = "malformed_json"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
