"""What operators see of memory. States move by services only."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from memory.models import MemoryEmbedding, MemoryRecord, MemoryUse


class ReadOnlyAdmin(admin.ModelAdmin[Any]):
    """Rows to look at: none is added, changed or deleted here."""

    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(MemoryRecord)
class MemoryRecordAdmin(ReadOnlyAdmin):
    list_display = ("title", "kind", "success", "trust", "state", "owner", "team", "created_at")
    list_filter = ("kind", "state", "success", "embedding_state", "visibility", "team")
    search_fields = ("title", "summary", "=ticket_id", "=task_id", "=run_id")
    list_select_related = ("owner", "team")
    date_hierarchy = "created_at"
    exclude = ("search",)


@admin.register(MemoryEmbedding)
class MemoryEmbeddingAdmin(ReadOnlyAdmin):
    list_display = ("record", "part_no", "model", "length", "team", "created_at")
    list_filter = ("model", "team")
    search_fields = ("record__title", "=text_sha256")
    list_select_related = ("record", "team")
    exclude = ("v384",)


@admin.register(MemoryUse)
class MemoryUseAdmin(ReadOnlyAdmin):
    list_display = ("record", "run_id", "task_id", "rank", "cited", "used_at", "team")
    list_filter = ("cited", "team")
    search_fields = ("record__title", "=run_id", "=task_id")
    list_select_related = ("record", "team")
