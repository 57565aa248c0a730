"""Judging memories: approve what was quarantined, revoke what turned out wrong."""

from uuid import UUID

from django.db import transaction
from django_fsm import can_proceed

from guardian.authority import Actor, require_level
from guardian.outbox import emit
from memory import events
from memory.errors import IllegalRecordState, RecordNotFound
from memory.models import MemoryRecord, MemoryUse


@transaction.atomic
def approve_record(*, actor: Actor, record_id: UUID, reason: str) -> MemoryRecord:
    """A person vouches for a quarantined memory; searches find it from now on.

    Raises RecordNotFound, AuthorityTooLow, Forbidden, IllegalRecordState.
    """
    require_level(actor, 3, human=True)
    record = _locked(actor, record_id)
    if not can_proceed(record.approve):
        raise IllegalRecordState(state=record.state)
    record.approve()
    record.save(update_fields=["state", "trust", "updated_at"])
    emit(events.RECORD_APPROVED, subject=record, actor=actor, reason=reason, trust=record.trust)
    return record


@transaction.atomic
def revoke_record(*, actor: Actor, record_id: UUID, reason: str) -> MemoryRecord:
    """Take a memory out of every search for good; others' memories need authority 3.

    Raises RecordNotFound, AuthorityTooLow, IllegalRecordState.
    """
    record = _locked(actor, record_id)
    if record.owner_id != actor.id:
        require_level(actor, 3)
    if not can_proceed(record.revoke):
        raise IllegalRecordState(state=record.state)
    record.revoke()
    record.save(update_fields=["state", "updated_at"])
    runs = MemoryUse.objects.filter(record=record).values_list("run_id", flat=True)
    emit(
        events.RECORD_REVOKED,
        subject=record,
        actor=actor,
        reason=reason,
        runs=[str(run_id) for run_id in runs[:1000]],
    )
    return record


def _locked(actor: Actor, record_id: UUID) -> MemoryRecord:
    readable = MemoryRecord.objects.for_team(actor.team_id).readable_by(actor.id)
    record: MemoryRecord | None = readable.select_for_update().filter(pk=record_id).first()
    if record is None:
        raise RecordNotFound
    return record
