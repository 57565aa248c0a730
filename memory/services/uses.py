"""Recording which run was shown which memory."""

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from guardian.outbox import emit
from memory import events
from memory.models import MemoryRecord, MemoryUse


@transaction.atomic
def record_uses(
    *, team_id: UUID, run_id: UUID, task_id: UUID, record_ids: Sequence[UUID]
) -> list[MemoryUse]:
    """Note that these memories, best first, were put before a run; each counts once per run.

    Ids of other teams are ignored. Returns the uses that are new.
    """
    # Locked in id order: two runs that are shown the same memories wait, and never deadlock.
    records = MemoryRecord.objects.for_team(team_id).filter(pk__in=record_ids)
    known = {record.pk for record in records.select_for_update().order_by("id")}
    noted = set(MemoryUse.objects.filter(run_id=run_id).values_list("record_id", flat=True))
    now = timezone.now()
    uses = [
        MemoryUse(
            team_id=team_id,
            record_id=record_id,
            run_id=run_id,
            task_id=task_id,
            rank=rank,
            used_at=now,
        )
        for rank, record_id in enumerate(dict.fromkeys(record_ids), start=1)
        if record_id in known - noted
    ]
    if not uses:
        return []
    MemoryUse.objects.bulk_create(uses)
    new = [use.record_id for use in uses]
    MemoryRecord.objects.filter(pk__in=new).update(
        reuse_count=F("reuse_count") + 1, last_used_at=now
    )
    emit(
        events.CONTEXT_INJECTED,
        team_id=team_id,
        record_ids=[str(record_id) for record_id in new],
        run_id=str(run_id),
        task_id=str(task_id),
    )
    return uses


@transaction.atomic
def cite_uses(*, team_id: UUID, run_id: UUID, record_ids: Sequence[UUID]) -> int:
    """Mark what a run says it really used; how many of its uses that were."""
    return (
        MemoryUse.objects.for_team(team_id)
        .filter(run_id=run_id, record_id__in=record_ids)
        .update(cited=True)
    )
