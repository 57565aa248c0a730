"""Tasks made together, with what they wait for: all or none, in as many statements as one needs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from guardian.authority import Actor
from guardian.errors import Invalid
from guardian.outbox import defer
from phases import claims
from phases.errors import DependencyCycle, TicketClosed
from phases.models import Phase, Task, TaskDependency, Ticket
from phases.part import require_part
from phases.services.copies import Alike, best_of, compare, still_true, tell_copies, text_of
from phases.services.dependents import settle_blocks
from phases.services.edges import circle_of_refs, lock_edges, originals
from phases.services.locking import locked_tasks
from phases.services.tasks import make_ready, tidy

MOST = 100
OF_THE_BATCH = "ref:"


@dataclass(frozen=True, slots=True)
class NewTask:
    """One task of a batch. `depends_on`: ids of tasks, or `ref:x` of another in the batch."""

    ticket_id: UUID
    task_type: str
    title: str
    ref: str = ""
    phase: str | None = None
    description: str = ""
    priority: int | None = None
    required_capabilities: list[str] = field(default_factory=list)
    required_locks: list[dict[str, str]] = field(default_factory=list)
    timeout_seconds: int | None = None
    max_retries: int = 3
    deadline: datetime | None = None
    depends_on: list[str] = field(default_factory=list)


class _Faults:
    """All that is wrong with a batch, each by its path."""

    def __init__(self) -> None:
        self.errors: list[dict[str, str]] = []

    def add(self, index: int, name: str, message: str, code: str = "invalid") -> None:
        path = f"tasks.{index}.{name}"
        self.errors.append({"path": path, "code": code, "message": message})

    def refuse(self) -> None:
        """Raises Invalid."""
        if self.errors:
            first = self.errors[0]
            more = f" And {len(self.errors) - 1} more." if len(self.errors) > 1 else ""
            raise Invalid(f"{first['path']}: {first['message']}{more}", errors=self.errors)


def compare_tasks(*, actor: Actor, tasks: list[NewTask]) -> dict[UUID, Alike]:
    """By ticket, how alike its new tasks are to what it has: for `create_tasks`.

    May call a model, so it is asked before the transaction.
    """
    ids = {new.ticket_id for new in tasks}
    tickets = Ticket.objects.select_related("phase").filter(team=actor.team, pk__in=ids)
    return {
        ticket.pk: compare(ticket=ticket, keys=keys, texts=texts)
        for ticket in tickets
        for _, keys, texts in [_asked(tasks, ticket)]
    }


@transaction.atomic
def create_tasks(
    *, actor: Actor, tasks: list[NewTask], alike: dict[UUID, Alike] | None = None
) -> list[Task]:
    """Up to 100 tasks with their edges, in their order; ready ones can be claimed at once.

    With what `compare_tasks` told, copies of others in their phase are linked to them and never
    dispatched; whoever waits for a copy waits for its original.
    Nothing is stored where anything is wrong. Raises Invalid with every fault by its path,
    DependencyCycle with the refs of the circle, NotYours.
    """
    if len(tasks) > MOST:
        raise Invalid(path="tasks", reason=f"holds {len(tasks)} tasks; at most {MOST}")
    lock_edges(team_id=actor.team_id)
    faults = _Faults()
    refs = _refs(tasks, faults)
    tickets = _tickets(actor, tasks, faults)
    phases = _phases(tasks, tickets, faults)
    outer = _outer(actor, tasks, faults)
    faults.refuse()
    copies = {} if alike is None else _copies(tasks, tickets, alike)
    inner = {i: _inner(new, refs, copies) for i, new in enumerate(tasks) if i not in copies}
    if cycle := circle_of_refs(
        {str(i): [str(j) for j in js if isinstance(j, int)] for i, js in inner.items()}
    ):
        raise DependencyCycle(cycle=[tasks[int(i)].ref for i in cycle])
    for ticket in tickets.values():
        require_part(actor=actor, ticket=ticket)
    wanted = {*outer.values(), *(j for js in inner.values() for j in js if isinstance(j, UUID))}
    waits_for = {task.pk: task for task in locked_tasks(sorted(wanted))}
    rows = {
        i: _row(tasks[i], tickets[tasks[i].ticket_id], phases[i], is_copy=i in copies)
        for i in _dependencies_first(len(tasks), inner)
    }
    made = [rows[i] for i in range(len(tasks))]
    for i, (original, _) in copies.items():
        made[i].duplicate_of_id = made[original].pk if isinstance(original, int) else original
    edges = list(_edges(tasks, made, inner, outer, waits_for))
    stored = _store(actor, made, edges, waits_for)
    tell_copies(actor=actor, copies=[(made[i], score) for i, (_, score) in copies.items()])
    return stored


def _asked(tasks: list[NewTask], ticket: Ticket) -> tuple[list[int], list[str], list[str]]:
    """The ticket's new tasks: (their places in the batch, their phases' keys, their texts)."""
    places = [i for i, new in enumerate(tasks) if new.ticket_id == ticket.pk]
    keys = [tasks[i].phase or ticket.phase.key for i in places]
    return places, keys, [text_of(tasks[i].title, tasks[i].description) for i in places]


def _copies(
    tasks: list[NewTask], tickets: dict[UUID, Ticket], alike: dict[UUID, Alike]
) -> dict[int, tuple[UUID | int, float]]:
    """place of a copy → (its original's id or place in the batch, how alike they are)."""
    found: dict[int, tuple[UUID | int, float]] = {}
    for ticket in tickets.values():
        places, keys, texts = _asked(tasks, ticket)
        told = alike.get(ticket.pk) or Alike([], None)
        for i, scores in zip(
            places, still_true(ticket=ticket, keys=keys, texts=texts, alike=told), strict=True
        ):
            if best := best_of(scores):
                original, score = best
                if isinstance(original, int):
                    original = places[original]
                    original = found[original][0] if original in found else original
                found[i] = original, score
    return found


def _refs(tasks: list[NewTask], faults: _Faults) -> dict[str, int]:
    """ref → index."""
    found: dict[str, int] = {}
    for i, new in enumerate(tasks):
        if new.ref and new.ref in found:
            faults.add(i, "ref", f"Another task of this batch is called “{new.ref}”.")
        elif new.ref:
            found[new.ref] = i
    for i, new in enumerate(tasks):
        for n, said in enumerate(new.depends_on):
            ref = said.removeprefix(OF_THE_BATCH)
            if said.startswith(OF_THE_BATCH) and ref not in found:
                faults.add(i, f"depends_on.{n}", f"No task of this batch is called “{ref}”.")
    return found


def _inner(
    new: NewTask, refs: dict[str, int], copies: dict[int, tuple[UUID | int, float]]
) -> list[UUID | int]:
    """What it waits for of the batch, once each: by place, or by id what one is a copy of."""
    said = (one for one in new.depends_on if one.startswith(OF_THE_BATCH))
    places = (refs[one.removeprefix(OF_THE_BATCH)] for one in said)
    return list(dict.fromkeys(copies[i][0] if i in copies else i for i in places))


def _dependencies_first(count: int, inner: dict[int, list[UUID | int]]) -> list[int]:
    """All places, each behind those it waits for and else in their order.

    Ids are given in this order: a completion holds its task when it takes those that waited for
    it, and all else takes tasks in the order of their ids.
    """
    found: dict[int, None] = {}

    def add(place: int) -> None:
        for other in inner.get(place, ()):
            if isinstance(other, int) and other not in found:
                add(other)
        found[place] = None

    for place in range(count):
        if place not in found:
            add(place)
    return list(found)


def _tickets(actor: Actor, tasks: list[NewTask], faults: _Faults) -> dict[UUID, Ticket]:
    """The tickets, locked in the order of their ids."""
    rows = Ticket.objects.filter(team=actor.team, pk__in={new.ticket_id for new in tasks})
    rows = rows.select_for_update(of=("self",), no_key=True).select_related("phase", "team")
    found = {ticket.pk: ticket for ticket in rows.order_by("id")}
    for i, new in enumerate(tasks):
        ticket = found.get(new.ticket_id)
        if ticket is None:
            faults.add(i, "ticket_id", "There is no such ticket.")
        elif not ticket.is_open:
            faults.add(i, "ticket_id", f"This ticket is {ticket.status}.", TicketClosed.code)
    return found


def _phases(
    tasks: list[NewTask], tickets: dict[UUID, Ticket], faults: _Faults
) -> list[Phase | None]:
    flows = {ticket.workflow_id for ticket in tickets.values()}
    known = {
        (phase.workflow_id, phase.key): phase
        for phase in Phase.objects.filter(workflow_id__in=flows, kind=Phase.Kind.WORK)
    }
    found: list[Phase | None] = []
    for i, new in enumerate(tasks):
        ticket = tickets.get(new.ticket_id)
        phase = known.get((ticket.workflow_id, new.phase)) if ticket and new.phase else None
        if ticket and new.phase and phase is None:
            faults.add(i, "phase", "The ticket's workflow has no such phase with work.")
        found.append(phase)
    return found


def _outer(actor: Actor, tasks: list[NewTask], faults: _Faults) -> dict[str, UUID]:
    """id as it was sent → the task it stands for."""
    said: dict[str, UUID] = {}
    for i, new in enumerate(tasks):
        for n, one in enumerate(new.depends_on):
            if one.startswith(OF_THE_BATCH):
                continue
            try:
                said[one] = UUID(one)
            except ValueError:
                faults.add(i, f"depends_on.{n}", "Must be the id of a task, or ref: and a ref.")
    found, missing = originals(team_id=actor.team_id, task_ids=said.values())
    for i, new in enumerate(tasks):
        for n, one in enumerate(new.depends_on):
            if said.get(one) in missing:
                faults.add(i, f"depends_on.{n}", "There is no such task.")
    return {one: found[pk] for one, pk in said.items() if pk in found}


def _row(new: NewTask, ticket: Ticket, phase: Phase | None, *, is_copy: bool) -> Task:
    return Task(
        team=ticket.team,
        ticket=ticket,
        phase=phase or ticket.phase,
        visit=ticket.visit,
        task_type=new.task_type,
        title=new.title,
        description=new.description,
        priority=new.priority or ticket.priority,
        required_capabilities=tidy(new.required_capabilities),
        required_locks=new.required_locks,
        timeout_seconds=new.timeout_seconds,
        max_retries=new.max_retries,
        deadline=new.deadline,
        status=Task.Status.DUPLICATED if is_copy else Task.Status.PENDING,
    )


def _edges(
    tasks: list[NewTask],
    made: list[Task],
    inner: dict[int, list[UUID | int]],
    outer: dict[str, UUID],
    waits_for: dict[UUID, Task],
) -> Iterator[TaskDependency]:
    for i, inside in inner.items():
        said = (outer[one] for one in tasks[i].depends_on if one in outer)
        for one in dict.fromkeys([*inside, *said]):
            other = made[one] if isinstance(one, int) else waits_for[one]
            done = other.status == Task.Status.COMPLETED
            made[i].deps_left += not done
            yield TaskDependency(team=made[i].team, task=made[i], depends_on=other, satisfied=done)


def _store(
    actor: Actor, made: list[Task], edges: list[TaskDependency], waits_for: dict[UUID, Task]
) -> list[Task]:
    Task.objects.bulk_create(made)
    TaskDependency.objects.bulk_create(edges)
    open_edges = [edge for edge in edges if edge.depends_on_id in waits_for and not edge.satisfied]
    claims.count_blockers(edge.depends_on_id for edge in open_edges)
    own = [task for task in made if task.status != Task.Status.DUPLICATED]
    claims.tell_created(actor=actor, tasks=own)
    if open_edges:
        ids = sorted({str(edge.task_id) for edge in open_edges})
        defer("phases.settle_dependencies_of", queue="system", task_ids=ids)
    ended = {pk for pk, task in waits_for.items() if task.status in {"failed", "cancelled"}}
    settle_blocks(edge.task_id for edge in open_edges if edge.depends_on_id in ended)
    make_ready([task.pk for task in own])
    stored: dict[Any, Task] = Task.objects.select_related("phase", "holder", "last_holder").in_bulk(
        [task.pk for task in made]
    )
    return [stored[task.pk] for task in made]
