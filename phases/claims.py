"""Claim, heartbeat and complete as single statements over a narrow table of ready rows.

The database clock times every lease. A ready row is always locked before its task, a ticket
before the tasks of it, so that the verbs of phases never wait for each other in a circle.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone
from psycopg.types.json import Jsonb

from guardian import context, metrics
from guardian.authority import Actor
from guardian.models import uuid7
from guardian.outbox import PRIORITY_WORDS, teller
from guardian.prepared import run_prepared
from guardian.redaction import redact_text
from phases.claim_sql import BEAT, CLAIM, COMPLETE, FREE_DEPENDENTS, HAND_OVER, READY
from phases.models import Task
from phases.queue_sql import (
    FAULTS,
    MORE_WAIT,
    OFFER,
    TELL_CREATED,
    TELL_READIED,
    WEIGH_ANEW,
    WITHDRAW,
)

MAX_HELD = 10


def refresh(task_ids: Iterable[UUID]) -> list[tuple[UUID, UUID]]:
    """Make the queue true for these tasks: those that became claimable just now, each with its
    team."""
    ids = list(task_ids)
    if not ids:
        return []
    run_prepared(WITHDRAW, {"ids": ids})
    return [(row[0], row[1]) for row in run_prepared(OFFER, {"ids": ids})]


def tell_readied(fresh: Iterable[tuple[UUID, UUID]]) -> None:
    """One statement for the events of all tasks of a team that became claimable."""
    by_team: dict[UUID, list[UUID]] = {}
    for task_id, team_id in fresh:
        by_team.setdefault(team_id, []).append(task_id)
    for team_id, ids in by_team.items():
        run_prepared(TELL_READIED, {**_nobody(), "team": team_id, "ids": _uuids(ids)})


def _nobody() -> dict[str, Any]:
    """As `teller`, where Lemnos itself tells."""
    return {
        "told_by": None,
        "told_kind": "system",
        "told_authority": None,
        "told_request": context.request_id(),
        "told_trace": context.traceparent(),
        "told_at": timezone.now(),
    }


def tell_created(*, actor: Actor, tasks: list[Task]) -> None:
    """One statement for the events of many new tasks of the actor's team, in their order."""
    arguments = {
        "team": actor.team_id,
        "ids": _uuids(task.pk for task in tasks),
        "types": [redact_text(task.task_type) for task in tasks],
    }
    run_prepared(TELL_CREATED, {**arguments, **teller(actor)})


def count_blockers(task_ids: Iterable[UUID], *, each: int = 1) -> None:
    """Tell the queue that `each` more tasks wait for each of these; one named twice counts so."""
    counts = Counter(task_ids)
    if counts:
        more = [each * count for count in counts.values()]
        run_prepared(MORE_WAIT, {"ids": list(counts), "more": more})


def withdraw(task_ids: Iterable[UUID]) -> None:
    """Take tasks out of the queue, before their rows are locked for a change."""
    run_prepared(
        "DELETE FROM phases_readytask WHERE task_id = ANY(%(ids)s)", {"ids": list(task_ids)}
    )


def weigh_anew(*, workflow_id: UUID) -> None:
    """After the weights of a workflow's score were changed."""
    run_prepared(WEIGH_ANEW, {"workflow": workflow_id})


def faults(*, limit: int) -> list[tuple[UUID, UUID]]:
    """Up to `limit` (task, its ticket) of which the queue does not tell the truth."""
    return [(row[0], row[1]) for row in run_prepared(FAULTS, {"limit": limit})]


