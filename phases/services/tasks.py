"""Tasks: made, ready, tried once more."""

from datetime import datetime
from typing import Required, TypedDict, Unpack
from uuid import UUID

from django.db import transaction
from django.db.models import F, Max, Q
from django.db.models.functions import Now

from guardian.authority import Actor, service_actor
from guardian.errors import Invalid
from guardian.models import Team
from guardian.outbox import defer, emit
from phases import claims, events
from phases.errors import TicketClosed
from phases.models import Phase, Task, TaskDependency, TaskDiscovery, Ticket
from phases.models.task import RETRYABLE
from phases.part import require_part
from phases.services.copies import Alike, best_of, compare, still_true, tell_copies, text_of
from phases.services.dependents import dependents_of, settle_blocks, with_dependents
from phases.services.edges import lock_edges, originals
from phases.services.locking import locked_tasks


def create_entry_task(*, actor: Actor, ticket: Ticket, phase: Phase) -> Task | None:
    """The phase's entry task, unless one of this phase is open already."""
    entry = phase.entry_task
    if not entry or Task.objects.still_open().filter(ticket=ticket, phase=phase).exists():
        return None
    return _create(
        actor=actor,
        ticket=ticket,
        phase=phase,
        task_type=entry["task_type"],
        title=entry["title"],
        required_capabilities=entry.get("required_capabilities", []),
        timeout_seconds=entry.get("timeout_seconds"),
    )


class TaskFields(TypedDict, total=False):
    """What a new task may be told beside its ticket."""

    task_type: Required[str]
    title: Required[str]
    phase: Phase | None
    phase_key: str | None  # the same by its key, of a phase with work
    description: str
    required_capabilities: list[str] | None
    required_locks: list[dict[str, str]] | None
    timeout_seconds: int | None
    max_retries: int
    depends_on: list[UUID] | None
    priority: int | None
    deadline: datetime | None
    discovery: TaskDiscovery | None
    depth: int
    alike: Alike | None  # what `compare_task` told: a copy is linked and never dispatched


def compare_task(
    *, ticket: Ticket, phase_key: str | None, title: str, description: str | None
) -> Alike:
    """How alike a task to be made is to what its ticket has; asked before the transaction."""
    key = phase_key or ticket.phase.key
    return compare(ticket=ticket, keys=[key], texts=[text_of(title, description or "")])


@transaction.atomic
def create_task(*, actor: Actor, ticket: Ticket, **fields: Unpack[TaskFields]) -> Task:
    """One task of an open ticket, ready at once unless it waits for others.

    Raises NotYours, TicketClosed, Invalid for a dependency that is not of this team.
    """
    require_part(actor=actor, ticket=ticket)
    if fields.get("depends_on"):
        lock_edges(team_id=ticket.team_id)
    # As it is now: it may have closed, or begun anew, since the caller read it.
    ticket = (
        Ticket.objects.select_for_update(of=("self",), no_key=True)
        .select_related("phase", "team")
        .get(pk=ticket.pk)
    )
    return _create(actor=actor, ticket=ticket, **fields)


@transaction.atomic
def _create(
    *,
    actor: Actor,
    ticket: Ticket,
    task_type: str,
    title: str,
    phase: Phase | None = None,
    phase_key: str | None = None,
    description: str = "",
    required_capabilities: list[str] | None = None,
    required_locks: list[dict[str, str]] | None = None,
    timeout_seconds: int | None = None,
    max_retries: int = 3,
    depends_on: list[UUID] | None = None,
    priority: int | None = None,
    deadline: datetime | None = None,
    discovery: TaskDiscovery | None = None,
    depth: int = 0,
    alike: Alike | None = None,
) -> Task:
    """The task itself, also the one a move makes, whoever moved."""
    if not ticket.is_open:
        raise TicketClosed(status=ticket.status)
    if phase_key is not None:
        phase = Phase.objects.filter(
            workflow=ticket.workflow_id, key=phase_key, kind="work"
        ).first()
        if phase is None:
            raise Invalid(path="phase", reason="is no phase with work of the ticket's workflow")
    others, missing = originals(team_id=ticket.team_id, task_ids=depends_on or [])
    if missing:
        raise Invalid(path="depends_on", reason="names a task that does not exist")
    copied = None
    if alike is not None:
        keys, texts = [(phase or ticket.phase).key], [text_of(title, description)]
        [scores] = still_true(ticket=ticket, keys=keys, texts=texts, alike=alike)
        copied = best_of(scores)
    # Held, so that none of them ends between this look and the edge that would hear of it.
    found = locked_tasks([] if copied else sorted(set(others.values())))
    open_deps = [t for t in found if t.status != Task.Status.COMPLETED]
    task = Task.objects.create(
        team=ticket.team,
        ticket=ticket,
        phase=phase or ticket.phase,
        visit=ticket.visit,
        task_type=task_type,
        title=title,
        description=description,
        priority=priority or ticket.priority,
        required_capabilities=tidy(required_capabilities),
        required_locks=required_locks or [],
        timeout_seconds=timeout_seconds,
        max_retries=max_retries,
        deadline=deadline,
        discovery=discovery,
        depth=depth,
        deps_left=len(open_deps),
        status=Task.Status.DUPLICATED if copied else Task.Status.PENDING,
        duplicate_of_id=copied[0] if copied else None,
    )
    if copied:
        tell_copies(actor=actor, copies=[(task, copied[1])])
        return task
    # A task is new, so nothing depends on it yet: an edge from it cannot close a cycle.
    TaskDependency.objects.bulk_create(
        TaskDependency(
            team=ticket.team,
            task=task,
            depends_on=other,
            satisfied=other.status == Task.Status.COMPLETED,
        )
        for other in found
    )
    claims.count_blockers(t.pk for t in open_deps)
    emit(
        events.TASK_CREATED,
        subject=task,
        actor=actor,
        ticket_id=str(ticket.pk),
        task_type=task_type,
    )
    if open_deps:
        defer("phases.settle_dependencies", queue="system", task_id=str(task.pk))
        settle_blocks([task.pk])
        task.refresh_from_db()
    make_ready([task.pk])
    return task


