"""Finding memories: nearest vectors and matching words, fused by rank in one statement.

Reciprocal rank fusion: Cormack, Clarke and Büttcher, SIGIR 2009, with k = 60.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy.typing as npt
from django.db import connection, transaction

from memory.embeddings import as_literal

CANDIDATES = 50
KEYWORD_CAP = 1000
FUSION_K = 60
SEMANTIC_WEIGHT, KEYWORD_WEIGHT = 0.6, 0.4
EXACT_ROWS = 5000
EF_SEARCH, EF_SEARCH_DEEP = 100, 200
MAX_SCAN_TUPLES = 20_000
MAX_LEXEMES = 16
EXCERPT_CHARACTERS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rows a search may return at all: team, reader and filters."""

    team_id: UUID
    reader_id: UUID | None  # None: only what the whole team may read
    min_trust: float = 0.5
    kind: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    success: bool | None = None
    task_type: str | None = None
    phase_id: UUID | None = None
    ticket_id: UUID | None = None
    owner_id: UUID | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    apart_from_tasks: list[UUID] = field(default_factory=list)

    def condition(self) -> tuple[str, dict[str, Any]]:
        """The filter `F` over alias r, from constant fragments, and its parameters."""
        fragments = [
            "r.team_id = %(team_id)s",
            "r.state = 'active'",
            "r.trust >= %(min_trust)s",
            "(r.visibility = 'team' OR r.owner_id = %(reader_id)s)",
        ]
        values: dict[str, Any] = {
            "team_id": self.team_id,
            "min_trust": self.min_trust,
            "reader_id": self.reader_id,
        }
        for name, fragment in _FRAGMENTS.items():
            value = getattr(self, name)
            if value is None or value == []:
                continue
            fragments.append(fragment)
            values[name] = value
        return " AND ".join(fragments), values


