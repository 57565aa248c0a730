"""Serializers that take what is meant and nothing else.

Apart from `http`, which stands above serializers.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from rest_framework import serializers

# Fields that a JSON text fills. REST framework would also take a number for most of them, so that
# {"title": 5} made a ticket named "5".
_TEXTS = (
    serializers.CharField,
    serializers.UUIDField,
    serializers.ChoiceField,
    serializers.DateTimeField,
    serializers.DateField,
)


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses unknown keys, and numbers or truth values where a text belongs, each by its path.

    So nothing sent is silently ignored or turned into something else, in any body of any app.
    """

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
            no_texts = {
                path: [serializers.ErrorDetail("Must be a text.", code="invalid")]
                for name, value in data.items()
                for path in _no_texts(self.fields[name], value, name)
            }
            if no_texts:
                raise serializers.ValidationError(no_texts)
        return super().to_internal_value(data)


def _no_texts(field: Any, value: Any, path: str) -> Iterator[str]:
    """Paths of what is no text and has to be one; whether null will do is the field's own rule."""
    if isinstance(field, serializers.ListField) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _no_texts(field.child, item, f"{path}[{index}]")
    elif isinstance(field, _TEXTS) and value is not None and not isinstance(value, str):
        yield path
