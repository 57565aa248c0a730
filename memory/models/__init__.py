"""What is known: records, their vectors, and who used them."""

from memory.models.embedding import MemoryEmbedding
from memory.models.record import MemoryRecord
from memory.models.use import MemoryUse

__all__ = ["MemoryEmbedding", "MemoryRecord", "MemoryUse"]
