"""Workflows in the operators' admin: as files, and the edits that are made every week."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from guardian.authority import Actor, may
from guardian.buttons import ReasonForm
from guardian.errors import DomainError, Forbidden
from guardian.identity import session_actor
from guardian.operators import Fields, RecordAdmin, reasoned_action
from guardian.pressing import said_by
from phases import models, services
from phases.workflow_diff import Plan
from phases.workflow_yaml import LIMIT_BYTES

WRITE = "workflows:write"


@dataclass(frozen=True)
class Way:
    """A link that stands among the buttons and leads to a page of its own."""

    label: str
    explanation: str
    danger: bool = False


IMPORT = Way("Import…", "Makes or changes a workflow from its YAML; shows first what it would do.")
EXPORT = Way("Export", "Downloads this workflow as YAML, as it is now.")


class ImportForm(forms.Form):
    """The text is pasted or uploaded; after a dry run it is carried on to the confirmation."""

    file = forms.FileField(required=False, label="File", help_text="At most 1 MiB.")
    yaml = forms.CharField(
        required=False,
        strip=False,
        label="Or its text",
        widget=forms.Textarea(attrs={"rows": 16, "spellcheck": "false"}),
    )
    overwrite = forms.BooleanField(
        required=False,
        label="Change what is there",
        help_text="Without it only what is missing is made. Phases with tickets always stay.",
    )

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        uploaded = found.get("file")
        if uploaded is not None:
            try:
                found["yaml"] = uploaded.read(LIMIT_BYTES + 1).decode("utf-8")
            except UnicodeDecodeError:
                self.add_error("file", "This file is no UTF-8 text.")
        # A browser sends each end of a line as two characters.
        found["yaml"] = found.get("yaml", "").replace("\r\n", "\n")
        if not found["yaml"].strip() and not self.errors:
            self.add_error("yaml", "Choose a file or paste its text.")
        return found


@admin.register(models.Workflow)
class WorkflowAdmin(RecordAdmin):
    icon = "schema"
    list_display = ["name", "key", "team", "is_default", "initial_phase"]
    list_filter = ["is_default", "team"]
    search_fields = ["name", "key"]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("import/", view(self.import_view), name="phases_workflow_import"),
            path("<uuid:pk>/export/", view(self.export_view), name="phases_workflow_export"),
            *super().get_urls(),
        ]

    def _makes(self, request: HttpRequest) -> Iterable[dict[str, Any]]:
        yield from super()._makes(request)
        # No row is typed in: the address for that stays shut, also to who may import.
        match = request.resolver_match
        if match is None or not str(match.url_name).endswith("_changelist"):
            return
        actor = _actor(request)
        if actor is not None and may(actor, WRITE):
            yield {"button": IMPORT, "url": reverse("admin:phases_workflow_import")}

    def _presses(self, request: HttpRequest, row: Any) -> Iterable[dict[str, Any]]:
        yield from super()._presses(request, row)
        yield {"button": EXPORT, "url": reverse("admin:phases_workflow_export", args=[row.pk])}

    def export_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """The workflow as a file."""
        row = self.get_queryset(request).filter(pk=pk).first()
        if row is None or not self.has_view_permission(request, row):
            raise Http404
        text = services.export_workflow(workflow_id=row.pk)
        response = HttpResponse(text, content_type="application/yaml; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="{row.key}.yaml"'
        response["X-Content-Type-Options"] = "nosniff"
        return response

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """The text, then what it would do, then the reason; a changed workflow is shown anew."""
        actor = _actor(request)
        if actor is None or not may(actor, WRITE) or not self.has_view_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return self._page(request, ImportForm())
        form = ImportForm(request.POST, request.FILES)
        if not form.is_valid():
            return self._page(request, form)
        try:
            return self._confirmed(request, actor, form)
        except DomainError as refusal:
            for fault in refusal.data.get("errors", [])[:20]:
                place = f"Line {fault['line']}: " if "line" in fault else ""
                form.add_error("yaml", f"{place}{fault['path']} {fault['message']}".strip())
            form.add_error(None, said_by(refusal))
            return self._page(request, form)

    def _confirmed(self, request: HttpRequest, actor: Actor, form: forms.Form) -> HttpResponse:
        """Import what was shown and confirmed, or show what would be done. Raises DomainError."""
        values = {name: form.cleaned_data[name] for name in ("yaml", "overwrite")}
        digest = request.POST.get("digest")
        why = ReasonForm(None if digest is None else request.POST)
        shown = _import(actor, values, dry_run=True)
        changed = digest not in {None, shown.digest}
        if digest is None or changed or not why.is_valid():
            return self._page(request, form, plan=shown, why=why, values=values, changed=changed)
        made = _import(actor, values, expect_digest=digest, **why.cleaned_data)
        self.message_user(request, _said(made), messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:phases_workflow_changelist"))

    def _page(self, request: HttpRequest, form: forms.Form, **extra: Any) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Import a workflow",
            "opts": self.opts,
            "form": form,
            "back": reverse("admin:phases_workflow_changelist"),
            **extra,
        }
        return TemplateResponse(request, "phases/operators/workflow_import.html", context)


def _actor(request: HttpRequest) -> Actor | None:
    try:
        return session_actor(request)
    except Forbidden:
        return None


def _import(actor: Actor, values: dict[str, Any], **options: Any) -> Plan:
    return services.import_file(
        actor=actor, text=values["yaml"], overwrite=values["overwrite"], **options
    )


def _said(made: Plan) -> str:
    counts: dict[str, list[Any]] = {
        "made": made.creates,
        "changed": made.updates,
        "deleted": made.deletes,
        "left for their tickets": made.refused,
    }
    told = ", ".join(f"{len(paths)} {word}" for word, paths in counts.items() if paths)
    return f"Imported {made.document['name']}: {told or 'nothing was different'}."


def phase_fields(phase: models.Phase) -> Fields:
    return {
        "name": forms.CharField(max_length=100, initial=phase.name),
        "phase_prompt": forms.CharField(
            required=False,
            max_length=20_000,
            initial=phase.phase_prompt,
            label="Prompt",
            widget=forms.Textarea(attrs={"rows": 8}),
            help_text="What whoever claims work of this phase reads: goal, proof, limits.",
        ),
        "next_steps_guide": forms.CharField(
            required=False,
            initial="\n".join(phase.next_steps_guide),
            label="Next steps",
            widget=forms.Textarea(attrs={"rows": 4}),
            help_text="One a line.",
        ),
        "review_required": forms.BooleanField(required=False, initial=phase.review_required),
        "max_review_iterations": forms.IntegerField(
            min_value=1, max_value=10, initial=phase.max_review_iterations
        ),
    }


@admin.register(models.Phase)
class PhaseAdmin(RecordAdmin):
    icon = "flag"
    list_display = ["name", "key", "workflow", "column", "sequence_order", "kind"]
    list_filter = ["kind", "workflow"]
    search_fields = ["name", "key"]

    @reasoned_action(label="Change…", scope=WRITE, fields=phase_fields)
    def change(self, *, actor: Actor, row: models.Phase, reason: str, **values: Any) -> None:
        """The next claim of this phase's work shows it; what is claimed already stays as told."""
        steps = values.pop("next_steps_guide").splitlines()
        changes = {
            **values,
            "phase_prompt": values["phase_prompt"].replace("\r\n", "\n"),
            "next_steps_guide": [step.strip() for step in steps if step.strip()],
        }
        services.change_phase(
            actor=actor, phase_id=row.pk, version=row.version, changes=changes, reason=reason
        )


