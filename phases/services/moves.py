"""The phase service: the one way a ticket changes its phase."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from guardian.authority import Actor
from guardian.errors import Invalid, NotFound
from guardian.outbox import emit
from phases import events
from phases.errors import (
    GateInputsChanged,
    WipExceeded,
)
from phases.models import (
    BoardColumn,
    Phase,
    PhaseGateArtifact,
    PhaseGateResult,
    PhaseHistory,
    Ticket,
)
from phases.part import require_part
from phases.services.contexts import remember_phase
from phases.services.gate import validate_gate
from phases.services.move_checks import (
    check_gate,
    check_no_open_tasks,
    check_still,
    kind_of_move,
)
from phases.services.places import put_at
from phases.services.powers import check_powers, check_wish, require_approval
from phases.services.tasks import follow_move
from phases.services.wip import judge_wip

# How often the gate is asked anew when its inputs change between the answer and the lock.
# Of the evidence in the phase that is left, in its history.
NAMED_ARTIFACTS = 200
GATE_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Moved:
    """The ticket after its move, and where it came from."""

    ticket: Ticket
    from_phase: Phase


def transition(
    *,
    actor: Actor,
    ticket_id: UUID,
    to_phase: str,
    reason: str = "",
    via: str = PhaseHistory.Via.API,
    version: int | None = None,
    override: bool = False,
    force: bool = False,
    queue: bool = False,
    visit: int | None = None,
    task_id: UUID | None = None,
    position: int | None = None,
) -> Moved:
    """Move a ticket to another phase: the gate is asked first, then the column's limit.

    `override` skips the gate, `force` the limit: both need a person, level 4 and a reason.
    `visit` is the one the decision was made in; `task_id` a task that a return puts up again;
    `position` its place in the column it comes to, 0 the top, by default the last.
    Raises NotFound, NotYours, StaleVersion, IllegalTransition, ApprovalRequired, GateNotPassed,
    WipExceeded, OpenTasks, AuthorityTooLow, Invalid.
    """
    ticket = Ticket.objects.select_related("phase").filter(pk=ticket_id, team=actor.team).first()
    if ticket is None:
        raise NotFound("There is no such ticket.")
    require_part(actor=actor, ticket=ticket)
    target = Phase.objects.filter(workflow_id=ticket.workflow_id, key=to_phase).first()
    if target is None:
        raise Invalid(path="to_phase", reason=f"{to_phase!r} is no phase of this workflow")
    check_powers(actor, reason, override=override, force=force)
    kind = kind_of_move(ticket.phase, target)
    check_wish(actor, ticket, kind, reason, queue=queue)
    options = {
        "reason": reason,
        "via": via,
        "version": version,
        "override": override,
        "force": force,
        "queue": queue,
        "visit": visit,
        "task_id": task_id,
        "position": position,
    }
    asks_gate = kind == PhaseHistory.Kind.FORWARD and target.key in ticket.phase.allowed_transitions
    for attempt in range(1, GATE_ATTEMPTS + 1):
        gate = validate_gate(actor=actor, ticket_id=ticket_id)[0] if asks_gate else None
        try:
            return _move(
                actor=actor,
                ticket_id=ticket_id,
                seen=ticket,
                target=target,
                gate=gate,
                options=options,
            )
        except GateInputsChanged:
            if attempt == GATE_ATTEMPTS:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


@transaction.atomic
def _move(
    *,
    actor: Actor,
    ticket_id: UUID,
    seen: Ticket,
    target: Phase,
    gate: PhaseGateResult | None,
    options: dict[str, Any],
) -> Moved:
    ids = sorted({seen.column_id, target.column_id})
    columns = {
        c.pk: c
        for c in BoardColumn.objects.select_for_update(no_key=True)
        .filter(pk__in=ids)
        .order_by("id")
    }
    ticket = (
        Ticket.objects.select_for_update(of=("self",), no_key=True)
        .select_related("phase", "column", "previous_phase")
        .get(pk=ticket_id)
    )
    source = ticket.phase
    check_still(ticket, seen, target, options)
    kind = kind_of_move(source, target)
    if kind == PhaseHistory.Kind.FORWARD:
        require_approval(ticket)
        if not options["override"]:
            check_gate(gate, ticket)
    column = columns[target.column_id]
    stays = target.column_id == ticket.column_id and ticket.admitted_at is not None
    # What is not approved takes no place, so it finds one everywhere.
    full = column.is_full and not stays and ticket.is_approved
    if full and not options["force"] and not options["queue"]:
        raise WipExceeded(
            f"{column.name} is full ({column.admitted_count} of {column.wip_limit}).",
            column=column.key,
            limit=column.wip_limit,
            admitted=column.admitted_count,
        )
    if target.kind == Phase.Kind.DONE:
        check_no_open_tasks(ticket)
    old_column = columns[ticket.column_id]
    write_move(
        actor=actor,
        ticket=ticket,
        target=target,
        column=column,
        kind=kind,
        gate=gate,
        options=options,
        queued=full and not options["force"],
    )
    follow_move(
        actor=actor,
        ticket=ticket,
        entered=target,
        returns=kind == PhaseHistory.Kind.UNBLOCK,
        retried=options["task_id"],
    )
    if column.wip_limit is not None or old_column.wip_limit is not None:
        judge_wip(column_ids=ids)
    if old_column.pk != column.pk and old_column.wip_limit is not None:
        emit(events.BOARD_SLOT_FREED, subject=old_column, column=old_column.key)
    return Moved(ticket, source)


def write_move(
    *,
    actor: Actor,
    ticket: Ticket,
    target: Phase,
    column: BoardColumn,
    kind: str,
    gate: PhaseGateResult | None,
    options: dict[str, Any],
    queued: bool,
) -> None:
    source, now = ticket.phase, timezone.now()
    evidence = PhaseGateArtifact.objects.filter(ticket=ticket, phase=source, visit=ticket.visit)
    left = evidence.order_by("-id").values("id", "artifact_type", "sha256")[:NAMED_ARTIFACTS]
    artifacts = [{**row, "id": str(row["id"])} for row in left]
    same_phase_again = kind == PhaseHistory.Kind.UNBLOCK and ticket.previous_phase_id == target.pk
    remember_phase(ticket, source)
    ticket.previous_phase = source
    ticket.phase, ticket.column = target, column
    ticket.phase_entered_at, ticket.rank = now, now.timestamp()
    if options.get("position") is not None and target.kind != Phase.Kind.DONE:
        put_at(actor=actor, ticket=ticket, position=options["position"])
    if kind != PhaseHistory.Kind.BLOCK and not same_phase_again:
        ticket.visit += 1
    ticket.admitted_at = now if ticket.is_approved and not queued else None
    ticket.is_blocked = kind == PhaseHistory.Kind.BLOCK
    ticket.blocked_reason = options["reason"][:4000] if ticket.is_blocked else ""
    ticket.auto_wait = None
    ticket.version += 1
    if ticket.status == Ticket.Status.PENDING and kind != PhaseHistory.Kind.BLOCK:
        ticket.start()
    if target.kind == Phase.Kind.DONE:
        # The database allows no step twice at once, so `started` is saved before `completed`.
        ticket.save()
        ticket.complete()
    ticket.save()
    overrides = [
        name for name, used in (("gate", options["override"]), ("wip", options["force"])) if used
    ]
    PhaseHistory.objects.create(
        team=ticket.team,
        ticket=ticket,
        from_phase=source,
        to_phase=target,
        kind=kind,
        via=options["via"],
        overrides=overrides,
        transition_reason=options["reason"],
        transitioned_by=actor.user,
        gate_result=gate,
        artifacts=artifacts,
        ticket_version=ticket.version,
    )
    emit(
        events.TICKET_PHASE_CHANGED,
        subject=ticket,
        actor=actor,
        reason=options["reason"],
        from_phase=source.key,
        to_phase=target.key,
        move=kind,
        via=options["via"],
        queued=queued,
    )
    if target.kind == Phase.Kind.DONE:
        emit(events.TICKET_COMPLETED, subject=ticket, actor=actor, number=ticket.number)
