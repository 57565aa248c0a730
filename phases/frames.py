"""What numbered events mean for the board: the cards and columns they touched, as frames.

A frame carries the present values of the fields that its events may have changed, read after the
events were committed. So a frame may be applied twice or late, and several windows may be joined:
who applies them all holds what GET /board answers.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import F, Max, Min

from guardian.feed_topics import Notice
from guardian.models import Event
from phases import board, events
from phases.models import BoardColumn, Task, TaskDependency, Ticket

# What is about the board itself, not about one of its tickets.
_BOARD_CHANGED = {
    events.WORKFLOW_IMPORTED,
    events.PHASE_UPDATED,
    events.BOARD_COLUMN_UPDATED,
}
REPLAY_LIMIT = 5_000
FRAME_BYTES = 64 * 1024

Stream = tuple[UUID, UUID]  # team, workflow

# Fields of the card that an event of this kind may change; None: all of them.
_TASK_FIELDS = frozenset({"tasks", "holder", "blocked_by", "locks", "reviews"})
_FIELDS: dict[str, frozenset[str] | None] = {
    events.TICKET_STARTED: frozenset({"status"}),
    events.TICKET_WAITS: frozenset({"waits"}),
    events.GATE_EVALUATED: frozenset({"gate"}),
    events.ARTIFACT_ADDED: frozenset(),
    events.BOARD_TICKET_MOVED: frozenset({"rank"}),
}
# Ticket fields that the card shows under another name, or not at all.
_SHOWN_AS = {
    "admitted_at": "queued",
    "approval_status": "approval",
    "card_facts": "facts",
    "description": None,
    "context": None,
}
# Kinds after which the counts of columns are others.
_COUNTING = {
    events.TICKET_CREATED,
    events.TICKET_PHASE_CHANGED,
    events.TICKET_COMPLETED,
    events.TICKET_CANCELLED,
    events.TICKET_FAILED,
    events.TICKET_RESTARTED,
    events.TICKET_REOPENED,
}


@dataclass(slots=True)
class Change:
    """What a run of events may have changed of one ticket; fields None means the whole card."""

    seq: int = 0
    fields: set[str] | None = field(default_factory=set)
    phases: set[str] = field(default_factory=set)
    counts: bool = False


@dataclass(slots=True)
class Patch:
    """The news of one board up to event number `seq`."""

    seq: int
    cards: list[dict[str, Any]] = field(default_factory=list)
    columns: list[dict[str, Any]] = field(default_factory=list)


class TooOld(Exception):
    """The asker is so far behind that a fresh board is cheaper than a replay."""


def news(notices: Iterable[Notice]) -> dict[Stream, Patch]:
    """What a run of events means for each board."""
    return _patches(
        _changes(
            (told.seq, told.kind, told.subject_label, told.subject_id, told.data)
            for told in notices
            if told.kind.startswith("phases.")
        )
    )


def boards_changed(notices: Iterable[Notice]) -> set[str]:
    """Workflows whose columns, phases or limits are others: their boards are read afresh."""
    return {
        str(told.data["workflow_id"])
        for told in notices
        if told.kind in _BOARD_CHANGED and told.data.get("workflow_id")
    }


def replay(*, after: int, upto: int, stream: Stream) -> Patch | None:
    """All news of one board with after < seq <= upto; None: nothing happened on it.

    Raises TooOld beyond 5,000 events, for archived events and for a number never given out.
    """
    team, _ = stream
    span = Event.objects.aggregate(oldest=Min("seq"), newest=Max("seq"))
    if after > (span["newest"] or 0) or after < (span["oldest"] or 1) - 1:
        raise TooOld
    rows = (
        Event.objects.filter(seq__gt=after, seq__lte=upto, team_id=team, kind__startswith="phases.")
        .order_by("seq")
        .values_list("seq", "kind", "subject_label", "subject_id", "data")
    )
    if rows[: REPLAY_LIMIT + 1].count() > REPLAY_LIMIT:
        raise TooOld
    return _patches(_changes(rows)).get(stream)


def pulse(teams: Iterable[UUID], since: Any) -> dict[Stream, Patch]:
    """What holders said with their heartbeats since then, which is too much to be events."""
    ids = list(
        Task.objects.held()
        .filter(team_id__in=list(teams), updated_at__gt=since)
        .values_list("ticket_id", flat=True)[:500]
    )
    return _patches({pk: Change(fields={"holder"}) for pk in ids})


def _changes(
    told: Iterable[tuple[int | None, str, str, str, Mapping[str, Any]]],
) -> dict[UUID, Change]:
    found: dict[UUID, Change] = {}
    ended: dict[UUID, int] = {}  # completed tasks, with the number that told of it
    for seq, kind, label, subject, data in told:
        ticket = subject if label == "phases.ticket" else data.get("ticket_id")
        if ticket is None:
            continue
        change = found.setdefault(UUID(ticket), Change())
        change.seq = seq or 0
        _add(change, kind, data)
        if kind == events.TASK_COMPLETED:
            ended[UUID(subject)] = change.seq
    for waiting, task in _waited_for(ended):
        change = found.setdefault(waiting, Change())
        change.seq = max(change.seq, ended[task])
        if change.fields is not None:
            change.fields.add("blocked_by")
    return found


def _waited_for(ended: Mapping[UUID, int]) -> Iterable[tuple[UUID, UUID]]:
    """Other tickets with a task that waited for one of these: (ticket, the task that ended)."""
    if not ended:
        return []
    edges = TaskDependency.objects.filter(depends_on__in=list(ended))
    apart = edges.exclude(task__ticket=F("depends_on__ticket"))
    return apart.values_list("task__ticket_id", "depends_on_id").distinct()


def _add(change: Change, kind: str, data: Mapping[str, Any]) -> None:
    fields = _fields(kind, data)
    if fields is None or change.fields is None:
        change.fields = None
    else:
        change.fields |= fields
    admitted = kind == events.TICKET_UPDATED and "admitted_at" in data.get("changed", [])
    change.counts = change.counts or admitted or kind in _COUNTING
    change.phases |= {data[key] for key in ("from_phase", "to_phase") if data.get(key)}


def _fields(kind: str, data: Mapping[str, Any]) -> frozenset[str] | None:
    if kind == events.TICKET_UPDATED:
        shown = (_SHOWN_AS.get(name, name) for name in data.get("changed", []))
        return frozenset(name for name in shown if name)
    if kind.startswith("phases.task."):
        return _TASK_FIELDS
    return _FIELDS.get(kind)


def _patches(changes: dict[UUID, Change]) -> dict[Stream, Patch]:
    if not changes:
        return {}
    homes: dict[str, tuple[Stream, UUID]] = {
        str(pk): ((team, workflow), column)
        for pk, team, workflow, column in Ticket.objects.filter(pk__in=changes).values_list(
            "pk", "team_id", "workflow_id", "column_id"
        )
    }
    found: dict[Stream, Patch] = {}
    for card in board.cards(list(changes)):
        home, change = homes.get(card["id"]), changes[UUID(card["id"])]
        if home is None:
            continue
        patch = found.setdefault(home[0], Patch(0))
        patch.seq = max(patch.seq, change.seq)
        patch.cards.append(_card_patch(card, change.fields))
    for stream, column in _columns(changes, homes):
        found[stream].columns.append(column)
    return found


def _card_patch(card: dict[str, Any], fields: set[str] | None) -> dict[str, Any]:
    shown = {
        name: value
        for name, value in card.items()
        if name not in {"id", "v"} and (fields is None or name in fields)
    }
    return {"id": card["id"], "v": card["v"], "set": shown}


def _columns(
    changes: dict[UUID, Change], homes: dict[str, tuple[Stream, UUID]]
) -> Iterator[tuple[Stream, dict[str, Any]]]:
    wanted: set[UUID] = set()
    phases: dict[UUID, set[str]] = {}
    for pk, change in changes.items():
        if change.counts and str(pk) in homes:
            (_, workflow), column = homes[str(pk)]
            wanted.add(column)
            phases.setdefault(workflow, set()).update(change.phases)
    if not wanted:
        return
    columns = BoardColumn.objects.filter(workflow_id__in=phases).prefetch_related("phases")
    for column in columns.order_by("position"):
        keys = {phase.key for phase in column.phases.all()}
        if column.pk in wanted or keys & phases[column.workflow_id]:
            yield (
                (column.team_id, column.workflow_id),
                {"key": column.key, **board.counts(column)},
            )


def encode(message: dict[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False, default=str)


def frames(patch: Patch, *, prev: int, seq: int) -> list[str]:
    """The patch as texts of at most 64 KiB, linked by `prev`; the columns ride on the last."""
    parts: list[list[str]] = [[]]
    room = FRAME_BYTES - 2_048 - len(encode({"columns": patch.columns}).encode())
    size = 0
    for text in map(encode, patch.cards):
        size += len(text.encode()) + 1
        if parts[-1] and size > room:
            parts.append([])
            size = len(text.encode()) + 1
        parts[-1].append(text)
    made = []
    for number, cards in enumerate(parts):
        columns = encode({"c": patch.columns})[5:-1] if number == len(parts) - 1 else "[]"
        made.append(
            f'{{"type":"patch","seq":{seq},"prev":{seq if number else prev},'
            f'"cards":[{",".join(cards)}],"columns":{columns}}}'
        )
    return made
