"""How alike two tasks are by their meaning: phases asks, memory knows."""

from collections.abc import Sequence

from memory import services as memory
from memory.errors import EmbeddingUnavailable
from phases.likeness import LikenessUnknown, measure_likeness


@measure_likeness
def by_meaning(texts: Sequence[str], others: Sequence[str]) -> list[list[float]]:
    """Cosine of their vectors. Raises LikenessUnknown while there is no model."""
    try:
        return memory.likeness(texts=texts, others=others)
    except EmbeddingUnavailable as error:
        raise LikenessUnknown(str(error)) from error
