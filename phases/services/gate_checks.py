"""What a gate asks of others: runs of ours in the sandbox, answers of people to its questions."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from guardian.authority import Actor, service_actor
from guardian.outbox import emit
from phases import events
from phases.clock import database_now
from phases.gate_asks import requirements_of
from phases.gate_facts import source_of
from phases.gates import Evaluation, evaluate
from phases.models import Phase, PhaseGateResult, Ticket
from phases.services.evidence import store, tell


@dataclass(frozen=True, slots=True)
class WantedCheck:
    """A run that a gate waits for. `inputs` says what it is about, `source` what is opened.

    `no_source` says why that is nothing although the ticket names something.
    """

    ticket_id: UUID
    phase_id: UUID
    visit: int
    key: str
    kind: str
    parameters: dict[str, Any]
    inputs: str
    source: Any
    no_source: str = ""


def wanted_checks(*, ticket_id: UUID, among: Iterable[str] | None = None) -> list[WantedCheck]:
    """The runs that a ticket's gate waits for now, of those with the inputs `among`.

    What was asked for before the newest change is not among them: nobody needs its answer.
    """
    ticket = Ticket.objects.select_related("phase", "workflow").filter(pk=ticket_id).first()
    if ticket is None or not _asks(ticket, ticket.phase):
        return []
    outcome = evaluate(ticket)
    wanted = {c.key: c.check["inputs"] for c in outcome.criteria if c.check and c.waits_for}
    asked = None if among is None else set(among)
    source, no_source = source_of(ticket)
    return [
        WantedCheck(
            ticket_id=ticket.pk,
            phase_id=ticket.phase_id,
            visit=ticket.visit,
            key=row.key,
            kind=str(row.kind),
            parameters=row.parameters,
            inputs=wanted[row.key],
            source=source,
            no_source=no_source,
        )
        for row in requirements_of(ticket.phase)
        if row.key in wanted and (asked is None or wanted[row.key] in asked)
    ]


def _asks(ticket: Ticket, phase: Phase) -> bool:
    """A gate asks others only of the phase that its ticket is in and works on."""
    return ticket.is_open and ticket.phase_id == phase.pk and ticket.is_approved


@dataclass(frozen=True, slots=True)
class Requested:
    """Inputs of the checks that were asked for now, and of those left to whoever else asks now."""

    new: list[str]
    left: list[str]


def request_checks(*, actor: Actor, ticket: Ticket, phase: Phase, outcome: Evaluation) -> Requested:
    """Ask for the runs that lack, each once per visit and inputs.

    Who returns from Blocked wants what could not be tried before to be tried again. Whoever else
    asks at the same moment may be about other inputs: what was left to them is looked at again.
    """
    if outcome.evaluation not in {"waiting_checks", "ready"} or not _asks(ticket, phase):
        return Requested([], [])
    wanted = {c.check["inputs"]: c.key for c in outcome.criteria if c.check and c.waits_for}
    if not wanted:
        return Requested([], [])
    if not _alone(ticket):
        return Requested([], list(wanted))
    rows = PhaseGateResult.objects.filter(ticket=ticket, phase=phase, visit=ticket.visit)
    before = rows.filter(
        validation_result__has_key="checks_requested",
        validation_result__entered_at=entered_at(ticket),
    )
    known = {
        inputs
        for said in before.values_list("validation_result__checks_requested", flat=True)
        for inputs in said
    }
    new = [inputs for inputs in wanted if inputs not in known]
    if new:
        emit(
            events.GATE_CHECK_REQUESTED,
            subject=ticket,
            actor=actor,
            ticket_id=str(ticket.pk),
            phase=phase.key,
            visit=ticket.visit,
            checks=[{"key": wanted[inputs], "inputs": inputs} for inputs in new],
        )
    return Requested(new, [])


def entered_at(ticket: Ticket) -> str:
    """Names the ticket's present stay in its phase; back from Blocked is another one."""
    return ticket.phase_entered_at.isoformat()


def _alone(ticket: Ticket) -> bool:
    """Whether nobody else asks for this ticket's checks right now, not told to us yet."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 41))", [str(ticket.pk)]
        )
        return bool(cursor.fetchone()[0])


def ask_questions(*, ticket: Ticket, phase: Phase, outcome: Evaluation) -> int:
    """Put up each open question of a gate as evidence that a person confirms. Returns how many."""
    if outcome.evaluation not in {"waiting_checks", "ready"} or not _asks(ticket, phase):
        return 0
    lemnos = service_actor(ticket.team)
    asked = [
        c
        for c in outcome.criteria
        if c.waits_for == "answer" and (c.artifact_id is None or c.stale)
    ]
    for criterion in asked:
        question, _ = store(
            ticket=ticket,
            collector=lemnos.user,
            kind=criterion.kind,
            path=criterion.key,
            # The time makes it another question than the one that was answered before.
            content={"question": criterion.question, "asked_at": database_now().isoformat()},
            task=None,
        )
        tell(question, lemnos)
    return len(asked)


@transaction.atomic
def note_check(*, check: WantedCheck, code: str, message: str, **data: Any) -> bool:
    """Write down why a check could not be tried; it proves nothing. False: it was known, or is old.

    `data` may hold `needed` and `offered`, the isolation levels.
    """
    ticket = (
        Ticket.objects.select_for_update(of=("self",), no_key=True)
        .select_related("phase", "team")
        .get(pk=check.ticket_id)
    )
    if (ticket.phase_id, ticket.visit) != (check.phase_id, check.visit) or not ticket.is_open:
        return False
    lemnos = service_actor(ticket.team)
    note, new = store(
        ticket=ticket,
        collector=lemnos.user,
        kind=check.kind,
        path=check.key,
        content={
            "inputs": check.inputs,
            "refused": {"code": code, "message": message, **data},
        },
        task=None,
    )
    if not new and note.recorded_at < ticket.phase_entered_at:
        # Back from Blocked, and it still cannot be tried: that is news again.
        note.recorded_at = database_now()
        note.save(update_fields=["recorded_at", "updated_at"])
        new = True
    if new:
        tell(note, lemnos)
    return new
