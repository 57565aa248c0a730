"""An example of each body and answer in the API's description, made from its own shape."""

import re
from typing import Any

# What fields of these names usually hold; everything else is made from its type.
SAMPLES: dict[str, Any] = {
    "agent": "repo_checks",
    "artifact_type": "report",
    "capabilities": ["review"],
    "code": "tests_failed",
    "column": "building",
    "cron": "0 6 * * 1",
    "description": "What is to be done, and how one sees that it is.",
    "device_id": "screen-7",
    "email": "ada@example.org",
    "filename": "report.md",
    "kind": "build.finished",
    "key": "default",
    "key_id": "a1B2c3D4e5F6",
    "label": "urgent",
    "labels": ["urgent"],
    "message": "2 of 41 tests failed.",
    "name": "Nightly build",
    "note": "Half of the files are read.",
    "query": "flaky tests",
    "reason": "The cause is gone.",
    "resource_id": "main",
    "resource_type": "branch",
    "scopes": ["tickets:read", "tasks:work"],
    "slug": "nightly-build",
    "summary": "All 41 tests passed.",
    "text": "The tests of this module need a clock in UTC.",
    "timezone": "UTC",
    "title": "Release 1.4",
    "to_phase": "PHASE_TESTING",
    "type": "build.finished",
    "token": "lem_a1B2c3D4e5F6.(43 characters, shown once)",
    "url": "https://example.org/hook",
    "version": "1.4.0",
    "workflow": "default",
}
FORMATS = {
    "uuid": "01932b7a-6c1e-7d3f-9a51-3f7f2f1c0e5d",
    "date-time": "2026-11-02T09:30:00Z",
    "date": "2026-11-02",
    "uri": "https://example.org/hook",
    "decimal": "0.50",
    "binary": "(bytes)",
}
DEEPEST = 6


def example_of(schema: Any, components: dict[str, Any], name: str = "", depth: int = 0) -> Any:
    """A value that the schema takes; of an object its required members, or all if none is."""
    schema = resolved(schema, components)
    for key in ("example", "const", "default"):
        if schema.get(key) is not None:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("oneOf", "anyOf", "allOf"):
        if schema.get(key):
            return example_of(schema[key][0], components, name, depth)
    kinds = schema.get("type", "object" if "properties" in schema else None)
    if name == "next" and "null" in (kinds or ()):
        return None
    kind = kinds[0] if isinstance(kinds, list) else kinds
    if (sample := SAMPLES.get(name)) is not None and _is(sample, kind, schema):
        return sample
    return _by_kind(kind, schema, components, name, depth)


def resolved(schema: Any, components: dict[str, Any]) -> dict[str, Any]:
    while isinstance(schema, dict) and "$ref" in schema:
        schema = components[schema["$ref"].rsplit("/", 1)[1]]
    return schema if isinstance(schema, dict) else {}


def _is(sample: Any, kind: Any, schema: dict[str, Any]) -> bool:
    if isinstance(sample, list):
        return kind == "array" and "enum" not in schema.get("items", {})
    fits = (
        kind == "string"
        and "format" not in schema
        and bool(re.search(schema.get("pattern", ""), sample))
    )
    return fits and len(sample) <= schema.get("maxLength", len(sample))


def _by_kind(kind: Any, schema: dict[str, Any], components: Any, name: str, depth: int) -> Any:
    if kind == "object" and depth < DEEPEST:
        members = schema.get("properties", {})
        wanted = schema.get("required") or members
        return {
            key: example_of(members[key], components, key, depth + 1)
            for key in members
            if key in wanted
        }
    if kind == "array" and depth < DEEPEST:
        item = schema.get("items", {})
        return [example_of(item, components, name, depth + 1)] if item else []
    if kind in {"integer", "number"}:
        return schema.get("minimum", 1)
    if kind == "string":
        return _text(schema)
    return {"boolean": True, "object": {}, "array": []}.get(kind)


def _text(schema: dict[str, Any]) -> str:
    if schema.get("format") in FORMATS:
        return FORMATS[schema["format"]]
    return "x" * schema.get("minLength", 0) or "text"[: schema.get("maxLength", 4)]


def add_examples(document: dict[str, Any]) -> None:
    """Write an example beside each JSON body and each JSON answer of every operation."""
    components = document["components"]["schemas"]
    for methods in document["paths"].values():
        for operation in methods.values():
            contents = [operation.get("requestBody", {})]
            contents += [a for code, a in operation["responses"].items() if code.startswith("2")]
            for content in contents:
                shape = content.get("content", {}).get("application/json")
                if shape is not None and "example" not in shape:
                    shape["example"] = example_of(shape["schema"], components)
