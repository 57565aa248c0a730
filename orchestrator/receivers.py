"""What the orchestrator does when it hears of work: both halves, since siblings are strangers."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from guardian import events as guardian_events
from guardian.models import Event, Team
from guardian.outbox import on
from memory import services as memory
from orchestrator import events, services
from orchestrator.services import attempt_id
from orchestrator.services.routing import worth_routing
from phases import events as phases_events
from phases.models import Task, TaskDiscovery
from tools import events as tools_events


@on(guardian_events.TEAM_CREATED)
def give_new_team_its_agents_and_tools(event: Event) -> None:
    services.seed_agents(team=Team.objects.get(pk=event.subject_id))


@on(phases_events.TASK_READIED)
def find_an_agent_for_ready_task(event: Event) -> None:
    _dispatch(event)


@on(phases_events.BOARD_SLOT_FREED)
def find_agents_when_a_column_has_room(event: Event) -> None:
    _dispatch(event)


@on(events.EXECUTION_FINISHED)
def give_the_free_slot_away(event: Event) -> None:
    _dispatch(event)


@on(events.RUNTIME_SWITCHED)
def go_on_when_the_runtime_is_started(event: Event) -> None:
    _dispatch(event)


@on(guardian_events.BUDGET_CHANGED)
def go_on_when_a_limit_is_another(event: Event) -> None:
    _dispatch(event)


@on(guardian_events.BUDGET_DELETED)
def go_on_when_a_limit_is_gone(event: Event) -> None:
    _dispatch(event)


def _dispatch(event: Event) -> None:
    if event.team_id is not None:
        services.request_dispatch(team_id=event.team_id)


@on(tools_events.EXECUTION_COMPLETED)
def go_on_after_completed_tool(event: Event) -> None:
    _wake_runs(event)


@on(tools_events.EXECUTION_FAILED)
def go_on_after_failed_tool(event: Event) -> None:
    _wake_runs(event)


@on(tools_events.EXECUTION_TIMEOUT)
def go_on_after_timed_out_tool(event: Event) -> None:
    _wake_runs(event)


@on(tools_events.EXECUTION_CANCELLED)
def go_on_after_cancelled_tool(event: Event) -> None:
    _wake_runs(event)


def _wake_runs(event: Event) -> None:
    services.wake_runs(label=event.subject_label, subject_id=event.subject_id)


@on(phases_events.GATE_CHECK_REQUESTED)
def run_checks_of_a_gate(event: Event) -> None:
    services.run_checks(
        ticket_id=UUID(event.data["ticket_id"]),
        among=[check["inputs"] for check in event.data["checks"]],
    )


def _of_checks(events_: Sequence[Event]) -> list[Event]:
    """Of the ends of runs those that may be for a gate; the service asks the row itself."""
    return [e for e in events_ if "check" in (e.data.get("context") or {})]


@on(tools_events.EXECUTION_COMPLETED, choose=_of_checks)
def conclude_completed_check(event: Event) -> None:
    _conclude_check(event)


@on(tools_events.EXECUTION_FAILED, choose=_of_checks)
def conclude_failed_check(event: Event) -> None:
    _conclude_check(event)


@on(tools_events.EXECUTION_TIMEOUT, choose=_of_checks)
def conclude_timed_out_check(event: Event) -> None:
    _conclude_check(event)


@on(tools_events.EXECUTION_CANCELLED, choose=_of_checks)
def conclude_cancelled_check(event: Event) -> None:
    _conclude_check(event)


def _conclude_check(event: Event) -> None:
    services.conclude_check(execution_id=UUID(event.subject_id))


@on(phases_events.TASK_COMPLETED)
def remember_completed_task(event: Event) -> None:
    _remember(event, success=True)


@on(phases_events.TASK_FAILED)
def remember_failed_task(event: Event) -> None:
    _remember(event, success=False)


def _remember(event: Event, *, success: bool) -> None:
    task = Task.objects.select_related("ticket").filter(pk=event.subject_id).first()
    if task is None or task.last_holder_id is None:
        return
    result = task.result if isinstance(task.result, dict) else {}
    decisions = result.get("decisions")
    lines = [
        task.ticket.title,
        _text(result.get("summary")),
        *map(_text, decisions if isinstance(decisions, list) else [decisions]),
        task.error_message,
    ]
    memory.remember_task(
        team_id=task.team_id,
        owner_id=task.last_holder_id,
        task_id=task.pk,
        run_id=attempt_id(task_id=task.pk, fence=event.data["fence"]),
        ticket_id=task.ticket_id,
        phase_id=task.phase_id,
        task_type=task.task_type,
        title=task.title,
        summary="\n".join(line for line in lines if line)[:2000],
        success=success,
        error_patterns=[{"type": task.error_code, "message": task.error_message[:200]}]
        if task.error_code
        else [],
        evidence=[
            {"label": artifact.artifact_type, "id": str(artifact.pk), "sha256": artifact.sha256}
            for artifact in task.artifacts.exclude(source="reported").order_by("id")
        ],
    )


@on(phases_events.DISCOVERY_RECORDED)
def remember_discovery(event: Event) -> None:
    found = (
        TaskDiscovery.objects.select_related("source_task__ticket", "discovered_by")
        .filter(pk=event.subject_id)
        .first()
    )
    if found is None:
        return
    task = found.source_task
    kind = found.get_discovery_type_display().lower()
    memory.remember_discovery(
        team_id=found.team_id,
        owner_id=found.discovered_by_id,
        discovery_id=found.pk,
        discovery_type=found.discovery_type,
        title=f"{kind.capitalize()}: {found.description}",
        text=f"{found.description}\n\nA {kind}, found at work on “{task.title}” for"
        f" “{task.ticket.title}” (LEM-{task.ticket.number}).",
        by_person=found.discovered_by.kind == "human",
        ticket_id=task.ticket_id,
        task_id=task.pk,
        phase_id=task.phase_id,
    )


def _text(value: Any) -> str:
    """A remark as text; rows of before its shape was checked may hold anything."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


@on("*", choose=worth_routing)
def route_event(event: Event) -> None:
    services.route(event=event)
