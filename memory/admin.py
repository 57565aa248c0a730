"""What operators see of memory. States move by services only."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from guardian import console
from guardian.authority import MONITOR, Actor
from guardian.operators import RecordAdmin, reasoned_action
from memory import services
from memory.models import MemoryEmbedding, MemoryRecord, MemoryUse


@admin.register(MemoryRecord)
class MemoryRecordAdmin(RecordAdmin):
    icon = "psychology"
    when_empty = "Each completed task leaves one; so does POST /api/v1/memory/store."
    list_display = ("title", "kind", "success", "trust", "state", "owner", "team", "created_at")
    list_filter = ("kind", "state", "success", "embedding_state", "visibility", "team")
    search_fields = ("title", "summary", "=ticket_id", "=task_id", "=run_id")
    date_hierarchy = "created_at"
    exclude = ("search",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Private memories are shown to their owners alone."""
        rows: Any = super().get_queryset(request)
        return rows.readable_by(request.user.pk)

    @reasoned_action(
        label="Approve",
        scope="memory:write",
        level=MONITOR,
        human=True,
        fits=lambda record: record.state == MemoryRecord.State.QUARANTINED,
    )
    def approve(self, *, actor: Actor, row: MemoryRecord, reason: str) -> None:
        """You vouch for this memory; searches find it from now on."""
        services.approve_record(actor=actor, record_id=row.pk, reason=reason)

    @reasoned_action(
        label="Revoke",
        scope="memory:write",
        danger=True,
        fits=lambda record: record.state != MemoryRecord.State.REVOKED,
    )
    def revoke(self, *, actor: Actor, row: MemoryRecord, reason: str) -> None:
        """Takes this memory out of every search for good; others' memories need level 3."""
        services.revoke_record(actor=actor, record_id=row.pk, reason=reason)


@admin.register(MemoryEmbedding)
class MemoryEmbeddingAdmin(RecordAdmin):
    icon = "scatter_plot"
    list_display = ("record", "part_no", "model", "length", "team", "created_at")
    list_filter = ("model", "team")
    search_fields = ("record__title", "=text_sha256")
    exclude = ("v384",)


@admin.register(MemoryUse)
class MemoryUseAdmin(RecordAdmin):
    icon = "link"
    list_display = ("record", "run_id", "task_id", "rank", "cited", "used_at", "team")
    list_filter = ("cited", "team")
    search_fields = ("record__title", "=run_id", "=task_id")


console.tile(
    "Memories to judge",
    MemoryRecord,
    where={"state__exact": "quarantined"},
    group="waiting",
    scope="memory:write",
    level=MONITOR,
)
