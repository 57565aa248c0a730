"""How lists of the admin show related rows and states."""

import json
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import DecimalField, ForeignKey, JSONField, Model
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from guardian import links

# States of all rows by what they mean to an operator; what is not here stays grey.
TONES = {
    "ok": "completed done passed active approved held fresh published executed closed resolved ok",
    "run": "running assigned in_progress validating warming",
    "wait": "pending waiting proposed queued under_review draft needs_work half_open paused",
    "bad": "failed error parked quarantined timeout rejected blocked expired open degraded high"
    " critical",
}
_TONE_OF = {word: tone for tone, words in TONES.items() for word in words.split()}
NO_BREAK = "\u00a0"
# Measured spans: seconds per unit, and the title without it.
_SPANS = {
    "execution_time_ms": (0.001, "took"),
    "duration_ms": (0.001, "took"),
    "duration_seconds": (1.0, "took"),
}
_STATES = {"status", "state", "severity", "gate_status", "result_class"}


def column_of(model: type[Model], name: str) -> Any:
    """Related rows as links, states as badges; anything else as it is."""
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return name
    if isinstance(field, ForeignKey):
        return _as_column(partial(_linked, name), name, field.verbose_name)
    if name in _STATES and not field.is_relation:
        return _as_column(partial(_badge, name), name, getattr(field, "verbose_name", name))
    if links.is_soft(name) and name != model._meta.pk.name:
        title = str(getattr(field, "verbose_name", name)).removesuffix(" id")
        return _as_column(partial(_soft, name), name, title)
    return span_of(model, name) or figure_of(field) or name


def told_of(model: type[Model], name: Any) -> Any:
    """How a row's own page tells a field: spans of time as people do, documents line by line."""
    try:
        field = model._meta.get_field(name) if isinstance(name, str) else None
    except FieldDoesNotExist:
        field = None
    if name == "next_at":
        return _as_column(_next_time, "next_at", "next at")
    if isinstance(field, JSONField):
        return _as_column(partial(_document, str(name)), str(name), field.verbose_name)
    return span_of(model, name) or figure_of(field) or name


def _document(name: str, row: Any) -> SafeString | str:
    value = getattr(row, name)
    if value in (None, {}, [], ""):
        return "–"
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str, sort_keys=True)
    return format_html('<pre class="lem-document" tabindex="0">{}</pre>', text)


def _next_time(row: Any) -> Any:
    """Only what still waits has a next time; the column keeps the last one."""
    waits = getattr(row, "state", "pending") == "pending"
    return date_format(row.next_at, "DATETIME_FORMAT") if waits else "–"


def _soft(name: str, row: Any) -> SafeString | str:
    """An id kept without a foreign key: its last characters, which differ, lead to the row."""
    value = getattr(row, name)
    url = links.soft_page(name, value)
    if not url:
        return "–"
    short = f"…{str(value)[-8:]}"
    return format_html('<a class="lem-link" href="{}" title="{}">{}</a>', url, value, short)


_ID_BEHIND = re.compile(r" \([0-9a-f]{8}-[0-9a-f-]{27}\)$")


def named(row: Any) -> str:
    """A row's name as people read it, without the id that tells it from its namesakes."""
    return _ID_BEHIND.sub("", str(row))


def figure_of(field: Any) -> Any:
    """A column that tells a decimal as people write it; None for what is no decimal."""
    if not isinstance(field, DecimalField):
        return None
    return _as_column(partial(_figure, str(field.name)), str(field.name), field.verbose_name)


def _figure(name: str, row: Any) -> str:
    value = getattr(row, name)
    return "–" if value is None else told_figure(value)


def told_figure(value: Decimal) -> str:
    """A decimal without the places that say nothing: 7.00, 0.80, 0.0000012."""
    whole, _, places = f"{value:f}".partition(".")
    return f"{whole}.{places.rstrip('0').ljust(2, '0')}"


def span_of(model: type[Model], name: Any) -> Any:
    """A column that tells a span of time as people do; None for what is no measured span."""
    factor, title = _SPANS.get(name, (0.0, ""))
    return _as_column(partial(_span, name, factor), name, title) if factor else None


def _span(name: str, factor: float, row: Any) -> str:
    value = getattr(row, name)
    return "–" if value is None else told_span(float(value) * factor).replace(" ", NO_BREAK)


def told_span(seconds: float) -> str:
    """A span of time with as much detail as matters: 340 ms, 1.2 s, 45 s, 3 min, 2 h 5 min."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{minutes} min"


def ago(moment: datetime) -> str:
    """How long a moment is past: 45 s ago, 3 min ago."""
    return f"{told_span(max(0.0, (timezone.now() - moment).total_seconds()))} ago"


def _as_column(show: Callable[[Any], Any], name: str, title: Any) -> Callable[[Any], Any]:
    def column(row: Any) -> Any:
        return show(row)

    column.__name__ = name
    column.short_description = title  # type: ignore[attr-defined]  # how Django's admin is told
    column.admin_order_field = name  # type: ignore[attr-defined]  # as above
    return column


def _linked(name: str, row: Any) -> SafeString | str:
    other: Model | None = getattr(row, name)
    url = links.page_of(other) if other is not None else None
    return (
        format_html('<a class="lem-link" href="{}">{}</a>', url, named(other))
        if url
        else "–"
        if other is None
        else named(other)
    )


def _badge(name: str, row: Any) -> SafeString | str:
    value = str(getattr(row, name) or "")
    if not value:
        return "–"
    tone = _TONE_OF.get(value, "none")
    return format_html('<span class="lem-badge lem-{}">{}</span>', tone, value.replace("_", " "))
