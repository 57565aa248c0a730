"""How every list is asked: filters, search, ordering, and pages that lose and double no row."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core import signing
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import Field, Model, Q, QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from guardian import errors
from guardian.lookups import UnfitValueError, filters_of, orderings_of, refused, value_of

PAGE_PARAMETERS = ("limit", "cursor", "total", "ordering", "format")
MOST_ROWS = 200
MOST_ORDERINGS = 3
MOST_SEARCH = 200


def is_whole_number(text: str) -> bool:
    """Digits 0 to 9 alone: `isdigit` also takes the likes of a superscript two."""
    return text.isascii() and text.isdecimal()


# One question


class ListQuery:
    """A list as a request asks for it. Raises BadFilter, BadCursor."""

    def __init__(
        self,
        request: Request,
        model: type[Model],
        *,
        filters: Mapping[str, str],
        search: Sequence[str] = (),
        orderings: Mapping[str, str] | None = None,
        default: str = "-id",
    ) -> None:
        self.parameters = {k: str(v) for k, v in request.query_params.items()}
        self.model = model
        self.filters = filters_of(model, filters)
        self.search = tuple(search)
        self.orderings = orderings_of(model, orderings or {}, filters)
        self.default = default
        self.limit = _limit(self.parameters.get("limit", "50"))
        self.want_total = _total(self.parameters.get("total", "false"))

    def filtered(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """The rows that match the query parameters."""
        for name, text in self.parameters.items():
            if name in PAGE_PARAMETERS:
                continue
            if name == "search" and self.search:
                rows = rows.filter(self._found(text))
                continue
            asked = self.filters.get(name)
            if asked is None:
                known = sorted({*self.filters, *(["search"] if self.search else [])})
                refused(name, f"is unknown; known: {', '.join(known) or 'none'}")
            try:
                rows = rows.filter(**{asked.lookup: value_of(asked, text)})
            except UnfitValueError as error:
                refused(name, str(error))
            except (ValueError, TypeError, OverflowError, DjangoValidationError):
                refused(name, "has a value it cannot take")
        return rows

    def _found(self, text: str) -> Q:
        """Every word in some searched field."""
        if "\x00" in text or len(text) > MOST_SEARCH:
            refused("search", f"must be a text of at most {MOST_SEARCH} characters")
        condition = Q()
        for word in text.split():
            anywhere = Q()
            for field in self.search:
                anywhere |= Q(**{f"{field}__icontains": word})
            condition &= anywhere
        return condition

    def page(self, rows: QuerySet[Any]) -> "Page":
        """The asked page of these rows, which are filtered already."""
        return Page(self, rows)

    def keys(self) -> "list[_Key]":
        """What the list is ordered by; the id breaks ties."""
        asked = self.parameters.get("ordering") or self.default
        found: dict[str, _Key] = {}
        for part in asked.split(","):
            name = part.strip().removeprefix("-")
            column = self.orderings.get(name)
            if column is None:
                refused("ordering", f"knows no {name!r}; known: {', '.join(self.orderings)}")
            found.setdefault(column, _Key(column, part.strip().startswith("-")))
        if len(found) > MOST_ORDERINGS:
            refused("ordering", f"takes at most {MOST_ORDERINGS} names")
        keys = list(found.values())
        identity = self.model._meta.pk.name
        if identity not in found:
            keys.append(_Key(identity, keys[0].descending))
        return keys

    def salt(self, keys: "Sequence[_Key]") -> str:
        """A cursor goes on in the list that made it: the same rows in the same order."""
        asked = sorted((k, v) for k, v in self.parameters.items() if k not in _ASIDE)
        text = json.dumps([self.model._meta.label_lower, asked, [str(key) for key in keys]])
        return f"cursor:{hashlib.sha256(text.encode()).hexdigest()[:24]}"


_ASIDE = {"cursor", "limit", "total", "format", "ordering"}


def _limit(text: str) -> int:
    if not is_whole_number(text) or not 1 <= int(text[:9]) <= MOST_ROWS:
        refused("limit", f"must be a whole number from 1 to {MOST_ROWS}")
    return int(text)


def _total(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        refused("total", "must be true or false")
    return text.lower() == "true"


@dataclass(frozen=True, slots=True)
class _Key:
    column: str
    descending: bool

    def __str__(self) -> str:
        return f"-{self.column}" if self.descending else self.column


class Page:
    """A keyset page: rows written while paging are neither doubled nor lost."""

    def __init__(self, query: ListQuery, rows: QuerySet[Any]) -> None:
        keys = query.keys()
        salt = query.salt(keys)
        columns = {f.attname: f for f in query.model._meta.concrete_fields}
        fields = [columns[key.column] for key in keys]
        for key, field in zip(keys, fields, strict=True):
            if field.null:  # what has no place in the order is on no page of it
                rows = rows.filter(**{f"{key.column}__isnull": False})
        self.total = rows.count() if query.want_total else None
        after = _after(query.parameters.get("cursor", ""), salt, fields)
        if after is not None:
            rows = rows.filter(_beyond(keys, after))
        found = list(rows.order_by(*map(str, keys))[: query.limit + 1])
        self.rows = found[: query.limit]
        self.next: str | None = None
        if len(found) > query.limit:
            values = [field.value_to_string(self.rows[-1]) for field in fields]
            self.next = signing.dumps(values, salt=salt)

    def response(self, results: Sequence[Any]) -> Response:
        body: dict[str, Any] = {"results": results, "next": self.next}
        if self.total is not None:
            body["total"] = self.total
        return Response(body)


def _after(text: str, salt: str, fields: "Sequence[Field[Any, Any]]") -> list[Any] | None:
    if not text:
        return None
    try:
        values = signing.loads(text, salt=salt)
        return [field.to_python(value) for field, value in zip(fields, values, strict=True)]
    except (signing.BadSignature, ValueError, DjangoValidationError) as error:
        raise errors.BadCursor(path="cursor") from error


def _beyond(keys: Sequence[_Key], values: Sequence[Any]) -> Q:
    """Behind the last row of the page before, compared as a whole."""
    condition = Q()
    equal: dict[str, Any] = {}
    for key, value in zip(keys, values, strict=True):
        sign = "lt" if key.descending else "gt"
        condition |= Q(**equal, **{f"{key.column}__{sign}": value})
        equal[key.column] = value
    return condition


# What OpenAPI says about it


# Parameters that ask for a page; the others say which rows.
PAGING = frozenset({"ordering", "limit", "cursor", "total"})


def parameters(
    model: type[Model],
    *,
    filters: Mapping[str, str],
    search: Sequence[str],
    orderings: Mapping[str, str],
    default: str,
) -> Iterator[dict[str, Any]]:
    """The query parameters of a list."""
    for name, each in filters_of(model, filters).items():
        shape = each.schema()
        found: dict[str, Any] = {"in": "query", "name": name, "schema": shape}
        if shape["type"] == "array":
            found |= {"explode": False, "style": "form"}
        if text := each.description():
            found["description"] = text.capitalize() + "."
        yield found
    if search:
        yield _parameter("search", {"type": "string", "maxLength": MOST_SEARCH},
                         f"Words that all occur in {' or '.join(search)}.")  # fmt: skip
    names = ", ".join(orderings_of(model, orderings, filters))
    said = f"Up to {MOST_ORDERINGS} of {names}; a minus in front turns one around."
    yield _parameter("ordering", {"type": "string", "default": default}, said)
    yield _parameter("limit", {"type": "integer", "minimum": 1, "maximum": MOST_ROWS,
                               "default": 50}, "Rows on a page.")  # fmt: skip
    yield _parameter("cursor", {"type": "string"}, "`next` of the page before.")
    yield _parameter("total", {"type": "boolean", "default": False}, "Count all rows, too.")


def _parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"in": "query", "name": name, "schema": schema, "description": description}
