"""Searching, and the honest answer when the model is down."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from guardian import metrics
from guardian.authority import Actor
from memory.embeddings import provider
from memory.errors import EmbeddingUnavailable, EmptyText
from memory.search import Hit, Wanted, find

THRESHOLDS = {"hybrid": 0.3, "semantic": 0.7, "keyword": 0.0}
TOP_K, MAX_TOP_K = 5, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAnswer:
    """Hits, best first, and how they came about. Warnings are codes."""

    results: list[Hit]
    mode: str
    model: str
    plan: str
    coverage: float | None
    warnings: list[str]


def search(
    *,
    actor: Actor,
    query: str,
    mode: str = "hybrid",
    top_k: int = TOP_K,
    threshold: float | None = None,
    filters: Mapping[str, Any] | None = None,
    min_trust: float = 0.5,
    deep: bool = False,
) -> SearchAnswer:
    """What this actor may read and the query means or names. Changes no counter.

    Call it outside a transaction: it embeds the query first. With the model down the answer comes
    by words, with warning `embedding_unavailable`; mode semantic then raises.
    Raises EmptyText, EmbeddingUnavailable.
    """
    wanted = Wanted(
        team_id=actor.team_id, reader_id=actor.id, min_trust=min_trust, **(filters or {})
    )
    return search_within(
        wanted=wanted, query=query, mode=mode, top_k=top_k, threshold=threshold, deep=deep
    )


def search_within(
    *,
    wanted: Wanted,
    query: str,
    mode: str = "hybrid",
    top_k: int = TOP_K,
    threshold: float | None = None,
    deep: bool = False,
) -> SearchAnswer:
    """The search of `search` over rows somebody has already narrowed to what may be read."""
    query = query.strip()
    if not query:
        raise EmptyText(path="query", reason="must not be empty")
    with metrics.MEMORY_SEARCH_SECONDS.timed(mode=mode):
        return _answer(wanted, query, mode, top_k, threshold, deep=deep)


def _answer(
    wanted: Wanted, query: str, mode: str, top_k: int, threshold: float | None, *, deep: bool
) -> SearchAnswer:
    vector, model, warnings = None, "", []
    if mode != "keyword":
        try:
            embedder = provider()
            model = embedder.model
            vector = embedder.embed([query])[0]
        except EmbeddingUnavailable:
            if mode == "semantic":
                raise
            warnings.append("embedding_unavailable")
    found = find(
        wanted=wanted,
        query=query,
        mode=mode if vector is not None else "keyword",
        vector=vector,
        model=model,
        top_k=min(top_k, MAX_TOP_K),
        threshold=THRESHOLDS[mode] if threshold is None else threshold,
        deep=deep,
    )
    if found.coverage is not None and found.coverage < 1:
        warnings.append("embedding_partial")
    return SearchAnswer(
        results=found.hits,
        mode=mode if vector is not None else "keyword",
        model=model,
        plan=found.plan,
        coverage=found.coverage,
        warnings=warnings,
    )


def team_memories_of_tasks(
    *, team_id: UUID, success: bool, apart_from: Iterable[UUID] = ()
) -> Wanted:
    """Task memories every member may read, with the outcome asked for, without those of some."""
    return Wanted(
        team_id=team_id,
        reader_id=None,
        kind=["task"],
        success=success,
        apart_from_tasks=list(apart_from),
    )