def column_fields(column: models.BoardColumn) -> Fields:
    others = column.workflow.columns.exclude(pk=column.pk).order_by("position")
    return {
        "name": forms.CharField(max_length=100, initial=column.name),
        "wip_limit": forms.IntegerField(
            required=False,
            min_value=1,
            max_value=100_000,
            initial=column.wip_limit,
            label="Limit",
            help_text="How many tickets may be worked on in it at once; empty for no limit.",
        ),
        "auto_transition_to": forms.ChoiceField(
            required=False,
            choices=[("", "nowhere by itself"), *((c.key, c.name) for c in others)],
            initial=column.auto_transition_to,
            label="Tickets go on to",
        ),
        "color": forms.ChoiceField(choices=models.BoardColumn.Color.choices, initial=column.color),
    }


@admin.register(models.BoardColumn)
class BoardColumnAdmin(RecordAdmin):
    icon = "view_column"
    list_display = [
        "name", "workflow", "wip_limit", "admitted_count", "queued_count", "total_count",
        "exceeded_since",
    ]  # fmt: skip
    list_filter = ["workflow"]
    search_fields = ["name", "key"]

    @reasoned_action(label="Change…", scope=WRITE, fields=column_fields)
    def change(self, *, actor: Actor, row: models.BoardColumn, reason: str, **values: Any) -> None:
        """A higher limit lets queued tickets in at once; a lower one sends nobody away, and the
        board says by how many it is exceeded."""
        services.change_column(
            actor=actor, column_id=row.pk, version=row.version, changes=values, reason=reason
        )
