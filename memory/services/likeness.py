"""How alike texts are by their meaning."""

from collections.abc import Sequence

import numpy as np

from memory.embeddings import Vectors, parts_of, provider


def likeness(*, texts: Sequence[str], others: Sequence[str]) -> list[list[float]]:
    """Cosine of each text with each other, one row per text; a long text is the mean of its parts.

    Calls the model, so never inside a transaction. Raises EmbeddingUnavailable.
    """
    if not texts or not others:
        return [[] for _ in texts]
    vectors = _vectors([*texts, *others])
    rows: list[list[float]] = (vectors[: len(texts)] @ vectors[len(texts) :].T).tolist()
    return rows


def _vectors(texts: Sequence[str]) -> Vectors:
    """(n, dimension), rows of norm 1, or 0 where a text says nothing."""
    parts = [[part.text for part in parts_of(text)] for text in texts]
    flat = provider().embed([part for each in parts for part in each])
    starts = np.cumsum([0, *(len(each) for each in parts[:-1])])
    sums = np.add.reduceat(flat, starts, axis=0)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    unit: Vectors = (sums / np.where(norms == 0, 1, norms)).astype(np.float32)
    return unit
