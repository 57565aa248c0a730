"""Tasks that come out of a discovery: within the limits of the workflow, and none of them twice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from guardian.authority import Actor
from guardian.errors import Invalid, NotFound
from guardian.outbox import emit, require_transaction
from phases import events
from phases.errors import SpawnLimit, TicketClosed
from phases.models import Phase, Task, TaskDiscovery, Ticket
from phases.services.copies import (
    RELATED_FROM,
    Alike,
    best_of,
    compare,
    still_true,
    tell_copies,
    text_of,
)
from phases.services.edges import originals
from phases.services.locking import locked_tasks
from phases.services.tasks import create_task

MOST = 10
RELATED_KEPT = 50
DEPTH, PER_TICKET = 5, 50
RELATED = "related_tasks"


@dataclass(frozen=True, slots=True)
class Spawn:
    """One task that a discovery asks for; without a phase it is of its source's."""

    task_type: str
    title: str
    phase: str | None = None
    description: str = ""
    required_capabilities: list[str] = field(default_factory=list)
    required_locks: list[dict[str, str]] = field(default_factory=list)
    timeout_seconds: int | None = None
    max_retries: int = 3
    deadline: datetime | None = None
    depends_on: list[UUID] = field(default_factory=list)

    @property
    def text(self) -> str:
        return text_of(self.title, self.description)


def compare_spawn(*, actor: Actor, task_id: UUID, spawn: Sequence[Spawn]) -> Alike:
    """Compare tasks to be made from this one with those of its ticket, each in its phase.

    May call a model, so it is asked before the transaction. Raises NotFound.
    """
    source = (
        Task.objects.select_related("ticket", "phase").filter(pk=task_id, team=actor.team).first()
    )
    if source is None:
        raise NotFound("There is no such task.")
    if not spawn:
        return Alike([], None)
    keys = [one.phase or source.phase.key for one in spawn]
    return compare(ticket=source.ticket, keys=keys, texts=[one.text for one in spawn])


def spawn_tasks(
    *,
    actor: Actor,
    ticket: Ticket,
    discovery: TaskDiscovery,
    source: Task,
    spawn: Sequence[Spawn],
    alike: Alike,
) -> list[Task]:
    """Make these tasks of a locked ticket; copies are linked to their originals, not dispatched.

    The caller is in a transaction and, where any of them waits for another, has the edges' lock.
    Raises TicketClosed, SpawnLimit, Invalid.
    """
    require_transaction()
    if not spawn:
        return []
    if len(spawn) > MOST:
        raise Invalid(path="spawn", reason=f"holds {len(spawn)} tasks; at most {MOST}")
    if not ticket.is_open:
        raise TicketClosed(status=ticket.status)
    _check_limits(ticket, source, len(spawn))
    phases = _phases(ticket, source, spawn)
    _hold_dependencies(ticket, spawn)
    scores = still_true(
        ticket=ticket,
        keys=[phase.key for phase in phases],
        texts=[one.text for one in spawn],
        alike=alike,
    )
    made: list[Task] = []
    related: list[dict[str, Any]] = []
    for one, phase, told in zip(spawn, phases, scores, strict=True):
        ids = {_original(made, key): score for key, score in told.items()}
        fields = _fields(one, phase, discovery, source)
        if copied := best_of(ids):
            made.append(_duplicate(actor, ticket, fields, *copied))
            continue
        task = create_task(actor=actor, ticket=ticket, depends_on=one.depends_on, **fields)
        made.append(task)
        related.extend(_related(task, ids))
    _tell(actor, ticket, discovery, made)
    if related:
        before = discovery.metadata.get(RELATED, [])
        discovery.metadata = {**discovery.metadata, RELATED: [*before, *related][-RELATED_KEPT:]}
        discovery.save(update_fields=["metadata", "updated_at"])
    return made


