"""Checks that gates ask for: run in the sandbox, told to phases as evidence, tried again if lost.

The run is a ToolExecution as every other: whichever host offers its level does it, and it survives
the death of that host. What ended is heard as an event; nothing here waits.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from guardian.authority import Actor, service_actor
from guardian.errors import DomainError
from guardian.models import Team
from guardian.outbox import defer
from orchestrator.gate_checks import call_for, content_of, proves_something
from orchestrator.sources import PATH, resolve, source_invalid
from phases import services as phases
from phases.models import Ticket
from phases.services import WantedCheck
from tools import services as tools
from tools.models import ToolExecution

KEY = "check:"
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=30), timedelta(minutes=10)


@transaction.atomic
def run_checks(*, ticket_id: UUID, among: list[str] | None = None, tries: int = 0) -> int:
    """Ask tools for the runs that a ticket's gate waits for, each once. Returns how many began.

    What cannot be tried now is noted beside the ticket with its reason and, where that may pass,
    tried again later: `tries` says how often it was.
    """
    wanted = phases.wanted_checks(ticket_id=ticket_id, among=among)
    if not wanted:
        return 0
    team_id = Ticket.objects.values_list("team_id", flat=True).get(pk=ticket_id)
    lemnos = service_actor(Team.objects.get(pk=team_id))
    return sum(_begin(check, lemnos, tries) for check in wanted)


def _begin(check: WantedCheck, lemnos: Actor, tries: int) -> bool:
    with connection.cursor() as cursor:
        # Two that hear of the same check at once: one run.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 43))", [check.inputs])
    before = runs_of(check.inputs, lemnos).order_by("-id").first()
    if before is not None and not before.has_ended:
        return False
    if before is not None and proves_something(before):
        conclude_check(execution_id=before.pk)
        return False
    try:
        if check.no_source:
            raise source_invalid(PATH, check.no_source)
        value, origin = resolve(team_id=lemnos.team_id, source=check.source)
        tool, asked, seconds = call_for(check)
        tools.request_execution(
            tool=tool,
            actor=lemnos,
            input={**value, **asked},
            context={
                "ticket_id": str(check.ticket_id),
                "check": {
                    "key": check.key,
                    "kind": check.kind,
                    "inputs": check.inputs,
                    "phase_id": str(check.phase_id),
                    "visit": check.visit,
                    "tries": tries,
                },
            },
            origin=origin,
            timeout_seconds=seconds,
            rate_limited=False,
            run_key=f"{KEY}{check.inputs}",
        )
    except DomainError as refusal:
        _put_off(check, refusal, tries)
        return False
    return True


def runs_of(inputs: str, lemnos: Actor) -> Any:
    """The runs that were asked for these inputs, by this server: nobody else sets a run's key."""
    rows = ToolExecution.objects.select_related("tool", "team")
    return rows.filter(team_id=lemnos.team_id, run_key=f"{KEY}{inputs}", user=lemnos.user)


def _put_off(check: WantedCheck, refusal: DomainError, tries: int) -> None:
    """Write down why, and try again where time may help."""
    levels = {name: refusal.data[name] for name in ("needed", "offered") if name in refusal.data}
    message = " ".join(part for part in (refusal.detail, refusal.remedy_text) if part)
    phases.note_check(check=check, code=refusal.code, message=message, **levels)
    if not refusal.permanent or levels:
        _again(check.ticket_id, tries)


def _again(ticket_id: UUID, tries: int) -> None:
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(tries, 10))
    defer(
        "orchestrator.try_checks_again",
        queue="system",
        queueing_lock=f"orchestrator.checks:{ticket_id}",
        schedule_in=wait,
        ticket_id=str(ticket_id),
        tries=tries + 1,
    )


@transaction.atomic
def conclude_check(*, execution_id: UUID) -> bool:
    """A run for a gate ended: its evidence, or the next try. False: it was none for a gate."""
    execution = (
        ToolExecution.objects.select_related("tool", "team", "user").filter(pk=execution_id).first()
    )
    if execution is None or not execution.run_key.startswith(KEY) or not execution.has_ended:
        return False
    check = execution.context["check"]
    ticket_id = UUID(execution.context["ticket_id"])
    if not Ticket.objects.filter(pk=ticket_id, team_id=execution.team_id).exists():
        return False
    if not proves_something(execution):
        for wanted in phases.wanted_checks(ticket_id=ticket_id, among=[check["inputs"]]):
            message = f"{execution.error_message or 'Its run was called off.'} It is tried again."
            phases.note_check(
                check=wanted, code=execution.result_class or execution.status, message=message
            )
            _again(ticket_id, check.get("tries", 0))
        return True
    content = content_of(execution, check)
    ended = execution.completed_at
    phases.record_evidence(
        actor=service_actor(execution.team),
        ticket_id=ticket_id,
        phase_id=UUID(check["phase_id"]),
        visit=check["visit"],
        artifact_type=check["kind"],
        path=check["key"],
        content=content,
        observation={
            "execution_id": str(execution.pk),
            "exit_code": content.get("exit_code", execution.exit_code),
            "isolation": execution.isolation_level,
            "ran_the_source": tools.runs_its_input(tool=execution.tool),
            "observed_at": ended.isoformat() if ended else None,
        },
    )
    return True
