"""The verbs of memory, for all callers: store, remember, search, embed, use, judge."""

from memory.services.context import render_context, task_context
from memory.services.discoveries import remember_discovery
from memory.services.embedding import Status, embed_record, status, sweep_unembedded
from memory.services.likeness import likeness
from memory.services.records import approve_record, revoke_record
from memory.services.search import SearchAnswer, search
from memory.services.store import (
    Stored,
    remember_task,
    store,
    store_task_outcome,
)
from memory.services.uses import cite_uses, record_uses

__all__ = [
    "SearchAnswer",
    "Status",
    "Stored",
    "approve_record",
    "cite_uses",
    "embed_record",
    "likeness",
    "record_uses",
    "remember_discovery",
    "remember_task",
    "render_context",
    "revoke_record",
    "search",
    "status",
    "store",
    "store_task_outcome",
    "sweep_unembedded",
    "task_context",
]
