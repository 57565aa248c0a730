"""OpenAPI: every operation says which scope it needs and how it fails."""

from typing import Any

from drf_spectacular.openapi import AutoSchema


class LemnosSchema(AutoSchema):
    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is not None:
            scope = self._scope()
            if scope:
                operation["x-scope"] = scope
            operation["responses"]["default"] = {
                "description": "Problem",
                "content": {"application/problem+json": {"schema": {"type": "object"}}},
            }
        return operation

    def _scope(self) -> str | None:
        scopes = getattr(self.view, "scopes", {})
        key = getattr(self.view, "action", None) or self.method.lower()
        scope = scopes.get(key)
        return str(scope) if scope else None
