"""The runtime's switches: the whole of it, and single agents."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count
from django.utils import timezone
from django_fsm import can_proceed

from guardian import services as guardian
from guardian.authority import MONITOR, Actor, require_level
from guardian.errors import IllegalTransition
from guardian.models import WorkerHost
from guardian.outbox import emit
from orchestrator import events
from orchestrator.errors import InstanceNotFound
from orchestrator.models import AgentExecution, AgentInstance, RuntimeSwitch


@transaction.atomic
def switch_runtime(*, actor: Actor, running: bool, reason: str = "") -> RuntimeSwitch:
    """Start or stop placing work in the actor's team; what runs goes on. Raises AuthorityTooLow."""
    require_level(actor, MONITOR)
    RuntimeSwitch.objects.get_or_create(team=actor.team)
    switch = RuntimeSwitch.objects.select_for_update().get(team=actor.team)
    if switch.running == running:
        return switch
    switch.running, switch.changed_by = running, actor.user
    switch.save(update_fields=["running", "changed_by", "changed_at"])
    emit(
        events.RUNTIME_SWITCHED,
        team_id=actor.team_id,
        actor=actor,
        reason=reason,
        running=running,
    )
    return switch


@transaction.atomic
def pause_agent(*, actor: Actor, instance_id: UUID, reason: str = "") -> AgentInstance:
    """Give an agent no new work; what it has may end.

    Raises InstanceNotFound, AuthorityTooLow, IllegalTransition.
    """
    instance = _locked(actor, instance_id)
    return _move(actor, instance, "pause", reason)


@transaction.atomic
def resume_agent(*, actor: Actor, instance_id: UUID, reason: str = "") -> AgentInstance:
    """Give an agent work again.

    Raises InstanceNotFound, AuthorityTooLow, IllegalTransition.
    """
    instance = _locked(actor, instance_id)
    busy = AgentExecution.objects.still_open().filter(instance=instance).exists()
    return _move(actor, instance, "resume_running" if busy else "resume_idle", reason)


@transaction.atomic
def stop_agent(*, actor: Actor, instance_id: UUID, reason: str = "") -> AgentInstance:
    """Take an agent off until somebody starts it; what it has may end.

    Raises InstanceNotFound, AuthorityTooLow, IllegalTransition.
    """
    instance = _move(actor, _locked(actor, instance_id), "stop", reason)
    # Locks for tasks end with those: what it works on it may still end.
    guardian.release_locks_of_instance(
        instance_id=instance.pk, reason="its agent was stopped", with_tasks=False
    )
    return instance


@transaction.atomic
def start_agent(*, actor: Actor, instance_id: UUID, reason: str = "") -> AgentInstance:
    """Bring a stopped agent back.

    Raises InstanceNotFound, AuthorityTooLow, IllegalTransition.
    """
    return _move(actor, _locked(actor, instance_id), "start", reason)


def _locked(actor: Actor, instance_id: UUID) -> AgentInstance:
    require_level(actor, MONITOR)
    found = (
        AgentInstance.objects.select_for_update(of=("self",))
        .select_related("agent_version__definition", "user")
        .filter(pk=instance_id, team=actor.team)
        .first()
    )
    if found is None:
        raise InstanceNotFound
    return found


def _move(actor: Actor, instance: AgentInstance, edge: str, reason: str) -> AgentInstance:
    before = instance.state
    transition = getattr(instance, edge)
    if not can_proceed(transition):
        edges = ("pause", "resume_idle", "stop", "start")
        allowed = [name for name in edges if can_proceed(getattr(instance, name))]
        raise IllegalTransition(
            f"{instance.name} is {before}; it cannot {edge.partition('_')[0]} from there.",
            allowed=[name.partition("_")[0] for name in allowed],
        )
    transition()
    instance.state_reason = reason[:1000]
    instance.revision += 1
    instance.save(update_fields=["state", "state_reason", "revision", "updated_at"])
    emit(
        events.AGENT_STATE_CHANGED,
        subject=instance,
        actor=actor,
        reason=reason,
        name=instance.name,
        from_state=before,
        to_state=instance.state,
    )
    return instance


def runtime_status(*, actor: Actor) -> dict[str, Any]:
    """What the runtime of a team is doing, for operators and programs."""
    team = actor.team
    by_state = dict(
        AgentInstance.objects.for_team(team.pk)
        .order_by("state")
        .values_list("state")
        .annotate(count=Count("id"))
    )
    executions = dict(
        AgentExecution.objects.for_team(team.pk)
        .still_open()
        .order_by("state")
        .values_list("state")
        .annotate(count=Count("id"))
    )
    now = timezone.now()
    return {
        "running": not RuntimeSwitch.objects.filter(team=team, running=False).exists(),
        "total_instances": sum(by_state.values()),
        "by_state": by_state,
        "active_tasks": executions.get("running", 0),
        "queued_executions": executions.get("queued", 0),
        "hosts": [
            {
                "name": host.name,
                "concurrency": host.concurrency,
                "heartbeat_age_seconds": round((now - host.heartbeat_at).total_seconds(), 1),
            }
            for host in WorkerHost.objects.live().order_by("name")
        ],
    }
