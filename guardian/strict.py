"""Serializers that refuse unknown keys. Apart from `http`, which stands above serializers."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers


class StrictSerializer(serializers.Serializer[Any]):
    """An unknown key is an error that names it; so nothing sent is silently ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            allowed = {name for name, field in self.fields.items() if not field.read_only}
            unknown = sorted(set(data) - allowed)
            if unknown:
                raise serializers.ValidationError(
                    {
                        key: serializers.ErrorDetail("This field is unknown.", code="unknown_field")
                        for key in unknown
                    }
                )
        return super().to_internal_value(data)
