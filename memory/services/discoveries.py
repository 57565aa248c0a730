"""Remembering what somebody came upon at work."""

from uuid import UUID

from django.db import connection, transaction

from guardian.redaction import redact_text
from memory import scribe
from memory.models import MemoryRecord
from memory.services.store import TRUST_AGENT_IN_RUN, TRUST_HUMAN, insert_once


@transaction.atomic
def remember_discovery(
    *,
    team_id: UUID,
    owner_id: UUID,
    discovery_id: UUID,
    discovery_type: str,
    title: str,
    text: str,
    by_person: bool,
    ticket_id: UUID,
    task_id: UUID,
    phase_id: UUID,
) -> MemoryRecord:
    """Remember what somebody came upon at work: exactly once, also when told twice."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtext('memory discovery'), hashtext(%s))",
            [str(discovery_id)],
        )
    told = MemoryRecord.objects.for_team(team_id).filter(
        kind=MemoryRecord.Kind.DISCOVERY,
        ticket_id=ticket_id,
        metadata__discovery_id=str(discovery_id),
    )
    found: MemoryRecord | None = told.first()
    if found is not None:
        return found  # also one that was revoked since
    text = redact_text(text).strip()
    record = MemoryRecord(
        team_id=team_id,
        owner_id=owner_id,
        kind=MemoryRecord.Kind.DISCOVERY,
        memory_type=MemoryRecord.MemoryType.SEMANTIC,
        title=scribe.title_of(title),
        text=text,
        summary=scribe.summary_of(text),
        tags=[discovery_type],
        metadata={"discovery_id": str(discovery_id)},
        content_hash=scribe.content_hash(text),
        trust=TRUST_HUMAN if by_person else TRUST_AGENT_IN_RUN,
        ticket_id=ticket_id,
        task_id=task_id,
        phase_id=phase_id,
    )
    same = MemoryRecord.objects.live().filter(
        team=team_id, owner=owner_id, content_hash=record.content_hash
    )
    kept, _ = insert_once(
        record, existing=same.exclude(kind="task"), constraint="record_text_is_one"
    )
    return kept