def _check_limits(ticket: Ticket, source: Task, count: int) -> None:
    limits = ticket.workflow.limits
    deepest = limits.get("discovery_depth", DEPTH)
    if source.depth + 1 > deepest:
        raise SpawnLimit(
            f"This task is {source.depth} discoveries away from planned work; {deepest} is the"
            " most.",
            limit="discovery_depth",
            most=deepest,
            now=source.depth,
        )
    most = limits.get("spawn_per_ticket", PER_TICKET)
    already = Task.objects.filter(ticket=ticket, discovery__isnull=False).count()
    if already + count > most:
        raise SpawnLimit(
            f"Discoveries made {already} tasks of this ticket; {most} is the most.",
            limit="spawn_per_ticket",
            most=most,
            now=already,
        )


def _phases(ticket: Ticket, source: Task, spawn: Sequence[Spawn]) -> list[Phase]:
    rows = Phase.objects.filter(workflow=ticket.workflow_id)
    known = {phase.key: phase for phase in rows.filter(kind=Phase.Kind.WORK)}
    found = []
    for i, one in enumerate(spawn):
        phase = known.get(one.phase or source.phase.key)
        if phase is None:
            reason = f"is no phase with work of this workflow; it has {', '.join(sorted(known))}"
            raise Invalid(path=f"spawn.{i}.phase", reason=reason)
        found.append(phase)
    return found


def _hold_dependencies(ticket: Ticket, spawn: Sequence[Spawn]) -> None:
    """All at once in the order of their ids, before one task after the other is made."""
    wanted = {pk for one in spawn for pk in one.depends_on}
    found, missing = originals(team_id=ticket.team_id, task_ids=wanted)
    for i, one in enumerate(spawn):
        if any(pk in missing for pk in one.depends_on):
            reason = "names a task that does not exist"
            raise Invalid(path=f"spawn.{i}.depends_on", reason=reason)
    locked_tasks(sorted(set(found.values())))


def _original(made: list[Task], key: UUID | int) -> UUID:
    """The task itself, not a copy of it."""
    return key if isinstance(key, UUID) else made[key].duplicate_of_id or made[key].pk


def _fields(one: Spawn, phase: Phase, discovery: TaskDiscovery, source: Task) -> Any:
    return {
        "task_type": one.task_type,
        "title": one.title,
        "description": one.description,
        "phase": phase,
        # A step up is a smaller number.
        "priority": max(1, source.priority - discovery.priority_boost),
        "required_capabilities": one.required_capabilities,
        "required_locks": one.required_locks,
        "timeout_seconds": one.timeout_seconds,
        "max_retries": one.max_retries,
        "deadline": one.deadline,
        "discovery": discovery,
        "depth": source.depth + 1,
    }


def _duplicate(
    actor: Actor, ticket: Ticket, fields: dict[str, Any], original: UUID, score: float
) -> Task:
    task: Task = Task.objects.create(
        team=ticket.team,
        ticket=ticket,
        visit=ticket.visit,
        status=Task.Status.DUPLICATED,
        duplicate_of_id=original,
        **fields,
    )
    tell_copies(actor=actor, copies=[(task, score)])
    return task


def _related(task: Task, ids: dict[UUID, float]) -> Iterator[dict[str, Any]]:
    near = [(score, pk) for pk, score in ids.items() if score >= RELATED_FROM]
    for score, pk in sorted(near, key=lambda each: -each[0])[:MOST]:
        yield {"task": str(task.pk), "to": str(pk), "similarity": round(score, 4)}


def _tell(actor: Actor, ticket: Ticket, discovery: TaskDiscovery, made: list[Task]) -> None:
    copies = [str(task.pk) for task in made if task.status == Task.Status.DUPLICATED]
    emit(
        events.DISCOVERY_BRANCH_CREATED,
        subject=discovery,
        actor=actor,
        ticket_id=str(ticket.pk),
        tasks=[str(task.pk) for task in made],
        duplicated=copies,
    )
