"""Serializers that take what is meant and nothing else.

Apart from `http`, which stands above serializers.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from django.http import QueryDict
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
# field classes, types of their values, message. REST framework would read "5" as a number and "yes"
# as true. Amounts of money are texts or numbers, so decimals are left to it.
_TYPES: tuple[tuple[tuple[type, ...], tuple[type, ...], str], ...] = (
    (_TEXTS, (str,), "Must be a text."),
    ((serializers.BooleanField,), (bool,), "Must be true or false."),
    ((serializers.IntegerField, serializers.FloatField), (int, float), "Must be a number."),
)


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses unknown keys, and values of another JSON type than the field's, each by its path.

    So nothing sent is silently ignored or turned into something else, in any body of any app.
    """

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            allowed = {name for name, field in self.fields.items() if not field.read_only}
            unknown = sorted(set(data) - allowed)
            if unknown:
                raise serializers.ValidationError(
                    {
                        key: serializers.ErrorDetail(_unknown(key, allowed), code="unknown_field")
                        for key in unknown
                    }
                )
            # A form has nothing but texts.
            is_form = isinstance(data, QueryDict)
            faults = {
                path: [serializers.ErrorDetail(message, code="invalid")]
                for name, value in ({} if is_form else data).items()
                for path, message in _faults(self.fields[name], value, name)
            }
            if faults:
                raise serializers.ValidationError(faults)
        return super().to_internal_value(data)


def _unknown(key: Any, allowed: set[str]) -> str:
    """Says what would have been known, first what was probably meant."""
    known = ", ".join(sorted(allowed)) or "none"
    near = get_close_matches(str(key), allowed, n=1)
    # amount_usd and limit_usd were meant as amount and limit.
    near = near or [name for name in sorted(allowed) if name in str(key).split("_")][:1]
    meant = f" Did you mean {near[0]}?" if near else ""
    return f"This field is unknown.{meant} Known: {known}."


def _faults(field: Any, value: Any, path: str) -> Iterator[tuple[str, str]]:
    """(path, message) of each value of another type; whether null will do is the field's rule."""
    if isinstance(field, serializers.ListField) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _faults(field.child, item, f"{path}[{index}]")
    elif value is not None:
        chooses_one = isinstance(field, serializers.ChoiceField) and not isinstance(
            field, serializers.MultipleChoiceField
        )
        if chooses_one and isinstance(value, str):
            known = [str(key) for key in field.choices]
            if value not in known and not (value == "" and field.allow_blank):
                yield path, f"Must be one of {', '.join(known)}."
        for kinds, types, message in _TYPES:
            # To Python a truth value is a number; to JSON it is not.
            fits = isinstance(value, types) and (bool in types or not isinstance(value, bool))
            if isinstance(field, kinds) and not fits:
                yield path, message