@dataclass(frozen=True, slots=True)
class Taken:
    """A task as its claim found it: enough to begin with, without reading it again."""

    task_id: UUID
    fence: int
    ticket_id: UUID
    task_type: str
    title: str
    lease_expires_at: datetime
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a claim found: the team's standing, the holder's count before it, and the tasks."""

    stopped: bool
    has_budgets: bool
    held: int
    taken: list[Taken]


@dataclass(frozen=True, slots=True)
class Want:
    """What a holder asks for: capabilities, at most `limit` tasks, a lease in seconds.

    `needing`: only tasks that need some capability, none that anybody could do.
    """

    capabilities: list[str]
    limit: int = 1
    lease_seconds: int = 60
    phase: str | None = None
    ticket_id: UUID | None = None
    task_id: UUID | None = None
    needing: bool = False


def take(
    *, actor: Actor, want: Want, exclude: Iterable[UUID] = (), checked: bool = False
) -> Answer:
    """Claim ready tasks with their events, best score first.

    Nothing is taken where the kill switch is on or too many are held; where there are budgets,
    and of tasks with locks, nothing unless `checked`: the caller then asks for both.
    """
    arguments = _wanted(actor, want, exclude, checked=checked)
    return _answer(run_prepared(CLAIM, {**arguments, **teller(actor)}))


def claimable(
    *, actor: Actor, capabilities: list[str] | None, phase: str | None, limit: int
) -> list[tuple[UUID, float]]:
    """(task, score) of up to `limit` that a claim would find now, best first; nothing is taken.

    Without capabilities: for whoever could do them.
    """
    want = Want(capabilities=[], phase=phase)
    arguments = _wanted(actor, want, (), checked=True)
    arguments |= {"capabilities": capabilities, "limit": limit}
    return [(row[0], row[1]) for row in run_prepared(READY, arguments)]


def finish(
    *, actor: Actor, task_id: UUID, fence: int, result: dict[str, Any]
) -> tuple[bool, list[UUID], bool]:
    """Complete a task with its events: (done, dependents that wait for nothing more, and whether
    locks or money are left to settle)."""
    arguments = {**_ended(task_id, fence, result), "team": actor.team_id, "holder": actor.id}
    row = run_prepared(COMPLETE, {**arguments, **teller(actor)})[0]
    return bool(row[0]), list(row[1]), bool(row[2])


def free_dependents(*, actor: Actor, task_id: UUID, fence: int) -> list[UUID]:
    """What a completion does beside its task, for one that was accepted in this transaction:
    the event, and its dependents, of which those that wait for nothing more are returned."""
    arguments = {"task": task_id, "fence": fence, "done_event": uuid7(), "team": actor.team_id}
    return list(run_prepared(FREE_DEPENDENTS, {**arguments, **teller(actor)})[0][1])


def hand_over(
    *, actor: Actor, task_id: UUID, fence: int, result: dict[str, Any], want: Want
) -> tuple[bool, list[UUID], Answer]:
    """Complete a task and claim the next: (done, dependents freed, the claim's answer).

    Not done: nothing is changed; the fence is old, or locks or money must be settled.
    """
    arguments = {**_ended(task_id, fence, result), **_wanted(actor, want, (), checked=False)}
    rows = run_prepared(HAND_OVER, {**arguments, **teller(actor)})
    done, freed = rows[0][-2:]
    return bool(done), list(freed), _answer(rows)


def _ended(task_id: UUID, fence: int, result: dict[str, Any]) -> dict[str, Any]:
    return {"task": task_id, "fence": fence, "result": Jsonb(result), "done_event": uuid7()}


def _wanted(actor: Actor, want: Want, exclude: Iterable[UUID], *, checked: bool) -> dict[str, Any]:
    return {
        "team": actor.team_id,
        "holder": actor.id,
        "holder_name": redact_text(actor.name),
        "capabilities": want.capabilities,
        "limit": want.limit,
        "most": MAX_HELD,
        "lease": want.lease_seconds,
        "phase": want.phase,
        "ticket": want.ticket_id,
        "wanted_task": want.task_id,
        "needing": want.needing,
        "exclude": _uuids(exclude),
        "checked": checked,
        "claim_events": _uuids(uuid7() for _ in range(want.limit)),
    }


def _uuids(ids: Iterable[UUID]) -> str:
    """An array as its text: psycopg takes its time over lists."""
    return "{" + ",".join(map(str, ids)) + "}"


def _answer(rows: list[tuple[Any, ...]]) -> Answer:
    found = [row for row in rows if row[3] is not None]
    taken = [Taken(*row[3:10]) for row in found]
    for row in found:
        priority, waited = row[10:12]
        metrics.TASK_WAIT_SECONDS.on_commit(waited or 0.0, priority=PRIORITY_WORDS[priority])
    stopped, has_budgets, held = rows[0][:3]
    return Answer(stopped, has_budgets, held, sorted(taken, key=lambda t: -t.score))


def beat(**arguments: Any) -> tuple[Any, Any, str] | None:
    """Extend a lease; None when this fence no longer holds the task."""
    rows = run_prepared(BEAT, arguments)
    return (rows[0][0], rows[0][1], rows[0][2]) if rows else None
