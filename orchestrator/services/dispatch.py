"""Placing work: one transaction per pair of task and agent, a refusal undoes only itself."""

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from guardian import disk, hosts
from guardian import services as guardian
from guardian.authority import Actor, actor_for
from guardian.errors import DomainError
from guardian.models import Team
from guardian.outbox import defer, emit
from orchestrator import dispatcher, events
from orchestrator.dispatcher import Candidate, Work
from orchestrator.errors import AgentBusy
from orchestrator.models import AgentExecution, AgentInstance, RuntimeSwitch, free_slots
from orchestrator.models.executions import OPEN_STATES
from phases import services as phases
from phases.errors import NoCapableAgent
from phases.models import Task

LEASE_SECONDS = 60
CANDIDATES = 200
# A run that waits for another host holds no slot.
IN_A_SLOT_OF_AGENT = Q(executions__state__in=OPEN_STATES) & (
    Q(executions__run=None) | ~Q(executions__run__state="waiting")
)


def request_dispatch(*, team_id: UUID) -> None:
    """Ask for a round of placing; many asks at once become one job."""
    defer(
        "orchestrator.dispatch",
        queue="system",
        queueing_lock=f"orchestrator.dispatch:{team_id}",
        team_id=str(team_id),
    )


def runtime_is_running(*, team: Team) -> bool:
    """Whether the team's runtime is switched on and the kill switch is off."""
    stopped = RuntimeSwitch.objects.filter(team=team, running=False).exists()
    return not stopped and not guardian.kill_switch_is_on(team=team)


def dispatch(*, team_id: UUID) -> int:
    """One round: place waiting tasks with built-in agents that have room. Returns how many.

    Ends when tasks, agents or the slots of live worker hosts end.
    """
    team = Team.objects.get(pk=team_id)
    if not runtime_is_running(team=team) or disk.room().is_low:
        return 0
    candidates = {c.id: c for c in _candidates(team)}
    _note_what_nobody_can(team, candidates.values())
    slots = hosts.slots("agents") - AgentExecution.objects.in_a_slot().count()
    if slots <= 0:
        return 0
    now = timezone.now()
    placed = 0
    queue = _work_for(team, candidates.values())
    for work in sorted(queue, key=lambda w: dispatcher.urgency(w, now)):
        if placed >= slots:
            break
        placed += _place_with_best(team, candidates, work)
    return placed


def _work_for(team: Team, candidates: Collection[Candidate]) -> list[Work]:
    """The heads of what each agent with room can do: no other work can hide them.

    What is kept for who did it before is offered to no other.
    """
    found: dict[UUID, Work] = {}
    for capabilities in {c.capabilities for c in candidates if c.free > 0}:
        # What anybody could do is left to whoever asks for it: a skill is no jack of all trades.
        for r in phases.ready_tasks(
            team_id=team.pk, limit=CANDIDATES, capabilities=capabilities, needing=True
        ):
            found[r.task_id] = Work(
                r.task_id,
                dispatcher.tokens(r.capabilities),
                r.priority,
                r.ready_at,
                {c.id for c in candidates if r.reserved_for not in {None, c.user_id}},
            )
    return list(found.values())


def _note_what_nobody_can(team: Team, candidates: Iterable[Candidate]) -> None:
    offered = frozenset[str]().union(*(c.capabilities for c in candidates))
    for task_id in phases.waiting_without_agent(team_id=team.pk, capabilities=offered):
        _note(team, task_id, NoCapableAgent.code)


def _candidates(team: Team) -> list[Candidate]:
    rows = (
        AgentInstance.objects.for_team(team.pk)
        .built_in()
        .working()
        .select_related("agent_version")
        .annotate(open=Count("executions", filter=IN_A_SLOT_OF_AGENT))
    )
    return [
        Candidate(
            id=row.pk,
            capabilities=dispatcher.tokens(row.capabilities),
            free=free_slots(row, row.open),
            state=row.state,
            health=row.health,
            last_assigned_at=row.last_assigned_at,
            user_id=row.user_id,
        )
        for row in rows
    ]


