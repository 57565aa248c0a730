"""From row to row in the admin: up along what a row names, down to the rows that name it.

Foreign keys are followed by themselves. Ids that are kept without a foreign key, because they point
to a sibling or upwards, are declared once by the app that owns their target: `soft_link`.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import ForeignKey, Model
from django.urls import reverse

_soft: dict[str, type[Model]] = {}
_paths: dict[type[Model], dict[str, str]] = {}


def soft_link(field_name: str, target: type[Model]) -> None:
    """Columns of this name, in whatever app, hold ids of `target`."""
    _soft[field_name] = target


def is_soft(field_name: str) -> bool:
    """Whether columns of this name hold ids without a foreign key."""
    return field_name in _soft


def soft_path(model: type[Model], lookup: str, field_name: str) -> None:
    """Rows of `model` hold, under a JSON lookup like context__ticket_id, an id of that name."""
    _paths.setdefault(model, {})[lookup] = field_name


def titled(name: Any) -> str:
    """A name as a title: its first letter large, abbreviations as they are."""
    text = str(name)
    return text[:1].upper() + text[1:]


def page_of(row: Model | None) -> str | None:
    """The row's page, if its model has one."""
    if row is None or not admin.site.is_registered(type(row)):
        return None
    return _page(type(row), row.pk)


def _page(model: type[Model], pk: Any) -> str:
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
    return reverse(name, args=[quote(str(pk))])


def soft_page(field_name: str, pk: Any) -> str | None:
    """The page of the row that an id kept under this name means; it need not exist any more."""
    target = _soft.get(field_name)
    return _page(target, pk) if target is not None and pk else None


def list_of(model: type[Model], **where: Any) -> str:
    """The list of a model, narrowed by lookups."""
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
    return f"{reverse(name)}?{urlencode(where)}" if where else reverse(name)


def events_of(model: type[Model], pk: Any) -> str:
    """All events about a row."""
    event = apps.get_model("guardian", "Event")
    return list_of(event, subject_label=model._meta.label_lower, subject_id=str(pk))


def ways_up(row: Model) -> dict[str, str]:
    """What this row names: {label: URL}."""
    found: dict[str, str] = {}
    for field in row._meta.concrete_fields:
        key = isinstance(field, ForeignKey)
        target: Any = field.related_model if key else _soft.get(field.name)
        value = getattr(row, field.attname) if target is not None else None
        if value and admin.site.is_registered(target):
            label = titled(str(field.verbose_name).removesuffix(" id"))
            found[label] = _page(target, value)
    return found | _subject(row)


def _subject(row: Model) -> dict[str, str]:
    """The row an event, error or order is about, named as (label, id)."""
    for prefix in ("subject", "target"):
        label, pk = getattr(row, f"{prefix}_label", ""), getattr(row, f"{prefix}_id", "")
        try:
            model = apps.get_model(label) if label and pk else None
        except (LookupError, ValueError):
            model = None
        if model is not None and admin.site.is_registered(model):
            return {titled(model._meta.verbose_name): _page(model, pk)}
    return {}


def ways_down(row: Model) -> dict[str, str]:
    """The lists of rows that name this one: {label: URL}."""
    found = dict(_naming(type(row), row.pk))
    if row._meta.label_lower != "guardian.event":
        found["Events"] = events_of(type(row), row.pk)
    return found


def _naming(target: type[Model], pk: Any) -> Iterator[tuple[str, str]]:
    soft_names = {name for name, model in _soft.items() if model is target}
    for model in sorted(apps.get_models(), key=lambda m: m._meta.label):
        if not admin.site.is_registered(model):
            continue
        title = titled(model._meta.verbose_name_plural)
        keys = [
            field.name
            for field in model._meta.concrete_fields
            if (isinstance(field, ForeignKey) and field.related_model is target)
            or (not field.is_relation and field.name in soft_names)
        ]
        for lookup, name in _paths.get(model, {}).items():
            if name in soft_names:
                yield title, list_of(model, **{lookup: pk})
        for key in keys:
            label = title if len(keys) == 1 else f"{title} ({key.replace('_', ' ')})"
            is_key = model._meta.get_field(key).is_relation
            yield label, list_of(model, **{f"{key}__id__exact" if is_key else key: pk})
