"""Tables on a row's own page: what an event changed and whom it reached, who waits for a lock."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from guardian import links
from guardian.columns import NO_BREAK, told_span
from guardian.models import Delivery, Event, LockRequest, ResourceLock, Team
from guardian.stops import stop_of

MOST = 20
# A request and the work it sets off at once; events are found by time, which has an index.
_NEAR = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A text, and where it leads."""

    text: str
    url: str = ""
    tone: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A titled table; `empty` is said where it has no rows."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    empty: str


def of_new_work(team: Team) -> Table:
    """Whether new work is stopped in a team: by whom, since when, and why."""
    stop = stop_of(team.pk)
    rows = []
    if stop is not None:
        since = datetime.fromisoformat(stop["since"])
        where = "every team" if stop["everywhere"] else "this team"
        cells = [where, stop["by"], f"{since:%d %b %Y, %H:%M} UTC", stop["reason"]]
        rows = [[Cell(text="stopped", tone="bad"), *(Cell(text=text) for text in cells)]]
    columns = ["New work", "In", "By", "Since", "Reason"]
    return Table(title="New work", columns=columns, rows=rows, empty="New work starts as it comes.")


def of_event(event: Event) -> list[Table]:
    """What changed, who was told, and what else happened in the same request."""
    tables = [_changes(event)] if event.before or event.after else []
    tables.append(_deliveries(event))
    if event.request_id:
        tables.append(_same_request(event))
    return tables


def _changes(event: Event) -> Table:
    before, after = event.before or {}, event.after or {}
    rows = [
        [
            Cell(text=key),
            Cell(text=_told(before, key), tone="del" if before.get(key) != after.get(key) else ""),
            Cell(text=_told(after, key), tone="ins" if before.get(key) != after.get(key) else ""),
        ]
        for key in sorted({*before, *after})
    ]
    return Table(title="What changed", columns=["Field", "Before", "After"], rows=rows, empty="")


def _told(values: dict[str, Any], key: str) -> str:
    return "–" if values.get(key) is None else str(values[key])


def _deliveries(event: Event) -> Table:
    found = Delivery.objects.filter(event=event).order_by("id")[:MOST]
    rows = [
        [
            Cell(text=each.handler, url=links.page_of(each) or ""),
            Cell(text=each.state, tone=_TONES.get(each.state, "none")),
            Cell(text=str(each.attempts)),
            Cell(text="–" if each.duration_ms is None else told_span(each.duration_ms / 1000)),
            Cell(text=each.error or "–"),
        ]
        for each in found
    ]
    columns = ["Receiver", "State", "Attempts", "Took", "Error"]
    empty = "No receiver wants this kind." if event.seq else "The relay has not numbered it yet."
    return Table(title="Deliveries", columns=columns, rows=rows, empty=empty)


_TONES = {"done": "ok", "pending": "wait", "parked": "bad"}


def _same_request(event: Event) -> Table:
    # Of the same team: a request id may be chosen by whoever asks.
    others: QuerySet[Event] = Event.objects.filter(
        request_id=event.request_id, team=event.team
    ).exclude(pk=event.pk)
    near = others.filter(created_at__gte=event.created_at - _NEAR)
    found = near.filter(created_at__lte=event.created_at + _NEAR).order_by("id")[:MOST]
    rows = [
        [
            Cell(text=each.kind, url=links.page_of(each) or ""),
            Cell(text=each.subject_label or "–"),
            Cell(text=_at(each.created_at)),
        ]
        for each in found
    ]
    return Table(
        title="In the same request",
        columns=["Event", "About", "At"],
        rows=rows,
        empty="Nothing else happened in this request.",
    )


def of_lock(lock: ResourceLock) -> list[Table]:
    """Who holds the resource now, and who waits for it in which order."""
    where = {
        "team_id": lock.team_id,
        "resource_type": lock.resource_type,
        "resource_id": lock.resource_id,
    }
    held = ResourceLock.objects.held().filter(**where).select_related("holder").order_by("id")
    line = LockRequest.objects.waiting().filter(**where).select_related("requester")
    holders = [
        [
            Cell(text=str(each.holder), url=links.page_of(each) or ""),
            Cell(text=each.mode),
            Cell(text=str(each.fence)),
            Cell(text=_at(each.expires_at)),
        ]
        for each in held[:MOST]
    ]
    waiters = [
        [
            Cell(text=str(place)),
            Cell(text=str(each.requester), url=links.page_of(each) or ""),
            Cell(text=each.get_priority_display()),
            Cell(text=each.mode),
            Cell(text=_at(each.queued_at)),
            Cell(text=_at(each.wait_until)),
        ]
        for place, each in enumerate(line.order_by("priority", "number")[:MOST], start=1)
    ]
    return [
        Table(
            title="Held now",
            columns=["Holder", "Mode", "Fence", "Until"],
            rows=holders,
            empty="Nobody holds it: whoever asks next has it.",
        ),
        Table(
            title="The line",
            columns=["Place", "Who", "Priority", "Mode", "Since", "Waits until"],
            rows=waiters,
            empty="Nobody waits for it.",
        ),
    ]


def _at(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC".replace(" ", NO_BREAK)
