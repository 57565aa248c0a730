"""What a row looked like when somebody opened a form on it, and what has changed since."""

from decimal import Decimal
from typing import Any

from django.core import signing
from django.db.models import Model

from guardian.columns import told_figure
from guardian.links import titled

SALT = "guardian.stale"
# What moves by itself and is no edit.
_NOISE = {
    "updated_at", "version", "revision", "beat_no", "lease_expires_at", "failures", "spent",
    "reserved",
}  # fmt: skip
_NOISY_ENDS = (
    "heartbeat",
    "heartbeat_at",
    "_used_at",
    "_used_ip",
    "_assigned_at",
    "_count",
    "_run",
)


def seen(row: Model, *, hidden: set[str]) -> str:
    """A signed picture of the row, for a hidden field; never of what its page hides."""
    return signing.dumps([_name(row), picture(row, hidden=hidden)], salt=SALT, compress=True)


def picture(row: Model, *, hidden: set[str]) -> dict[str, str]:
    return {
        field.name: _told(row, field)
        for field in row._meta.concrete_fields
        if field.name not in hidden | _NOISE
        and not field.name.endswith(_NOISY_ENDS)
        and not field.generated
    }


def _told(row: Model, field: Any) -> str:
    value = getattr(row, field.attname)
    if isinstance(value, Decimal):
        return told_figure(value)
    return "–" if value is None else str(value)


def changes(text: str, row: Model, *, hidden: set[str]) -> list[dict[str, str]] | None:
    """[{field, before, now}] since the picture was made; None: it is no picture of this row."""
    try:
        name, before = signing.loads(text, salt=SALT)
    except signing.BadSignature:
        return None
    if name != _name(row):
        return None
    now = picture(row, hidden=hidden)
    titles = {field.name: titled(field.verbose_name) for field in row._meta.concrete_fields}
    return [
        {
            "field": titles[key],
            "before": before[key],
            "now": now[key],
        }
        for key in now
        if key in before and before[key] != now[key]
    ]


def _name(row: Model) -> str:
    return f"{row._meta.label_lower} {row.pk}"
