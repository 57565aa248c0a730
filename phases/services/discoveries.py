"""What somebody comes upon while at work: kept, made into tasks, answered."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from guardian.authority import Actor, owns
from guardian.errors import IllegalTransition, Invalid, NotFound
from guardian.outbox import emit
from phases import events
from phases.models import Task, TaskDiscovery, Ticket
from phases.part import require_part
from phases.results import fault_in_content
from phases.services.copies import Alike
from phases.services.edges import lock_edges
from phases.services.spawning import RELATED, Spawn, compare_spawn, spawn_tasks

RESOLUTION = "resolution"
# Keys of metadata that Lemnos writes.
RESERVED = (RELATED, RESOLUTION)
_UNSETTLED = (TaskDiscovery.Resolution.OPEN, TaskDiscovery.Resolution.IN_PROGRESS)


def record_discovery(
    *,
    actor: Actor,
    source_task: UUID,
    discovery_type: str,
    description: str,
    evidence: dict[str, Any] | None = None,
    priority_boost: bool = False,
    metadata: dict[str, Any] | None = None,
    spawn: Sequence[Spawn] = (),
    alike: Alike | None = None,
) -> tuple[TaskDiscovery, list[Task]]:
    """Keep what was found at work on a task, with up to ten tasks that come out of it.

    All or nothing; the source goes on as it is. `alike` is what `compare_spawn` told, where the
    caller asked it already, outside of its transaction.
    Raises NotFound, NotYours, Invalid, TicketClosed, SpawnLimit.
    """
    for name, value in (("evidence", evidence), ("metadata", metadata)):
        if reason := fault_in_content(value or {}):
            raise Invalid(path=name, reason=reason)
    for key in RESERVED:
        if key in (metadata or {}):
            raise Invalid(path=f"metadata.{key}", reason="is written by Lemnos")
    alike = alike or compare_spawn(actor=actor, task_id=source_task, spawn=spawn)
    with transaction.atomic():
        source, ticket = _held(actor, source_task, spawn)
        require_part(actor=actor, ticket=ticket)
        discovery = TaskDiscovery.objects.create(
            team=ticket.team,
            source_task=source,
            discovery_type=discovery_type,
            description=description,
            evidence=evidence or {},
            priority_boost=priority_boost,
            metadata=metadata or {},
            discovered_by=actor.user,
            discovered_at=timezone.now(),
        )
        emit(
            events.DISCOVERY_RECORDED,
            subject=discovery,
            actor=actor,
            ticket_id=str(ticket.pk),
            source_task=str(source.pk),
            discovery_type=discovery_type,
            description=description[:500],
        )
        made = spawn_tasks(
            actor=actor,
            ticket=ticket,
            discovery=discovery,
            source=source,
            spawn=spawn,
            alike=alike,
        )
    return discovery, made


def branch_discovery(
    *, actor: Actor, discovery_id: UUID, spawn: Sequence[Spawn], alike: Alike | None = None
) -> tuple[TaskDiscovery, list[Task]]:
    """Make further tasks of a discovery that is not settled.

    Raises NotFound, NotYours, Invalid, TicketClosed, IllegalTransition, SpawnLimit.
    """
    source_id = source_of(actor=actor, discovery_id=discovery_id)
    alike = alike or compare_spawn(actor=actor, task_id=source_id, spawn=spawn)
    with transaction.atomic():
        source, ticket = _held(actor, source_id, spawn)
        discovery = TaskDiscovery.objects.select_for_update(of=("self",)).get(pk=discovery_id)
        _require_part(actor, discovery, ticket)
        _require_unsettled(discovery)
        made = spawn_tasks(
            actor=actor,
            ticket=ticket,
            discovery=discovery,
            source=source,
            spawn=spawn,
            alike=alike,
        )
    return discovery, made


@transaction.atomic
def resolve_discovery(
    *, actor: Actor, discovery_id: UUID, status: str, note: str = ""
) -> TaskDiscovery:
    """Say how far a discovery is: in_progress, resolved or invalid; the last two are final.

    Raises NotFound, NotYours, IllegalTransition.
    """
    discovery = (
        TaskDiscovery.objects.select_for_update(of=("self",))
        .select_related("source_task__ticket")
        .filter(pk=discovery_id, team=actor.team)
        .first()
    )
    if discovery is None:
        raise NotFound("There is no such discovery.")
    ticket = discovery.source_task.ticket
    _require_part(actor, discovery, ticket)
    _require_unsettled(discovery)
    now = timezone.now()
    discovery.resolution_status = status
    said = {"status": status, "note": note, "by": str(actor.id), "at": now.isoformat()}
    discovery.metadata = {**discovery.metadata, RESOLUTION: said}
    discovery.save(update_fields=["resolution_status", "metadata", "updated_at"])
    emit(
        events.DISCOVERY_RESOLVED,
        subject=discovery,
        actor=actor,
        reason=note,
        ticket_id=str(ticket.pk),
        status=status,
    )
    return discovery


def source_of(*, actor: Actor, discovery_id: UUID) -> UUID:
    """The task in which it was found. Raises NotFound."""
    rows = TaskDiscovery.objects.filter(pk=discovery_id, team=actor.team)
    found = rows.values_list("source_task_id", flat=True).first()
    if found is None:
        raise NotFound("There is no such discovery.")
    return found


def _held(actor: Actor, task_id: UUID, spawn: Sequence[Spawn]) -> tuple[Task, Ticket]:
    """The source, and its ticket locked: what limits it is counted by one at a time."""
    if any(one.depends_on for one in spawn):
        lock_edges(team_id=actor.team_id)
    source = Task.objects.select_related("phase").filter(pk=task_id, team=actor.team).first()
    if source is None:
        raise NotFound("There is no such task.")
    ticket = (
        Ticket.objects.select_for_update(of=("self",), no_key=True)
        .select_related("phase", "team", "workflow")
        .get(pk=source.ticket_id)
    )
    return source, ticket


def _require_part(actor: Actor, discovery: TaskDiscovery, ticket: Ticket) -> None:
    """Who found it has a part in it."""
    if not owns(actor, discovery.discovered_by_id):
        require_part(actor=actor, ticket=ticket)


def _require_unsettled(discovery: TaskDiscovery) -> None:
    if discovery.resolution_status not in _UNSETTLED:
        raise IllegalTransition(f"This discovery is {discovery.resolution_status}.", allowed=[])
