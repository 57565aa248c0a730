"""Putting something into memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from guardian.authority import Actor
from guardian.outbox import defer, emit
from guardian.redaction import redact, redact_text
from memory import events, scribe
from memory.embeddings import is_truncated
from memory.errors import EmptyText
from memory.models import MemoryRecord

TRUST_HUMAN, TRUST_SERVICE, TRUST_EVIDENCED = 1.0, 0.8, 0.8
TRUST_AGENT_IN_RUN, TRUST_AGENT = 0.6, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The record a text is kept in, and whether it was there before. Warnings are codes."""

    record: MemoryRecord
    duplicate: bool

    @property
    def id(self) -> UUID:
        return self.record.pk

    @property
    def state(self) -> str:
        return str(self.record.state)

    @property
    def trust(self) -> float:
        return self.record.trust

    @property
    def embedding_state(self) -> str:
        return self.record.embedding_state

    @property
    def warnings(self) -> list[str]:
        return ["truncated"] if is_truncated(self.record.document) else []


@transaction.atomic
def store(
    *,
    actor: Actor,
    text: str,
    title: str = "",
    kind: str = MemoryRecord.Kind.NOTE,
    memory_type: str = MemoryRecord.MemoryType.LONG_TERM,
    tags: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
    visibility: str = MemoryRecord.Visibility.TEAM,
    ticket_id: UUID | None = None,
    task_id: UUID | None = None,
    run_id: UUID | None = None,
    phase_id: UUID | None = None,
    evidence: Sequence[Mapping[str, Any]] = (),
) -> Stored:
    """Remember a text; the same text of the same owner is kept once.

    Its vector follows by a job: no model is called inside a transaction.
    Raises EmptyText.
    """
    text = redact_text(text).strip()
    if not text:
        raise EmptyText(path="text", reason="must not be empty")
    record = MemoryRecord(
        team=actor.team,
        owner=actor.user,
        kind=kind,
        memory_type=memory_type,
        title=scribe.title_of(title or text),
        text=text,
        summary=scribe.summary_of(text),
        tags=list(dict.fromkeys(tags)),
        metadata=redact(dict(metadata or {})),
        content_hash=scribe.content_hash(text),
        visibility=visibility,
        trust=_trust_of(actor, in_run=run_id is not None),
        ticket_id=ticket_id,
        task_id=task_id,
        run_id=run_id,
        phase_id=phase_id,
        evidence=[dict(item) for item in evidence],
    )
    same = MemoryRecord.objects.live().filter(
        team=actor.team, owner=actor.user, content_hash=record.content_hash
    )
    kept, duplicate = insert_once(
        record, existing=same.exclude(kind="task"), constraint="record_text_is_one", actor=actor
    )
    return Stored(record=kept, duplicate=duplicate)


@transaction.atomic
def store_task_outcome(
    *,
    actor: Actor,
    task_id: UUID,
    execution_summary: str,
    success: bool,
    error_patterns: Sequence[Mapping[str, Any]] = (),
    task_type: str = "",
) -> Stored:
    """Remember how a task ended by its doer's word alone, so with the trust of an agent's note.

    Raises EmptyText.
    """
    text = execution_summary.strip()
    if not text:
        raise EmptyText(path="execution_summary", reason="must not be empty")
    record = _task_record(
        team_id=actor.team_id,
        owner_id=actor.id,
        task_id=task_id,
        run_id=None,
        task_type=task_type,
        title=text,
        summary=text,
        success=success,
        error_patterns=error_patterns,
        trust=_trust_of(actor, in_run=False),
    )
    kept, duplicate = _insert_task_once(record, actor=actor)
    return Stored(record=kept, duplicate=duplicate)


@transaction.atomic
def remember_task(
    *,
    team_id: UUID,
    owner_id: UUID,
    task_id: UUID,
    run_id: UUID | None,
    ticket_id: UUID | None,
    phase_id: UUID | None,
    task_type: str,
    title: str,
    summary: str,
    success: bool,
    error_patterns: Sequence[Mapping[str, Any]] = (),
    evidence: Sequence[Mapping[str, Any]] = (),
) -> MemoryRecord:
    """Remember how one run on one task ended: exactly once, also when told twice.

    Evidence is what the caller has verified: a list of {label, id, sha256}.
    """
    record = _task_record(
        team_id=team_id,
        owner_id=owner_id,
        task_id=task_id,
        run_id=run_id,
        ticket_id=ticket_id,
        phase_id=phase_id,
        task_type=task_type,
        title=title,
        summary=summary,
        success=success,
        error_patterns=error_patterns,
        evidence=evidence,
        trust=_trust_of_capture(evidenced=bool(evidence), in_run=run_id is not None),
    )
    kept, _ = _insert_task_once(record)
    return kept


def _task_record(
    *,
    task_type: str,
    title: str,
    summary: str,
    success: bool,
    error_patterns: Sequence[Mapping[str, Any]],
    evidence: Sequence[Mapping[str, Any]] = (),
    **fields: Any,
) -> MemoryRecord:
    """The unsaved record of a task's end; a silent task is remembered by title and outcome."""
    text = scribe.shortened(redact_text(summary).strip(), scribe.TASK_TEXT_CHARACTERS)
    outcome = "succeeded" if success else "failed"
    title = scribe.title_of(title) or scribe.title_of(task_type) or f"Task {fields['task_id']}"
    return MemoryRecord(
        kind=MemoryRecord.Kind.TASK,
        memory_type=MemoryRecord.MemoryType.EPISODIC,
        title=title,
        text=text or f"{title}: {outcome}, without a summary.",
        summary=scribe.summary_of(text) or f"{outcome.capitalize()}, without a summary.",
        content_hash=scribe.content_hash(text or title),
        task_type=task_type[:100],
        success=success,
        error_patterns=scribe.error_patterns_of(error_patterns),
        evidence=[dict(item) for item in evidence],
        **fields,
    )


def _insert_task_once(
    record: MemoryRecord, *, actor: Actor | None = None
) -> tuple[MemoryRecord, bool]:
    told = MemoryRecord.objects.for_team(record.team_id).filter(
        kind="task", task_id=record.task_id, run_id=record.run_id
    )
    return insert_once(record, existing=told, constraint="record_of_a_task_is_one", actor=actor)


def insert_once(
    record: MemoryRecord, *, existing: Any, constraint: str, actor: Actor | None = None
) -> tuple[MemoryRecord, bool]:
    """The new row, or the one that came first. The constraint decides between two at once."""
    found: MemoryRecord | None = existing.first()
    if found is not None:
        return found, True
    try:
        with transaction.atomic():
            record.save(force_insert=True)
    except IntegrityError as error:
        if constraint not in str(error):
            raise
        found = existing.get()
        return found, True
    emit(
        events.RECORD_STORED,
        subject=record,
        actor=actor,
        record_kind=record.kind,
        task_id=record.task_id,
        run_id=record.run_id,
        trust=record.trust,
    )
    defer("memory.embed_records", queue="memory", record_id=str(record.pk))
    return record, False


def _trust_of(actor: Actor, *, in_run: bool) -> float:
    if actor.is_human:
        return TRUST_HUMAN
    if actor.kind == "service":
        return TRUST_SERVICE
    return TRUST_AGENT_IN_RUN if in_run else TRUST_AGENT


def _trust_of_capture(*, evidenced: bool, in_run: bool) -> float:
    if evidenced:
        return TRUST_EVIDENCED
    return TRUST_AGENT_IN_RUN if in_run else TRUST_AGENT