def tidy(capabilities: list[str] | None) -> list[str]:
    """Trimmed, lower case, each once."""
    return sorted({c.strip().lower() for c in capabilities or [] if c.strip()})


@transaction.atomic
def settle_dependencies(*, task_id: UUID) -> int:
    """Tell a new task of dependencies that ended while it was made. Returns how many.

    A completion is one statement: one that waited for the new task's transaction still sees the
    edges as they were when it began. Asked after the commit, behind such a completion, this sees
    what came of it.
    """
    edges = TaskDependency.objects.filter(task_id=task_id, satisfied=False)
    ids = [task_id, *edges.values_list("depends_on_id", flat=True)]
    ended = [task.pk for task in locked_tasks(ids) if task.status == Task.Status.COMPLETED]
    missed = edges.filter(depends_on_id__in=ended).update(satisfied=True, updated_at=Now())
    if missed:
        Task.objects.filter(pk=task_id).update(deps_left=F("deps_left") - missed, updated_at=Now())
        make_ready([task_id])
    return missed


def make_ready(task_ids: list[UUID]) -> None:
    """Bring the queue up to date and tell of those that became claimable."""
    claims.tell_readied(claims.refresh(task_ids))


def reset_task(*, task: Task, actor: Actor, reason: str) -> None:
    """Back to pending in the ticket's visit of now, with what waited for it; both are locked.

    What itself waits for a failed or cancelled task is blocked for that at once.
    """
    task.retry()
    task.visit = task.ticket.visit
    task.save()
    emit(
        events.TASK_RETRIED,
        subject=task,
        actor=actor,
        reason=reason,
        ticket_id=str(task.ticket_id),
    )
    make_ready([task.pk, *settle_blocks([task.pk, *dependents_of(task.pk)])])
    if task.deps_left:
        task.refresh_from_db()  # it may be blocked by now


def follow_move(
    *,
    actor: Actor,
    ticket: Ticket,
    entered: Phase,
    returns: bool,
    retried: UUID | None = None,
) -> None:
    """Tasks after a move: failed ones come back, an entry task is made if none is open.

    `retried` is a task that comes back too, of whatever visit and also where it was called off.
    """
    if entered.kind == Phase.Kind.WORK:
        # Asked before open work is taken along into the new visit, which it would look like.
        last = Task.objects.of_now(ticket).filter(phase=entered).aggregate(last=Max("visit"))
        older = Task.objects.still_open().filter(ticket=ticket, phase=entered)
        along = set(older.exclude(visit=ticket.visit).values_list("id", flat=True))
        again = _to_put_up_again(ticket, entered, last["last"], retried) if returns else set()
        locked = locked_tasks([*along, *with_dependents(again)])
        # Work that is open in the entered phase belongs to the visit that begins.
        Task.objects.filter(pk__in=along).update(visit=ticket.visit)
        for task in locked:
            if task.pk in again:
                task.ticket = ticket
                reset_task(task=task, actor=actor, reason="the ticket goes on")
        create_entry_task(actor=actor, ticket=ticket, phase=entered)
    waiting = Task.objects.filter(ticket=ticket, status__in=["pending", "needs_work"])
    make_ready(list(waiting.order_by("id").values_list("id", flat=True)))


def _to_put_up_again(
    ticket: Ticket, entered: Phase, visit: int | None, retried: UUID | None
) -> set[UUID]:
    """What failed when the ticket was last in this phase, and what somebody asks for by its id.

    Failures of earlier visits stay: their work was done again since, or for another source.
    """
    failed = Q(status=Task.Status.FAILED, visit=visit)
    asked_for = Q(status__in=RETRYABLE, pk=retried)
    here = Task.objects.filter(failed | asked_for, ticket=ticket, phase=entered)
    return set(here.values_list("id", flat=True))


@transaction.atomic
def start_ticket(*, ticket_id: UUID) -> None:
    """The first claim starts the ticket; hearing it again changes nothing."""
    ticket = Ticket.objects.select_related("column").filter(pk=ticket_id).first()
    if ticket is None or ticket.status != Ticket.Status.PENDING:
        return
    type(ticket.column).objects.select_for_update(no_key=True).get(pk=ticket.column_id)
    ticket = Ticket.objects.select_for_update(no_key=True).get(pk=ticket_id)
    if ticket.status != Ticket.Status.PENDING:
        return
    ticket.start()
    ticket.version += 1
    ticket.save(update_fields=["status", "version", "updated_at"])
    emit(events.TICKET_STARTED, subject=ticket, number=ticket.number)


def system_actor(team: Team) -> Actor:
    """Who acts when Lemnos moves something by itself."""
    return service_actor(team)
