"""The operators' first page and side bar, put together from what each app registers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Count, IntegerField, Model, QuerySet, Value
from django.http import HttpRequest
from django.urls import reverse

from guardian import health
from guardian.identity import session_actor
from guardian.links import list_of, titled

Where = Mapping[str, Any]
# Sections of the side bar in their order; an app without one of its own gets the last.
SECTIONS = ("Work", "Agents", "Tools", "Memory", "Guard", "Money", "Events", "People")
SECTION_OF_APP = {
    "phases": "Work",
    "orchestrator": "Agents",
    "tools": "Tools",
    "memory": "Memory",
    "procrastinate": "Events",
}


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A number that leads to exactly the rows it counts."""

    title: str
    model: type[Model]
    where: Where | Callable[[], Where]
    narrow: Callable[[QuerySet[Any]], QuerySet[Any]] | None
    group: str


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A small table of the first page: rows {title, name, count, limit, full, waiting, url}."""

    title: str
    rows: Callable[[list[UUID]], list[dict[str, Any]]]


_pages: list[dict[str, str]] = []
_tiles: list[Tile] = []
_panels: list[Panel] = []


def page(title: str, *, icon: str, route: str) -> None:
    """Name a page outside of the admin at the top of the side bar."""
    _pages.append({"title": title, "icon": icon, "route": route})


def tile(
    title: str,
    model: type[Model],
    *,
    where: Where | Callable[[], Where],
    group: str,
    narrow: Callable[[QuerySet[Any]], QuerySet[Any]] | None = None,
) -> None:
    """Count rows on the first page. `where`: the list's own query; `narrow` says it in ORM terms
    where the list uses a filter of its own. Groups: attention, running."""
    _tiles.append(Tile(title=title, model=model, where=where, narrow=narrow, group=group))


def panel(title: str, rows: Callable[[list[UUID]], list[dict[str, Any]]]) -> None:
    """Show a small table on the first page, for the operator's teams."""
    _panels.append(Panel(title=title, rows=rows))


def tiles(request: HttpRequest) -> dict[str, list[dict[str, Any]]]:
    """{group: [{title, count, url}]} of what this operator may see, counted by one statement."""
    found: dict[str, list[dict[str, Any]]] = {"attention": [], "running": []}
    counts: list[QuerySet[Any, Any]] = []
    for each in _tiles:
        model_admin = admin.site._registry[each.model]  # noqa: SLF001  Django offers no getter
        if not model_admin.has_view_permission(request):
            continue
        where = each.where() if callable(each.where) else each.where
        rows = model_admin.get_queryset(request)
        rows = each.narrow(rows) if each.narrow else rows.filter(**_parsed(where))
        number = Value(len(counts), IntegerField())
        counted = rows.order_by().annotate(tile=number).values("tile").annotate(n=Count("pk"))
        counts.append(counted.values_list("tile", "n"))
        entry = {"title": each.title, "count": 0, "url": list_of(each.model, **where)}
        found.setdefault(each.group, []).append({**entry, "tile": len(counts) - 1})
    known = dict(counts[0].union(*counts[1:], all=True)) if counts else {}
    for entries in found.values():
        for shown in entries:
            shown["count"] = known.get(shown.pop("tile"), 0)
    return found


def _parsed(where: Where) -> dict[str, Any]:
    """The lookups of a list's address as the list itself understands them."""
    return {
        key: str(value).split(",")
        if key.endswith("__in")
        else str(value) == "True"
        if key.endswith("__isnull")
        else value
        for key, value in where.items()
    }


def panels(request: HttpRequest) -> list[dict[str, Any]]:
    actor = session_actor(request)
    return [{"title": each.title, "rows": each.rows([actor.team_id])} for each in _panels]


def state_of_parts() -> list[dict[str, Any]]:
    """[{name, ok, optional, note}] of database, relay, workers, Redis and disk."""
    findings, _ = health.examine()
    return [
        {
            "name": name.capitalize(),
            "ok": finding["ok"],
            "optional": name in {"redis", "disk"},
            "note": str(finding.get("note") or finding.get("error") or ""),
        }
        for name, finding in findings.items()
    ]


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The side bar: every model an operator may see, in sections by what it is about."""
    groups: dict[str, list[dict[str, Any]]] = {name: [] for name in (*SECTIONS, "Further")}
    for model, model_admin in admin.site._registry.items():  # noqa: SLF001  as above
        if not model_admin.has_view_permission(request):
            continue
        section = getattr(model_admin, "section", "") or SECTION_OF_APP.get(
            model._meta.app_label, "Further"
        )
        groups[section].append(
            {
                "title": titled(model._meta.verbose_name_plural),
                "icon": getattr(model_admin, "icon", "data_object"),
                "link": list_of(model),
            }
        )
    first = [{"title": "Overview", "icon": "dashboard", "link": reverse("admin:index")}]
    first += [{"title": p["title"], "icon": p["icon"], "link": reverse(p["route"])} for p in _pages]
    return [
        {"title": "", "items": first},
        *(
            {
                "title": name,
                "items": items,
                "collapsible": True,
                "separator": False,
            }
            for name, items in groups.items()
            if items
        ),
    ]
