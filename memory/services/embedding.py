"""Giving records their vectors: read, compute outside of any transaction, write."""

from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef

from memory.embeddings import Part, Provider, Vectors, parts_of, provider, sha256_of
from memory.models import MemoryEmbedding, MemoryRecord

BATCH = 64


class Todo(NamedTuple):
    """One part of one record, and the hash by which its vector may be known already."""

    record: MemoryRecord
    part: Part
    sha256: str


class Status(NamedTuple):
    """Whether memory can find by meaning, and how much of it; coverage from 0 to 1."""

    model: str
    dimension: int
    healthy: bool
    reason: str
    records: int
    pending: int
    coverage: float | None


def embed_record(*, record_id: UUID) -> int:
    """Embed this record and, with it, others that wait; how many became ready.

    Raises EmbeddingUnavailable, and then nothing is written.
    """
    first = MemoryRecord.objects.waiting_for_embedding().filter(pk=record_id).first()
    if first is None:  # an earlier job took it along
        return 0
    others = MemoryRecord.objects.waiting_for_embedding().exclude(pk=record_id)[: BATCH - 1]
    return _embed([first, *others])


def sweep_unembedded(*, limit: int = 1024) -> int:
    """Embed what waits, oldest first; how many became ready. Raises EmbeddingUnavailable."""
    ready = 0
    while ready < limit:
        records = list(MemoryRecord.objects.waiting_for_embedding()[:BATCH])
        if not records:
            break
        ready += _embed(records)
    return ready


def status(*, team_id: UUID) -> Status:
    """The configured model, its health, and how many active records it can find by meaning."""
    embedder = provider()
    health = embedder.health()
    known = MemoryEmbedding.objects.filter(record=OuterRef("pk"), model=embedder.model)
    rows = MemoryRecord.objects.for_team(team_id)
    active = rows.filter(state="active")
    records = active.count()
    return Status(
        model=embedder.model,
        dimension=embedder.dimension,
        healthy=health.ok,
        reason=health.reason,
        records=records,
        pending=rows.filter(embedding_state="pending").count(),
        coverage=active.filter(Exists(known)).count() / records if records else None,
    )


def _embed(records: list[MemoryRecord]) -> int:
    model = provider()
    todo = [
        Todo(record, part, sha256_of(part.text))
        for record in records
        for part in parts_of(record.document)
    ]
    vectors = _known_vectors(todo, model)
    unknown = list(
        {t.sha256: t.part.text for t in todo if (t.record.team_id, t.sha256) not in vectors}.items()
    )
    computed: dict[str, Vectors] = {}
    for start in range(0, len(unknown), BATCH):
        batch = unknown[start : start + BATCH]
        rows = model.embed([text for _, text in batch])
        computed |= {key: row for (key, _), row in zip(batch, rows, strict=True)}
    rows_to_write = [
        MemoryEmbedding(
            team_id=t.record.team_id,
            record=t.record,
            part_no=t.part.number,
            start=t.part.start,
            length=len(t.part.text),
            text_sha256=t.sha256,
            model=model.model,
            dimension=model.dimension,
            v384=vectors.get((t.record.team_id, t.sha256)) or computed[t.sha256],
        )
        for t in todo
    ]
    return _write(rows_to_write, [record.pk for record in records])


def _known_vectors(todo: list[Todo], model: Provider) -> dict[tuple[UUID, str], list[float]]:
    """Vectors of equal parts that the same team has already: never asked of the model twice."""
    rows = MemoryEmbedding.objects.filter(
        team_id__in={t.record.team_id for t in todo},
        text_sha256__in={t.sha256 for t in todo},
        model=model.model,
    ).values_list("team_id", "text_sha256", "v384")
    return {(team_id, sha256): vector for team_id, sha256, vector in rows}


@transaction.atomic
def _write(rows: list[MemoryEmbedding], record_ids: list[UUID]) -> int:
    # Two jobs may have computed the same part: the first row stays.
    MemoryEmbedding.objects.bulk_create(rows, ignore_conflicts=True)
    return (
        MemoryRecord.objects.waiting_for_embedding()
        .filter(pk__in=record_ids)
        .order_by()
        .update(embedding_state=MemoryRecord.EmbeddingState.READY)
    )