def _place_with_best(team: Team, candidates: dict[UUID, Candidate], work: Work) -> bool:
    """Try agents best first until one gets the task or the task itself is refused."""
    while True:
        chosen = dispatcher.choose(candidates.values(), work)
        if chosen is None:
            return False
        try:
            execution = place(instance_id=chosen.id, task_id=work.id)
        except AgentBusy:
            chosen.free = 0
            continue
        except DomainError as refusal:
            _note(team, work.id, refusal.code)
            return False
        chosen.free -= 1
        chosen.state = "running"
        chosen.last_assigned_at = execution.created_at
        return True


def _note(team: Team, task_id: UUID, code: str) -> None:
    """Keep why a task waits. A race that somebody else won is no reason to tell of."""
    if code == "not_claimable":
        return
    with transaction.atomic():
        if phases.note_why_waiting(task_id=task_id, code=code):
            emit(events.DISPATCH_REFUSED, team_id=team.pk, task_id=str(task_id), refusal=code)


@transaction.atomic
def place(*, instance_id: UUID, task_id: UUID) -> AgentExecution:
    """Give one task to one agent: slot, claim, execution and its job, all or none.

    Raises AgentBusy, and what a claim raises. Lock order: instance, then what phases locks.
    """
    instance = (
        AgentInstance.objects.select_for_update(of=("self",))
        .select_related("user", "team", "agent_version__definition")
        .get(pk=instance_id)
    )
    held = AgentExecution.objects.in_a_slot().filter(instance=instance).count()
    if instance.state not in {"idle", "running"} or free_slots(instance, held) < 1:
        raise AgentBusy(f"{instance.name} is {instance.state} with {held} executions.")
    actor = agent_actor(instance)
    claimed = phases.claim_tasks(
        actor=actor,
        capabilities=instance.capabilities,
        task_id=task_id,
        lease_seconds=LEASE_SECONDS,
        needing=True,
    )[0]
    return queue_claimed(instance=instance, task=claimed.task)


def may_take_next(instance: AgentInstance) -> bool:
    """Whether an agent whose execution ends may go on with the next task at once.

    Only while the hosts have a slot to spare: otherwise somebody else's work may wait for just
    this one, and a round decides who is next, by urgency and across teams. The rest is what a
    round asks too: the runtime runs, the disk has room, the agent is well and within its capacity.
    """
    if instance.state != AgentInstance.State.RUNNING or hosts.is_leaving():
        return False
    if instance.health == AgentInstance.Health.STALE:
        return False
    taken = AgentExecution.objects.in_a_slot()
    return (
        free_slots(instance, taken.filter(instance=instance).count() - 1) > 0
        and runtime_is_running(team=instance.team)
        and not disk.room().is_low
        and hosts.slots("agents") > taken.count()
    )


def queue_claimed(*, instance: AgentInstance, task: Task) -> AgentExecution:
    """The execution and its job of a task that a locked agent has claimed in this transaction."""
    actor = agent_actor(instance)
    version = instance.agent_version
    execution = AgentExecution.objects.create(
        team=instance.team,
        definition=version.definition if version else None,
        agent_version=version,
        instance=instance,
        kind=AgentExecution.Kind.TASK,
        task=task,
        priority=task.priority,
        fence=task.fence,
        input=_input(task),
    )
    _occupy(instance)
    emit(
        events.EXECUTION_QUEUED,
        subject=execution,
        actor=actor,
        task_id=str(task.pk),
        ticket_id=str(task.ticket_id),
        agent=instance.name,
        fence=task.fence,
    )
    defer("orchestrator.run_execution", queue="agents", execution_id=str(execution.pk))
    return execution


def _input(task: Any) -> dict[str, Any]:
    """What a run may use of its ticket: the ids, and the context its author gave."""
    ticket = task.ticket
    return {
        **{k: v for k, v in ticket.context.items() if k not in {"phases", "history"}},
        "ticket_id": str(ticket.pk),
        "ticket_number": ticket.number,
        "ticket_title": ticket.title,
        "task_id": str(task.pk),
        "task_type": task.task_type,
    }


def _occupy(instance: AgentInstance) -> None:
    changed = ["last_assigned_at", "updated_at"]
    instance.last_assigned_at = timezone.now()
    if instance.state == AgentInstance.State.IDLE:
        instance.take_slot()
        changed.append("state")
    instance.save(update_fields=changed)


def agent_actor(instance: AgentInstance) -> Actor:
    """An agent as an actor in its team."""
    return actor_for(instance.user, instance.team)
