"""What every page of the operators' admin shares: rows are read here and changed by services.

A button is a method under `reasoned_action`: shown to those who may, on rows it fits; it leads to
a page that says what will happen and asks for a reason; then it calls one service.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

from django.apps import apps
from django.contrib import messages
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ERROR_FLAG
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DataError
from django.db.models import ForeignKey, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from guardian import links
from guardian.asked import once, teams_operated
from guardian.authority import Actor, actor_for
from guardian.buttons import Button, Fields, Secret, reasoned_action
from guardian.columns import column_of, told_of
from guardian.errors import Forbidden
from guardian.filters import within_reach
from guardian.identity import session_actor
from guardian.links import titled
from guardian.lists import titled_list
from guardian.pressing import Pressing

if apps.is_installed("unfold"):
    from unfold.admin import ModelAdmin
else:  # the plain admin shows the same pages, less handsomely
    from django.contrib.admin import ModelAdmin

ROWS_AT_ONCE = 100


class RecordAdmin(ModelAdmin):  # type: ignore[misc, unused-ignore]  # unfold comes without types
    """Rows to search, filter and follow; nothing is added, edited or deleted by hand."""

    show_full_result_count = False
    list_per_page = 50
    change_form_template = "guardian/operators/record.html"
    change_list_template = "guardian/operators/list.html"
    # The group and sign in the side bar; the app's own unless a model belongs elsewhere.
    section: ClassVar[str] = ""
    icon: ClassVar[str] = "data_object"
    # Where a row's team is found; None: the row belongs to the whole installation.
    team_path: ClassVar[str | None] = "team"
    # The least authority to see these rows at all.
    view_level: ClassVar[int] = 1
    # What an operator reads where there is no row.
    when_empty: ClassVar[str] = "Rows appear here by themselves as Lemnos works."
    # Related rows that a row's own name needs; those its columns show are found by themselves.
    list_select_related: ClassVar[Sequence[str]] = ()

    class Media:
        css = {"all": ["lemnos/admin.css"]}

    # Who sees what

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if not super().has_view_permission(request, obj):
            return False
        if self.view_level == 1:
            return True
        actor = _actor_or_none(request)
        return actor is not None and actor.authority >= self.view_level

    def has_module_permission(self, request: HttpRequest) -> bool:
        return super().has_module_permission(request) and self.has_view_permission(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Rows of the operator's teams and those of the whole installation."""
        rows: QuerySet[Any] = super().get_queryset(request)
        if self.team_path is None:
            return rows
        teams = teams_operated(request)
        return rows.filter(Q(**{f"{self.team_path}__in": teams}) | Q(**{self.team_path: None}))

    def team_of(self, row: Any) -> Any:
        """The team a row belongs to; None for what belongs to the whole installation."""
        for name in (self.team_path or "").split("__"):
            row = getattr(row, name, None) if name else None
        return row

    def actor_on(self, request: HttpRequest, row: Any) -> Actor:
        """Who the operator is in the row's team. Raises Forbidden."""
        team = self.team_of(row)
        if team is None:
            return once(request, "actor", partial(session_actor, request))
        return once(request, f"actor in {team.pk}", partial(actor_for, request.user, team))  # type: ignore[arg-type]  # only users pass the admin's door

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """What a row's page hides is not asked for either: its answers would spell it out."""
        if lookup.partition("__")[0] in (self.exclude or ()):
            return False
        allowed: bool = super().lookup_allowed(lookup, value, request)
        return allowed

    # Lists

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        names = list(super().get_list_display(request))
        return [names[0], *(self._column(name) for name in names[1:])]

    def get_list_select_related(self, request: HttpRequest) -> Sequence[str]:
        keys = {field.name for field in self.opts.fields if isinstance(field, ForeignKey)}
        return [*(keys & set(self.list_display)), *self.list_select_related]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """On a row's page, too, spans of time and documents are told for people."""
        return [told_of(self.model, name) for name in super().get_fields(request, obj)]

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        """Filters by a related row offer only rows that the operator may see."""
        return [within_reach(self.model, name) for name in super().get_list_filter(request)]

    def _column(self, name: Any) -> Any:
        own = not isinstance(name, str) or hasattr(type(self), name)
        return name if own else column_of(self.model, name)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """The buttons that may be pressed for many rows at once."""
        actor = _actor_or_none(request)
        if actor is None:
            return {}
        return {
            name: (partial(self._for_many, button=button), name, button.label)
            for name, button in self.buttons().items()
            if button.bulk and button.allowed_to(actor)
        }

    def _for_many(
        self, _admin: Any, request: HttpRequest, queryset: QuerySet[Any], *, button: Button
    ) -> HttpResponse | None:
        rows = list(queryset[: ROWS_AT_ONCE + 1])
        if not rows:
            self.message_user(request, "None of these rows is there any more.", messages.ERROR)
            return None
        if len(rows) > ROWS_AT_ONCE:
            self.message_user(request, f"At most {ROWS_AT_ONCE} rows at once.", messages.ERROR)
            return None
        pressing = Pressing(self, request, button)
        form = pressing.form(rows[0], bound="confirmed" in request.POST)
        if not form.is_bound or not form.is_valid():
            return pressing.page(rows, form)
        for row in rows:
            pressing.press(row, form.cleaned_data)
        return None

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        makes = {"makes": list(self._makes(request))}
        try:
            response: HttpResponse = super().changelist_view(request, (extra_context or {}) | makes)
        except (ValueError, OverflowError, ValidationError, DataError):
            # A value in the address that no row can have, such as U+0000 or the year 99999999.
            if not request.GET and not request.POST:
                raise
            return HttpResponseRedirect(f"{request.path}?{ERROR_FLAG}=1")
        return response

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return titled_list(super().get_changelist(request, **kwargs))

    def _makes(self, request: HttpRequest) -> Iterable[dict[str, Any]]:
        makers = [button for button in self.buttons().values() if button.on_list]
        actor = _actor_or_none(request) if makers else None
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_make"
        for button in makers:
            if actor is not None and button.allowed_to(actor):
                yield {"button": button, "url": reverse(name, args=[button.name])}

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """No row is typed in: to the button that makes one, or a word on where rows come from."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        makes = list(self._makes(request))
        if makes and request.method == "GET":
            return HttpResponseRedirect(makes[0]["url"])
        if any(button.on_list for button in self.buttons().values()):
            raise PermissionDenied
        many = titled(self.opts.verbose_name_plural)
        context = {
            **self.admin_site.each_context(request),
            "title": f"{many} are not added by hand",
            "back": links.list_of(self.model),
        }
        return TemplateResponse(request, "guardian/operators/not_by_hand.html", context, status=403)

    # One row

    @classmethod
    def buttons(cls) -> dict[str, Button]:
        """In the order they are written."""
        members = (value for base in reversed(cls.__mro__) for value in vars(base).values())
        found = (getattr(member, "button", None) for member in members)
        return {button.name: button for button in found if isinstance(button, Button)}

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        press = self.admin_site.admin_view(self.press_view)
        make = self.admin_site.admin_view(self.make_view)
        return [
            path("make/<slug:verb>/", make, name=f"{name}_make"),
            path("<path:object_id>/press/<slug:verb>/", press, name=f"{name}_press"),
            *super().get_urls(),
        ]

    def press_view(self, request: HttpRequest, object_id: str, verb: str) -> HttpResponse:
        """The confirmation page of a button, and its press."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404
        button = self.buttons().get(verb)
        if button is None or button.on_list or not self.has_view_permission(request, row):
            raise PermissionDenied
        return Pressing(self, request, button).on_row(row, self._actor_or_403(request, row))

    def make_view(self, request: HttpRequest, verb: str) -> HttpResponse:
        """The page of a button that makes a row, and its press."""
        button, actor = self.buttons().get(verb), _actor_or_none(request)
        allowed = actor is not None and self.has_view_permission(request)
        if button is None or not button.on_list or actor is None or not allowed:
            raise PermissionDenied
        return Pressing(self, request, button).on_list(actor)

    def _actor_or_403(self, request: HttpRequest, row: Any) -> Actor:
        try:
            return self.actor_on(request, row)
        except Forbidden as refusal:
            raise PermissionDenied from refusal

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        context = dict(extra_context or {})
        if row is not None and request.method == "GET":
            context |= {
                "presses": list(self._presses(request, row)),
                "ways_up": links.ways_up(row) | self.extra_links(row),
                "ways_down": links.ways_down(row),
                "tables": self.tables(row),
            }
        response: HttpResponse = super().change_view(request, object_id, form_url, context)
        return response

    def extra_links(self, row: Any) -> dict[str, str]:
        """Further related pages of a row: {label: URL}."""
        return {}

    def tables(self, row: Any) -> list[Any]:
        """What belongs to a row and is read with it (guardian/row_panels.py)."""
        return []

    def _presses(self, request: HttpRequest, row: Any) -> Iterable[dict[str, Any]]:
        actor = _actor_or_none(request, partial(self.actor_on, request, row))
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_press"
        for button in self.buttons().values():
            shown = not button.on_list and button.fits(row)
            if actor is not None and shown and button.open_to(actor, row):
                yield {"button": button, "url": reverse(name, args=[quote(row.pk), button.name])}

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """What happened to a row is in the events."""
        return HttpResponseRedirect(links.events_of(self.model, unquote(object_id)))


def _actor_or_none(request: HttpRequest, ask: Callable[[], Actor] | None = None) -> Actor | None:
    try:
        return ask() if ask else once(request, "actor", partial(session_actor, request))
    except Forbidden:
        return None


__all__ = ["Fields", "ModelAdmin", "RecordAdmin", "Secret", "reasoned_action"]
