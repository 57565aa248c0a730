"""Filters of the admin's lists that name only what an operator may see."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Field, ForeignKey, Model
from django.http import HttpRequest

MOST_CHOICES = 200


class OwnRelated(admin.RelatedFieldListFilter):
    """The related rows of the operator's teams: the names of others' are nobody's business."""

    def field_choices(
        self, field: "Field[Any, Any]", request: HttpRequest, model_admin: Any
    ) -> list[tuple[str, Any]]:
        target: Any = field.related_model
        their_admin = model_admin.admin_site._registry.get(target)  # noqa: SLF001  no getter exists
        if their_admin is None:
            return []
        rows = their_admin.get_queryset(request)
        ordered = rows.order_by(*(target._meta.ordering or ["pk"]))[:MOST_CHOICES]
        return [(str(row.pk), str(row)) for row in ordered]


def within_reach(model: type[Model], name: Any) -> Any:
    """The filter for a list's entry: foreign keys get one that keeps to the operator's teams."""
    if not isinstance(name, str):
        return name
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return name
    return (name, OwnRelated) if isinstance(field, ForeignKey) else name
