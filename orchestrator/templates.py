"""Templates in arguments: `{{state.tests.total}}` stands for a value, never for code.

A text that is one template keeps the value's type; inside a longer text the value becomes text,
lists and objects as compact JSON. One pass: what a value holds is never read again, so braces in
data come out unchanged. `\\{{` writes two braces. Keys of objects are plain text.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from guardian.errors import ReferenceInvalid
from guardian.references import MISSING, ROOTS, Reference, parse_template
from orchestrator.errors import TemplateInvalid, TemplateMissing, TemplateTooLarge
from orchestrator.models.exact import ExactEncoder

MOST_TEMPLATES = 64
MOST_TEXT_BYTES = 8 * 1024
MOST_RENDERED_BYTES = 64 * 1024
MOST_ARGS_BYTES = 256 * 1024

Scope = Mapping[str, Any]


def parse(text: str) -> list[str | Reference]:
    """The plain parts and references of a text, in order.

    Raises TemplateInvalid, whose data names the column (from 1).
    """
    if "{{" not in text:
        return [text]
    if len(text.encode("utf-8", "replace")) > MOST_TEXT_BYTES:
        raise TemplateInvalid(f"A text with templates may have {MOST_TEXT_BYTES} bytes.", column=1)
    parts = list(_parts(text))
    if sum(isinstance(part, Reference) for part in parts) > MOST_TEMPLATES:
        raise TemplateInvalid(f"A text may have {MOST_TEMPLATES} templates.", column=1)
    return parts


def _parts(text: str) -> Iterator[str | Reference]:
    at = 0
    while (start := text.find("{{", at)) >= 0:
        if start > at and text[start - 1] == "\\":
            yield text[at : start - 1] + "{{"
            at = start + 2
            continue
        if start > at:
            yield text[at:start]
        try:
            reference, at = parse_template(text, start, roots=ROOTS)
        except ReferenceInvalid as error:
            raise TemplateInvalid(error.detail, column=error.data["column"]) from error
        yield reference
    if text[at:]:
        yield text[at:]


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a value that may hold templates, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from texts(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from texts(item, f"{path}[{index}]")


def references(value: Any) -> Iterator[Reference]:
    """Every reference in a value. Raises TemplateInvalid."""
    for _, text in texts(value):
        yield from (part for part in parse(text) if isinstance(part, Reference))


def render(value: Any, scope: Scope, *, limit: int = MOST_ARGS_BYTES) -> Any:
    """The value with every template replaced; `limit` is in bytes of its JSON.

    Raises TemplateInvalid, TemplateMissing, TemplateTooLarge.
    """
    rendered = _render(value, scope)
    size = len(compact_json(rendered).encode("utf-8", "replace"))
    if size > limit:
        raise TemplateTooLarge(f"{size} bytes are more than {limit}.", limit_bytes=limit)
    return rendered


def _render(value: Any, scope: Scope) -> Any:
    if isinstance(value, str):
        return _render_text(value, scope)
    if isinstance(value, Mapping):
        return {key: _render(item, scope) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_render(item, scope) for item in value]
    return value


def _render_text(text: str, scope: Scope) -> Any:
    parts = parse(text)
    if len(parts) == 1 and isinstance(parts[0], Reference):
        return _found(parts[0], scope)
    rendered = "".join(
        _as_text(_found(part, scope)) if isinstance(part, Reference) else part for part in parts
    )
    if len(parts) > 1 and len(rendered.encode("utf-8", "replace")) > MOST_RENDERED_BYTES:
        raise TemplateTooLarge(f"A text came out longer than {MOST_RENDERED_BYTES} bytes.")
    return rendered


def _found(reference: Reference, scope: Scope) -> Any:
    value = reference.find(scope)
    if value is MISSING or (value is None and reference.default is MISSING):
        raise TemplateMissing(f"{reference.path} is not there.", reference=reference.path)
    return value


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else compact_json(value)


def compact_json(value: Any) -> str:
    """JSON without blanks, characters as they are, decimals with all digits."""
    return json.dumps(value, cls=ExactEncoder, separators=(",", ":"), ensure_ascii=False)
