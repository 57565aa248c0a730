"""OpenAPI: every operation says which scope it needs, how it is limited and how it fails."""

import re
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import get_doc
from rest_framework.pagination import BasePagination

from guardian import examples, pages, stream_schema

PROBLEM = {"$ref": "#/components/schemas/Problem"}
# RFC 9457, with the members of Lemnos.
PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "example": "/docs/errors/not_found"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string", "description": "Stable; branch on this."},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "path": {"type": "string"},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
        "remedy": {"type": "object", "properties": {"text": {"type": "string"}}},
    },
    "additionalProperties": True,
}

INHERITED = frozenset({"list", "retrieve"})
LONGEST_SUMMARY = 110
FAILURE = {
    "description": "A problem; `code` says which. 429 and 503 carry Retry-After.",
    "content": {"application/problem+json": {"schema": PROBLEM}},
}


class LemnosSchema(AutoSchema):
    """Names that cannot collide, the scope of each operation, and one shape of failure."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is not None:
            scope = self._scope()
            if scope:
                operation["x-scope"] = scope
            if self._is_idempotent():
                operation.setdefault("parameters", []).append(IDEMPOTENCY_KEY)
            if self._key() in getattr(self.view, "version_required", frozenset()):
                operation.setdefault("parameters", []).append(IF_MATCH)
            operation["responses"]["default"] = FAILURE
        return operation

    def get_operation_id(self) -> str:
        """The path and what is done there: unique as the routes are."""
        path = re.sub(r"[^a-z0-9]+", "_", self.path.removeprefix("/api/v1").lower()).strip("_")
        return f"{path}_{getattr(self.view, 'action', None) or self.method.lower()}"

    def get_summary(self) -> str | None:
        """What is done, in one line of its own: `said` of the route, or the action's first line."""
        said = getattr(self.view, "said", "") or self._own_words().split("\n\n")[0]
        line = " ".join(said.split())
        # The line under a list of operations: further sentences belong to the description.
        line = line if len(line) <= LONGEST_SUMMARY else line.split(". ")[0]
        return line.rstrip(".") or None

    def get_description(self) -> str:  # type: ignore[override]  # drf-spectacular asks without
        words = self._own_words()
        about = get_doc(type(self.view))
        is_inherited = self._key() in INHERITED and words == self._row_words()
        return f"{words} {about}".strip() if is_inherited else words or about

    def _own_words(self) -> str:
        """What the action's own docstring says, or what a list or one row of these always is."""
        own: str = get_doc(getattr(self.view, self._key(), None))
        return own or self._row_words() or get_doc(type(self.view))

    def _row_words(self) -> str:
        """For the two actions that sets of rows inherit."""
        queryset = getattr(self.view, "queryset", None)
        if queryset is None or self._key() not in INHERITED:
            return ""
        names = queryset.model._meta
        if self._key() == "list":
            return f"List {names.verbose_name_plural}."
        return f"Show one {names.verbose_name}."

    def _get_serializer_name(self, *args: Any, **kwargs: Any) -> str:
        """The app is part of a shape's name: two apps may each have an Execution."""
        name: str = super()._get_serializer_name(*args, **kwargs)
        serializer = args[0] if args else kwargs["serializer"]
        module = getattr(serializer, "__module__", "") or type(serializer).__module__
        app = module.partition(".")[0].capitalize()
        return name if name.startswith(app) else f"{app}{name}"

    def _scope(self) -> str | None:
        scopes = getattr(self.view, "scopes", {})
        scope = scopes.get(self._key())
        return str(scope) if scope else None

    def _key(self) -> str:
        return str(getattr(self.view, "action", None) or self.method.lower())

    def _is_idempotent(self) -> bool:
        key = self._key()
        reading: frozenset[str] = getattr(self.view, "reading_posts", frozenset())
        return self.method == "POST" and key not in reading

    def _get_filter_parameters(self) -> list[dict[str, Any]]:
        """How a list may be asked, from what its view declares."""
        view: Any = self.view
        is_whole = self._key() in getattr(view, "whole_lists", frozenset())
        if not (self._is_paged() or is_whole):
            return []
        found = pages.parameters(
            view.queryset.model,
            filters=view.filters,
            search=view.searched,
            orderings=view.orderings,
            default=view.default_ordering,
        )
        return [each for each in found if not is_whole or each["name"] not in pages.PAGING]

    def _get_paginator(self) -> Any:
        if self._key() in getattr(self.view, "bare_arrays", frozenset()):
            return None
        return Pages()  # arrays that come whole have the same shape, their `next` is null

    def _is_paged(self) -> bool:
        """Lists of a set of rows; other arrays come whole."""
        paged = getattr(self.view, "paged_actions", frozenset({"list"}))
        return hasattr(self.view, "filters") and getattr(self.view, "action", "") in paged


class Pages(BasePagination):
    """The shape of a page, for the description alone: guardian.pages makes them."""

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["results", "next"],
            "properties": {
                "results": schema,
                "next": {
                    "type": ["string", "null"],
                    "description": "The cursor of the next page; null on the last.",
                },
                "total": {"type": "integer", "description": "With total=true."},
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return []  # beside the filters


IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "schema": {"type": "string", "maxLength": 255},
    "description": "The same key and body again give the stored answer and no second effect.",
}

IF_MATCH = {
    "in": "header",
    "name": "If-Match",
    "schema": {"type": "string", "example": '"v3"'},
    "description": "The ETag that was read, or *. Missing: 428; outdated: 412.",
}


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # its base has no types
    """`Authorization: Bearer lem_…`"""

    target_class = "guardian.identity.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "lem_<key id>.<secret>"}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # its base has no types
    """A person's session; unsafe methods also need the CSRF token."""

    target_class = "guardian.identity.SessionActorAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


def api_only(endpoints: list[Any]) -> list[Any]:
    """One path for each operation: shorter addresses of the same views are left out."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith("/api/v1/")]


def add_stream(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """What is served beside Django's views."""
    operation = stream_schema.stream_operation()
    operation["responses"]["default"] = FAILURE
    paths = {**result["paths"], stream_schema.PATH: {"get": operation}}
    result["paths"] = dict(sorted(paths.items()))
    return result


def add_problem(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """The shape of every failure, once."""
    result["components"]["schemas"]["Problem"] = PROBLEM_SCHEMA
    _simplify(result)
    examples.add_examples(result)
    return result


def _simplify(node: Any) -> None:
    """`oneOf: [anything, null]` takes null twice, so it would take none: it is anything."""
    if isinstance(node, dict):
        if node.get("oneOf") == [{}, {"type": "null"}]:
            del node["oneOf"]
        for inner in node.values():
            _simplify(inner)
    elif isinstance(node, list):
        for inner in node:
            _simplify(inner)
