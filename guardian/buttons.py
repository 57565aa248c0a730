"""A verb of an operator on a row, shown as a button: who may, where it fits, what it asks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django import forms

from guardian.authority import Actor, may

REASON_CHARACTERS = (3, 500)
Fields = Mapping[str, forms.Field]


@dataclass(frozen=True, kw_only=True)
class Secret:
    """What a button made and nobody can read again."""

    said: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Button:
    """One verb of an operator on a row: who may, where it fits, what it asks."""

    name: str
    label: str
    explanation: str
    scope: str
    level: int
    human: bool
    danger: bool
    bulk: bool
    asks_reason: bool
    on_list: bool
    fits: Callable[[Any], bool]
    permits: Callable[[Actor, Any], bool]
    fields: Callable[[Any], Fields] | None = field(default=None, repr=False)

    def allowed_to(self, actor: Actor) -> bool:
        return may(actor, self.scope, level=self.level, human=self.human)

    def open_to(self, actor: Actor, row: Any) -> bool:
        """Also where the right depends on the row, such as one's own."""
        return self.allowed_to(actor) and self.permits(actor, row)


def reasoned_action(
    *,
    label: str,
    scope: str,
    level: int = 1,
    human: bool = False,
    danger: bool = False,
    bulk: bool = True,
    asks_reason: bool = True,
    on_list: bool = False,
    fits: Callable[[Any], bool] = lambda row: True,
    permits: Callable[[Actor, Any], bool] = lambda actor, row: True,
    fields: Callable[[Any], Fields] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make an admin's method a button. Its docstring is what the confirmation page explains.

    The method is called with keyword arguments actor, row, reason and those of `fields`. A text it
    returns is shown to whoever pressed, once, in place of "Done"; a Secret gets a page of its own.
    `permits`: whether this actor may on this row, where the right depends on whose it is.
    `on_list`: it makes a row, so it stands over the list, has no `row`, and `fields` is given the
    actor.
    """

    def mark(method: Callable[..., Any]) -> Callable[..., Any]:
        button = Button(
            name=method.__name__,
            label=label,
            explanation=(method.__doc__ or "").strip(),
            scope=scope,
            level=level,
            human=human,
            danger=danger,
            bulk=bulk and fields is None and not on_list,
            asks_reason=asks_reason,
            on_list=on_list,
            fits=fits,
            permits=permits,
            fields=fields,
        )
        method.button = button  # type: ignore[attr-defined]  # how the admin finds its buttons
        return method

    return mark


class ReasonForm(forms.Form):
    """Why it is done; the event keeps it."""

    reason = forms.CharField(
        min_length=REASON_CHARACTERS[0],
        max_length=REASON_CHARACTERS[1],
        widget=forms.Textarea(attrs={"rows": 3, "autofocus": True}),
        help_text="Kept with the event, for whoever asks later.",
    )
