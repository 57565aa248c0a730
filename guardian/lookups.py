"""The filters of a list: which there are by its view's word, and what their values mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from django.core.exceptions import FieldDoesNotExist
from django.db.models import (
    BooleanField,
    DateField,
    DateTimeField,
    DecimalField,
    Field,
    FloatField,
    ForeignKey,
    IntegerField,
    JSONField,
    Model,
    UUIDField,
)

from guardian import errors

MOST_VALUES = 200
COMPARABLE = (DateField, DecimalField, FloatField, IntegerField)
BOUNDS = {"gte": "at least", "lte": "at most", "gt": "more than", "lt": "less than"}
# Beside the filters a view names, each of their fields can be asked for in these ways.
VARIANTS = ("in", "gte", "lte", "isnull")


@dataclass(frozen=True, slots=True)
class Filter:
    """One query parameter of a list: its ORM lookup, the field it asks, how it compares."""

    name: str
    lookup: str
    field: "Field[Any, Any] | None"
    how: str = "exact"

    def schema(self) -> dict[str, Any]:
        """The value's shape in OpenAPI."""
        if self.how == "isnull" or isinstance(self.field, BooleanField):
            return {"type": "boolean"}
        one: dict[str, Any] = {"type": "string", **_shape(self.field)}
        if self.how == "in":
            return {"type": "array", "items": one}
        return one

    def description(self) -> str:
        said = {"in": "one of these, separated by commas", "isnull": "whether it is missing"}
        return said.get(self.how) or BOUNDS.get(self.how, "")


def _shape(field: "Field[Any, Any] | None") -> dict[str, Any]:
    choices = [key for key, _ in getattr(field, "flatchoices", ())]
    if choices:
        return {"enum": choices, "type": "integer" if isinstance(choices[0], int) else "string"}
    for kind, shape in (
        (DateTimeField, {"format": "date-time"}),
        (DateField, {"format": "date"}),
        (UUIDField, {"format": "uuid"}),
        (IntegerField, {"type": "integer"}),
        ((FloatField, DecimalField), {"type": "number"}),
    ):
        if isinstance(field, kind):
            return shape
    return {}


def field_at(model: type[Model], lookup: str) -> "tuple[Field[Any, Any] | None, list[str]]":
    """The field that a lookup such as `phase__key__in` ends at, and what of it is no field."""
    parts = lookup.split("__")
    field: Any = None
    here: Any = model
    while parts and here is not None:
        name = parts[0]
        try:
            field = here._meta.get_field(name if name != "pk" else here._meta.pk.name)
        except FieldDoesNotExist:
            field = _by_column(here, name) or field
            if field is None or getattr(field, "attname", "") != name:
                break
        parts.pop(0)
        here = getattr(field, "related_model", None)
        if isinstance(field, ForeignKey) and (not parts or field.attname == name):
            field, here = field.target_field, None
    return field, parts


def _by_column(model: Any, name: str) -> Any:
    return next((f for f in model._meta.concrete_fields if f.attname == name), None)


def filters_of(model: type[Model], named: Mapping[str, str]) -> dict[str, Filter]:
    """Every filter of a list by its name: those the view names, and the variants of each."""
    found: dict[str, Filter] = {}
    for name, lookup in named.items():
        field, rest = field_at(model, lookup)
        how = rest[-1] if rest and rest[-1] in {*VARIANTS, *BOUNDS, "contains"} else "exact"
        found[name] = Filter(name, lookup, field, how)
        if rest:  # a transform or a comparison of its own
            continue
        variants = ["in"] if not isinstance(field, (BooleanField, JSONField)) else []
        if isinstance(field, COMPARABLE) and not getattr(field, "flatchoices", ()):
            variants += ["gte", "lte"]
        if _may_be_null(model, lookup):
            variants.append("isnull")
        for variant in variants:
            key = f"{name}__{variant}"
            found.setdefault(key, Filter(key, f"{lookup}__{variant}", field, variant))
    return found


def _may_be_null(model: type[Model], lookup: str) -> bool:
    here: Any = model
    for part in lookup.split("__"):
        try:
            field: Any = here._meta.get_field(part)
        except FieldDoesNotExist:
            field = _by_column(here, part)
        if field is None:
            return False
        if getattr(field, "null", False):
            return True
        here = getattr(field, "related_model", None)
        if here is None:
            break
    return False


def orderings_of(
    model: type[Model], named: Mapping[str, str], filters: Mapping[str, str]
) -> dict[str, str]:
    """What a list can be ordered by: the id, when it was made, and filtered columns never null."""
    found = {"id": model._meta.pk.name, **named}
    columns = {f.attname: f for f in model._meta.concrete_fields}
    wanted = {**{name: name for name in ("created_at", "updated_at")}, **filters}
    for name, column in wanted.items():
        field = columns.get(column)
        if field is not None and not field.null and not isinstance(field, JSONField):
            found.setdefault(name, column)
    return found


# Values


class UnfitValueError(ValueError):
    """A value that the filtered field never has; says which it may have."""


def value_of(asked: Filter, text: str) -> Any:
    """The value of a query parameter as its field's type. Raises ValueError or ValidationError."""
    if "\x00" in text:
        raise ValueError("a null character")
    if asked.how == "isnull":
        return _truth(text)
    if asked.how == "contains":
        return [text]
    if asked.how != "in":
        return _one(asked.field, text)
    values = [part.strip() for part in text.split(",") if part.strip()]
    if len(values) > MOST_VALUES:
        raise UnfitValueError(f"takes at most {MOST_VALUES} values")
    return [_one(asked.field, value) for value in values]


def _one(field: "Field[Any, Any] | None", text: str) -> Any:
    known = [str(key) for key, _ in getattr(field, "flatchoices", ())]
    if known and text not in known:
        raise UnfitValueError(f"is none of {', '.join(known)}")
    if isinstance(field, BooleanField):
        return _truth(text)
    if isinstance(field, DateTimeField):
        return _moment(text)
    if field is None or isinstance(field, JSONField):
        return text
    value = field.to_python(text)
    if isinstance(field, IntegerField):
        field.run_validators(value)  # the range that the column holds
    return value


def _truth(text: str) -> bool:
    known = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in known:
        raise UnfitValueError("must be true or false")
    return known[text.lower()]


def _moment(text: str) -> datetime:
    """A date or time; without a zone it is meant in UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    # As UTC: PostgreSQL knows no zone 17 hours away, which ISO 8601 can write.
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def refused(name: str, reason: str) -> NoReturn:
    raise errors.BadFilter(path=name, reason=reason)