_FRAGMENTS = {
    "kind": "r.kind = ANY(%(kind)s)",
    "tags": "r.tags @> %(tags)s::varchar[]",
    "success": "r.success = %(success)s",
    "task_type": "r.task_type = %(task_type)s",
    "phase_id": "r.phase_id = %(phase_id)s",
    "ticket_id": "r.ticket_id = %(ticket_id)s",
    "owner_id": "r.owner_id = %(owner_id)s",
    "created_from": "r.created_at >= %(created_from)s",
    "created_to": "r.created_at < %(created_to)s",
    "apart_from_tasks": "(r.task_id IS NULL OR r.task_id <> ALL(%(apart_from_tasks)s))",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One memory found, with why it stands where it stands."""

    id: UUID
    title: str
    summary: str
    excerpt: str
    kind: str
    task_type: str
    success: bool | None
    trust: float
    state: str
    provenance: dict[str, Any]
    error_patterns: list[dict[str, str]]
    created_at: datetime
    score: float
    similarity: float | None
    keyword_rank: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Hits, best first, and how they were found."""

    hits: list[Hit]
    plan: str  # exact, hnsw, keyword
    coverage: float | None  # share of the filtered rows (of the first 5,001) with a vector


# Every part is a constant of this module; values travel as parameters only.
_EXACT = """
 dist AS MATERIALIZED (SELECT e.record_id AS id, e.v384 <=> %(q)s::halfvec(384) AS d
                         FROM (SELECT r.id FROM memory_memoryrecord r WHERE {f} OFFSET 0) c
                         JOIN memory_memoryembedding e ON e.record_id = c.id
                        WHERE e.model = %(model)s),
 near AS (SELECT id, d FROM dist ORDER BY d, id LIMIT %(candidates)s),"""
_HNSW = """
 near AS (SELECT e.record_id AS id, e.v384 <=> %(q)s::halfvec(384) AS d
            FROM memory_memoryembedding e JOIN memory_memoryrecord r ON r.id = e.record_id
           WHERE e.model = %(model)s AND {f}
           ORDER BY e.v384 <=> %(q)s::halfvec(384) LIMIT %(candidates)s),"""
_NO_VECTORS = """
 near AS (SELECT NULL::uuid AS id, NULL::float8 AS d WHERE false),"""
# Fewer strict matches than wanted: any of the words will do. A query that excludes words is
# taken at its word.
_WORDS = r"""
 words AS MATERIALIZED (
     SELECT CASE WHEN NOT %(widen)s OR (SELECT count(*) FROM (
                      SELECT 1 FROM memory_memoryrecord r
                       WHERE r.search @@ websearch_to_tsquery('english', %(query)s) AND {f}
                       LIMIT %(top_k)s) strict) >= %(top_k)s
            THEN websearch_to_tsquery('english', %(query)s)
            ELSE coalesce((
                SELECT string_agg('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''',
                                  ' | ')::tsquery
                   FROM (
                      SELECT lexeme FROM unnest(to_tsvector('english', %(query)s))
                       ORDER BY positions[1] LIMIT %(max_lexemes)s) chosen), ''::tsquery)
            END AS tsq),
 hit AS (SELECT m.id, ts_rank_cd(m.search, (SELECT tsq FROM words)) AS rank FROM (
             SELECT r.id, r.search FROM memory_memoryrecord r
              WHERE r.search @@ (SELECT tsq FROM words) AND {f}
              ORDER BY r.id DESC LIMIT %(keyword_cap)s) m),"""
_NO_WORDS = r"""
 hit AS (SELECT NULL::uuid AS id, NULL::float4 AS rank WHERE false),"""
_FUSED = """
 sem AS (SELECT id, 1 - min(d) AS similarity, row_number() OVER (ORDER BY min(d), id) AS rk
           FROM near GROUP BY id HAVING 1 - min(d) >= %(threshold)s),
 kw  AS (SELECT id, rank, row_number() OVER (ORDER BY rank DESC, id) AS rk
           FROM hit ORDER BY rank DESC, id LIMIT %(candidates)s),
 best AS (SELECT id, similarity, rank,
                 coalesce(%(semantic_weight)s::float8 / (%(k)s + sem.rk), 0)
                   + coalesce(%(keyword_weight)s::float8 / (%(k)s + kw.rk), 0) AS score
            FROM sem FULL JOIN kw USING (id) ORDER BY score DESC, id LIMIT %(top_k)s)
SELECT r.id, r.title, r.summary, left(r.text, %(excerpt)s), r.kind, r.task_type, r.success,
       r.trust, r.state, r.created_at, r.error_patterns, r.ticket_id, r.task_id, r.run_id,
       r.phase_id, r.evidence, best.score, best.similarity, best.rank
  FROM best JOIN memory_memoryrecord r USING (id) ORDER BY best.score DESC, r.id"""


def find(
    *,
    wanted: Wanted,
    query: str,
    mode: str,
    vector: npt.NDArray[Any] | None,
    model: str,
    top_k: int,
    threshold: float,
    deep: bool = False,
) -> Found:
    """At most three statements: size of the filtered set, planner settings, the search itself.

    `vector` is (384,) with norm 1, or None where the search is by words alone.
    """
    condition, values = wanted.condition()
    values |= {
        "query": query,
        "widen": not re.search(r'(^|\s)-["\w]', query),
        "model": model,
        "top_k": top_k,
        "threshold": threshold,
        "candidates": CANDIDATES,
        "keyword_cap": KEYWORD_CAP,
        "k": FUSION_K,
        "semantic_weight": SEMANTIC_WEIGHT,
        "keyword_weight": KEYWORD_WEIGHT,
        "max_lexemes": MAX_LEXEMES,
        "excerpt": EXCERPT_CHARACTERS,
    }
    words = _NO_WORDS if mode == "semantic" else _WORDS
    if vector is None:
        return Found(
            hits=_run(_NO_VECTORS + words, condition, values), plan="keyword", coverage=None
        )
    values["q"] = as_literal(vector)
    rows, coverage = _size(condition, values)
    if rows <= EXACT_ROWS:
        hits = _run(_EXACT + words, condition, values)
        return Found(hits=hits, plan="exact", coverage=coverage)
    with transaction.atomic():  # the settings end with it
        _tune(deep=deep)
        hits = _run(_HNSW + words, condition, values)
    return Found(hits=hits, plan="hnsw", coverage=coverage)


def _size(condition: str, values: dict[str, Any]) -> tuple[int, float | None]:
    """How many rows pass the filter, counted up to 5,001, and which share has a vector."""
    sql = """
        SELECT count(*), count(*) FILTER (WHERE known) FROM (
            SELECT EXISTS (SELECT 1 FROM memory_memoryembedding e
                            WHERE e.record_id = r.id AND e.model = %(model)s) AS known
              FROM memory_memoryrecord r WHERE {f} LIMIT %(limit)s) counted"""
    with connection.cursor() as cursor:
        cursor.execute(sql.replace("{f}", condition), {**values, "limit": EXACT_ROWS + 1})
        row: tuple[int, int] = cursor.fetchone()
    return row[0], row[1] / row[0] if row[0] else None


def _tune(*, deep: bool) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('hnsw.ef_search', %s, true),"
            " set_config('hnsw.iterative_scan', 'relaxed_order', true),"
            " set_config('hnsw.max_scan_tuples', %s, true)",
            [str(EF_SEARCH_DEEP if deep else EF_SEARCH), str(MAX_SCAN_TUPLES)],
        )


def _run(parts: str, condition: str, values: dict[str, Any]) -> list[Hit]:
    sql = "WITH" + (parts + _FUSED).replace("{f}", condition)
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return [_hit(row) for row in cursor.fetchall()]


def _hit(row: tuple[Any, ...]) -> Hit:
    # psycopg hands jsonb out as text here: Django decodes it in its own fields only.
    patterns, evidence = (json.loads(v) if isinstance(v, str) else v for v in (row[10], row[15]))
    return Hit(
        id=row[0],
        title=row[1],
        summary=row[2],
        excerpt=row[3],
        kind=row[4],
        task_type=row[5],
        success=row[6],
        trust=row[7],
        state=row[8],
        created_at=row[9],
        error_patterns=patterns,
        provenance={
            "ticket_id": row[11],
            "task_id": row[12],
            "run_id": row[13],
            "phase_id": row[14],
            "evidence": evidence,
        },
        score=row[16],
        similarity=row[17],
        keyword_rank=row[18],
    )
