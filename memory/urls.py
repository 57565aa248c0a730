"""Memory's routes."""

from django.urls import URLPattern, URLResolver, path

from memory import fragments
from memory.api import RecordViewSet

urlpatterns: list[URLPattern | URLResolver] = [
    path("panel/tickets/<uuid:ticket_id>/memory", fragments.memory, name="panel-memory"),
    path("api/v1/memory/store", RecordViewSet.as_view({"post": "store"}), name="memory-store"),
    path("api/v1/memory/search", RecordViewSet.as_view({"post": "search"}), name="memory-search"),
    path("api/v1/memory/status", RecordViewSet.as_view({"get": "status"}), name="memory-status"),
    path("api/v1/memory/records", RecordViewSet.as_view({"get": "list"}), name="memory-records"),
    path(
        "api/v1/memory/records/<uuid:pk>",
        RecordViewSet.as_view({"get": "retrieve"}),
        name="memory-record",
    ),
]
