"""From what happened outside to the agents that want to hear of it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from guardian.authority import Actor
from guardian.event_reads import kinds_of
from guardian.events import alias_of
from guardian.kinds import PRIORITY_WORDS, patterns_for, require_outside
from guardian.models import Event
from guardian.outbox import emit
from guardian.outbox_many import EMIT_MANY, tell_many
from guardian.prepared import run_prepared
from orchestrator import events
from orchestrator.models import AgentExecution, AgentTrigger
from orchestrator.trigger_filters import fits


@dataclass(frozen=True, slots=True)
class Published:
    """An event from outside and how many agents it calls."""

    event_id: UUID
    matched: int

    @property
    def routed(self) -> bool:
        return self.matched > 0


def publish(
    *,
    actor: Actor,
    kind: str,
    payload: dict[str, Any],
    priority: str = "normal",
    source: str = Event.Source.API,
) -> Published:
    """Tell what happened outside; who hears of it is looked up in the same statement.

    The work itself is queued by the receiver of the event, which also says so when nobody is
    there to hear it (`event.unhandled`). Raises KindReserved, Invalid.
    """
    return publish_many(actor=actor, told=[(kind, payload, priority)], source=source)[0]


# One plan, kept by the connection, and one round trip: it is asked with every event from outside.
_PUBLISH = f"""
WITH told AS ({EMIT_MANY})
SELECT t.type, t.definition_id, t.filters
  FROM orchestrator_agenttrigger t JOIN orchestrator_agentdefinition d ON d.id = t.definition_id
 WHERE t.team_id = %(team)s::uuid AND t.type = ANY(%(names)s::text[]) AND d.enabled
"""  # noqa: S608  constants of modules


def publish_many(
    *,
    actor: Actor,
    told: Sequence[tuple[str, dict[str, Any], str]],
    source: str = Event.Source.API,
) -> list[Published]:
    """publish() for each (kind, payload, priority), all or none, in one statement.

    It is a transaction of its own, or a part of the caller's.
    """
    if not told:
        return []
    for kind in {kind for kind, _, _ in told}:
        require_outside(kind)
    made, arguments = tell_many(told, actor=actor, source=source, path="payload")
    names = {kind: patterns_for(kind) for kind in {one.kind for one in made}}
    arguments["names"] = sorted({name for found in names.values() for name in found})
    waiting: dict[str, list[tuple[UUID, dict[str, Any]]]] = {}
    for name, agent, filters in run_prepared(_PUBLISH, arguments):
        wanted = json.loads(filters) if isinstance(filters, str) else filters
        waiting.setdefault(name, []).append((agent, wanted))
    return [Published(one.id, _called(waiting, names[one.kind], one.data)) for one in made]


def _called(
    waiting: dict[str, list[tuple[UUID, dict[str, Any]]]],
    names: Iterable[str],
    data: dict[str, Any],
) -> int:
    """How many agents an event calls, as `matching` finds them."""
    return len(
        {agent for name in names for agent, filters in waiting.get(name, ()) if fits(filters, data)}
    )


def tell_unhandled(event: Event) -> None:
    """Nobody wants to hear of it: an event of its own, so that this is seen."""
    emit(
        events.EVENT_UNHANDLED,
        subject=event,
        team_id=event.team_id,
        priority="low",
        event_id=str(event.pk),
        type=event.kind,
    )


def matching(*, team_id: UUID, kind: str, data: dict[str, Any]) -> list[AgentTrigger]:
    """One trigger per agent that this event calls: its most urgent; by priority, then agent."""
    candidates = (
        AgentTrigger.objects.for_team(team_id)
        .in_force()
        .filter(type__in=patterns_for(kind, alias_of(kind)))
        .select_related("definition", "agent_version")
    )
    found: dict[UUID, AgentTrigger] = {}
    for trigger in candidates:
        if trigger.definition_id not in found and fits(trigger.filters, data):
            found[trigger.definition_id] = trigger
    return list(found.values())


@transaction.atomic
def route(*, event: Event) -> int:
    """Queue one execution for each agent the event calls. Returns how many are new.

    Heard twice, it changes nothing: there is one execution per agent and event.
    """
    if event.team_id is None:
        return 0
    called = matching(team_id=event.team_id, kind=event.kind, data=event.data)
    known = set(AgentExecution.objects.filter(event=event).values_list("definition_id", flat=True))
    queued = [
        AgentExecution(
            team_id=event.team_id,
            definition=trigger.definition,
            agent_version=trigger.agent_version,
            kind=AgentExecution.Kind.EVENT,
            event=event,
            priority=trigger.priority,
            input=event.data,
        )
        for trigger in called
        if trigger.definition_id not in known
    ]
    AgentExecution.objects.bulk_create(queued)
    if not called and event.source != Event.Source.INTERNAL:
        tell_unhandled(event)
    return len(queued)


def worth_routing(batch: Sequence[Event]) -> list[Event]:
    """Events from outside, and of our own those that a trigger of their team names."""
    inner = [event for event in batch if event.source == Event.Source.INTERNAL and event.team_id]
    names = {event.pk: patterns_for(event.kind, event.alias) for event in inner}
    wanted = set(
        AgentTrigger.objects.in_force()
        .filter(
            team_id__in={event.team_id for event in inner},
            type__in={name for found in names.values() for name in found},
        )
        .values_list("team_id", "type")
    )
    return [
        event
        for event in batch
        if event.source != Event.Source.INTERNAL
        or any((event.team_id, name) in wanted for name in names.get(event.pk, ()))
    ]


def event_types(*, team_id: UUID) -> list[dict[str, Any]]:
    """Kinds that happened or that an agent waits for, with who is called by them."""
    triggers = list(AgentTrigger.objects.for_team(team_id).in_force().select_related("definition"))
    counted = {row.kind: row for row in kinds_of(team_id=team_id, window=timedelta(hours=24))}
    awaited = {t.type for t in triggers if not t.type.endswith(".*")}
    covered = {name for kind in counted for name in (kind, alias_of(kind))}
    return [
        {
            "type": kind,
            "count_24h": counted[kind].count if kind in counted else 0,
            "last_at": counted[kind].last_at if kind in counted else None,
            "triggers": _called_by(kind, triggers),
        }
        for kind in sorted({*counted, *(awaited - covered)})
    ]


def _called_by(kind: str, triggers: Iterable[AgentTrigger]) -> list[dict[str, Any]]:
    names = set(patterns_for(kind, alias_of(kind)))
    return [
        {
            "agent": trigger.definition.slug,
            "type": trigger.type,
            "priority": PRIORITY_WORDS[trigger.priority],
            "filters": trigger.filters,
        }
        for trigger in triggers
        if trigger.type in names
    ]
