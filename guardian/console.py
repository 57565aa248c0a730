"""The operators' first page and side bar, put together from what each app registers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Count, IntegerField, Model, QuerySet, Value
from django.http import HttpRequest
from django.urls import reverse

from guardian import asked, parts
from guardian.authority import may
from guardian.columns import named
from guardian.identity import session_actor
from guardian.links import list_of, page_of, titled

# The large tiles, as they stand; one whose rows do not exist here yet is left out.
HEADLINES = (
    "Stuck tasks",
    "Failed runs, 24 h",
    "Budgets over",
    "Waiting for you",
    "Queue",
    "Locks",
    "Open breakers",
    "Health",
)
GROUPS = ("headline", "waiting", "attention", "running")
ROWS_SHOWN = 10
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
    icon: str
    zero: str
    theirs: Callable[[HttpRequest, QuerySet[Any]], QuerySet[Any]] | None
    scope: str
    level: int


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
    icon: str = "",
    zero: str = "",
    theirs: Callable[[HttpRequest, QuerySet[Any]], QuerySet[Any]] | None = None,
    scope: str = "",
    level: int = 1,
) -> None:
    """Count rows on the first page. `where`: the list's own query; `narrow` says it in ORM terms
    where the list uses a filter of its own.

    Groups: headline (the large ones, in the order of HEADLINES), waiting (a person must decide),
    attention (something went wrong), running. `zero`: what a headline says where nothing is.
    `theirs`: as `narrow`, where whose rows they are depends on who looks. `scope`, `level`: shown
    to those alone who may decide.
    """
    _tiles.append(
        Tile(
            title=title,
            model=model,
            where=where,
            narrow=narrow,
            group=group,
            icon=icon,
            zero=zero,
            theirs=theirs,
            scope=scope,
            level=level,
        )
    )


def panel(title: str, rows: Callable[[list[UUID]], list[dict[str, Any]]]) -> None:
    """Show a small table on the first page, for the operator's teams."""
    _panels.append(Panel(title=title, rows=rows))


def tiles(request: HttpRequest) -> dict[str, list[dict[str, Any]]]:
    """{group: [{title, count, url, icon, zero}]} of what this operator may see.

    All are counted by one statement.
    """
    found: dict[str, list[dict[str, Any]]] = {group: [] for group in GROUPS}
    counts: list[QuerySet[Any, Any]] = []
    for each in _tiles:
        model_admin = admin.site._registry[each.model]  # noqa: SLF001  Django offers no getter
        if not model_admin.has_view_permission(request) or not _decides(request, each):
            continue
        where = each.where() if callable(each.where) else each.where
        rows = model_admin.get_queryset(request)
        rows = _narrowed(request, each, rows, where)
        number = Value(len(counts), IntegerField())
        counted = rows.order_by().annotate(tile=number).values("tile").annotate(n=Count("pk"))
        counts.append(counted.values_list("tile", "n"))
        entry: dict[str, Any] = {"title": each.title, "count": 0, "icon": each.icon}
        entry |= {"zero": each.zero, "url": list_of(each.model, **where), "narrowed": rows}
        found[each.group].append({**entry, "tile": len(counts) - 1})
    known = dict(counts[0].union(*counts[1:], all=True)) if counts else {}
    for entries in found.values():
        for shown in entries:
            shown["count"] = known.get(shown.pop("tile"), 0)
    return found


def _decides(request: HttpRequest, tile: Tile) -> bool:
    if not tile.scope:
        return True
    actor = asked.once(request, "actor", partial(session_actor, request))
    return may(actor, tile.scope, level=tile.level)


def _narrowed(request: HttpRequest, tile: Tile, rows: QuerySet[Any], where: Where) -> QuerySet[Any]:
    if tile.theirs is not None:
        return tile.theirs(request, rows)
    return tile.narrow(rows) if tile.narrow else rows.filter(**_parsed(where))


def headlines(request: HttpRequest, found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The large tiles in their order: what is counted, what waits for a decision, and health."""
    known = parts.state_of_parts(request)
    unwell = [part for part in known if not part["ok"] and not part["optional"]]
    waiting = {
        "title": "Waiting for you",
        "count": sum(entry["count"] for entry in found["waiting"]),
        "url": reverse("operators-waiting"),
        "icon": "front_hand",
        "zero": "Nothing asks for a decision",
    }
    health_tile = {
        "title": "Health",
        "count": len(unwell),
        "word": "" if unwell else "OK",
        "url": reverse("operators-health"),
        "icon": "monitor_heart",
        "zero": f"All {len(known)} parts are well",
        "said": "Not well: " + ", ".join(part["name"] for part in unwell) if unwell else "",
    }
    shown = {entry["title"]: entry for entry in (*found["headline"], waiting, health_tile)}
    calm = {"Queue", "Locks"}
    return [
        {**shown[title], "hot": bool(shown[title]["count"]) and title not in calm}
        for title in HEADLINES
        if title in shown
    ]


def waiting_sections(request: HttpRequest) -> list[dict[str, Any]]:
    """[{title, count, url, rows}] of what waits for a decision, each with its first rows."""
    return [
        {
            **entry,
            "rows": [
                {"name": named(row), "url": page_of(row)}
                for row in entry["narrowed"].order_by("-pk")[:ROWS_SHOWN]
            ],
        }
        for entry in tiles(request)["waiting"]
        if entry["count"]
    ]


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
    actor = asked.once(request, "actor", partial(session_actor, request))
    return [{"title": each.title, "rows": each.rows([actor.team_id])} for each in _panels]


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
    first += [
        {"title": "Waiting for you", "icon": "front_hand", "link": reverse("operators-waiting")},
        {"title": "Health", "icon": "monitor_heart", "link": reverse("operators-health")},
    ]
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
