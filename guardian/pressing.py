"""The pages behind the buttons of the admin: what will happen, why, and what came of it."""

import re
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.views.decorators.debug import sensitive_variables

from guardian import links, stale
from guardian.authority import Actor
from guardian.buttons import Button, ReasonForm, Secret
from guardian.columns import named
from guardian.errors import AlreadyExists, DomainError, Forbidden, Invalid, KindReserved


class AtField(Exception):
    """The form says at its fields why nothing was done."""


def said_by(refusal: DomainError) -> str:
    """A refusal and its remedy as sentences."""
    return " ".join(filter(None, map(sentence, (refusal.detail, refusal.remedy_text))))


def sentence(text: str) -> str:
    """With a full stop where a sentence lacks its end."""
    text = text.strip()
    return text if not text or text[-1] in ".!?…”" else f"{text}."


def at_field(form: forms.Form, refusal: DomainError) -> bool:
    """Put what is wrong with a value where it was written; False: it is about no field here."""
    if not isinstance(refusal, Invalid | AlreadyExists | KindReserved):
        return False
    found = False
    for fault in refusal.data.get("errors", []):
        name = re.split(r"[.\[]", str(fault["path"]))[0]
        if name in form.fields:
            said = sentence(str(fault["message"]))
            # Where it stands is told by the place; another remedy than that is worth saying.
            more = "" if refusal.remedy_text == Invalid.remedy else refusal.remedy_text
            form.add_error(name, f"{said[:1].upper()}{said[1:]} {more}".strip())
            found = True
    if not found:
        name = next((name for name in refusal.data if name in form.fields), "")
        if name:
            form.add_error(name, said_by(refusal))
        found = bool(name)
    return found


class Pressing:
    """One press of one button by one operator; the admin it stands in knows rows and actors."""

    def __init__(self, its: Any, request: HttpRequest, button: Button) -> None:
        self.its = its
        self.request = request
        self.button = button

    # One row

    def on_row(self, row: Model, actor: Actor) -> HttpResponse:
        """The page that asks; once confirmed, the press. A row changed meanwhile is left alone."""
        if not self.button.open_to(actor, row):
            raise PermissionDenied
        hidden = set(self.its.exclude or ())
        form = self.form(row, bound=self.request.method == "POST")
        changed = stale.changes(self.request.POST.get("seen", ""), row, hidden=hidden)
        edits = self.button.fields is not None
        extra = {"seen": stale.seen(row, hidden=hidden), "changed": changed if edits else []}
        if changed is None or (edits and changed) or not form.is_valid():
            return self.page([row], form, **extra)
        try:
            answer = self.press(row, form.cleaned_data, form=form)
        except AtField:
            return self.page([row], form, **extra)
        return answer or HttpResponseRedirect(self._back(row))

    def _back(self, row: Model) -> str:
        """To the row, or to the list where the press took it away."""
        is_there = self.its.get_queryset(self.request).filter(pk=row.pk).exists()
        page = links.page_of(row) if is_there else None
        return page or links.list_of(self.its.model)

    # No row yet

    def on_list(self, actor: Actor) -> HttpResponse:
        """The page that asks for what is to be made; once it is made, a secret is shown once."""
        if not self.button.allowed_to(actor):
            raise PermissionDenied
        form = self.form(actor, bound=self.request.method == "POST")
        back = links.list_of(self.its.model)
        if not form.is_bound or not form.is_valid():
            return self.page([], form, back=back)
        try:
            said = getattr(self.its, self.button.name)(actor=actor, **form.cleaned_data)
        except DomainError as refusal:
            if not at_field(form, refusal):
                form.add_error(None, said_by(refusal))
            return self.page([], form, back=back)
        return self.told(said, self.button.label, back) or HttpResponseRedirect(back)

    # Both

    def form(self, given: Any, *, bound: bool) -> forms.Form:
        """What is done first, then why. `given`: the row, or the actor where there is none."""
        data = self.request.POST if bound else None
        form = ReasonForm(data) if self.button.asks_reason else forms.Form(data)
        extra = self.button.fields(given) if self.button.fields else {}
        form.fields = {**extra, **form.fields}
        for number, field in enumerate(form.fields.values()):
            field.widget.attrs.pop("autofocus", None)
            if number == 0:
                field.widget.attrs["autofocus"] = True
        return form

    def page(self, rows: list[Any], form: forms.Form, **extra: Any) -> HttpResponse:
        opts = self.its.opts
        names = [named(row) for row in rows]
        subject = names[0] if len(names) == 1 else f"{len(names)} {opts.verbose_name_plural}"
        many = "action" in self.request.POST
        misfits = [row for row in rows if not self.button.fits(row)]
        context = {
            **self.its.admin_site.each_context(self.request),
            "title": f"{self.button.label}: {subject}" if rows else self.button.label,
            "opts": opts,
            "button": self.button,
            "rows": rows,
            "misfits": misfits,
            "fitting": len(rows) - len(misfits),
            "form": form,
            "many": many,
            "back": self.request.get_full_path() if many else rows and links.page_of(rows[0]),
            **extra,
        }
        return TemplateResponse(self.request, "guardian/operators/confirm.html", context)

    def press(
        self, row: Any, values: dict[str, Any], *, form: forms.Form | None = None
    ) -> HttpResponse | None:
        """Call the service for one row and say what came of it.

        Raises AtField when what is wrong stands at a field of `form` now.
        """
        try:
            actor = self.its.actor_on(self.request, row)
            if not self.button.open_to(actor, row):
                raise Forbidden
            said = getattr(self.its, self.button.name)(actor=actor, row=row, **values)
        except DomainError as refusal:
            if form is not None and at_field(form, refusal):
                raise AtField from refusal
            text = f"{named(row)}: {said_by(refusal)}"
            self.its.message_user(self.request, text, messages.ERROR)
            return None
        return self.told(said, f"{self.button.label}: {named(row)}", links.page_of(row))

    @sensitive_variables("said")
    def told(self, said: Any, title: str, back: str | None) -> HttpResponse | None:
        """A secret gets a page that nothing keeps; anything else is a message."""
        if not isinstance(said, Secret):
            text = f"{title}. {said or 'Done.'}"
            self.its.message_user(self.request, text, messages.SUCCESS)
            return None
        context = {
            **self.its.admin_site.each_context(self.request),
            "title": title,
            "secret": said,
            "back": back or links.list_of(self.its.model),
        }
        return TemplateResponse(
            self.request,
            "guardian/operators/secret.html",
            context,
            headers={"Cache-Control": "no-store"},
        )
