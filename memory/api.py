"""Memory's part of the REST API: store, search, read."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from guardian.http import TeamViewSet, validated
from memory import services
from memory.models import MemoryRecord
from memory.serializers import (
    RecordSerializer,
    SearchAnswerSerializer,
    SearchBody,
    StatusSerializer,
    StoredSerializer,
    StoreTask,
    StoreText,
)

STORE_BODY = PolymorphicProxySerializer(
    component_name="MemoryStore", serializers=[StoreText, StoreTask], resource_type_field_name=None
)


class RecordViewSet(TeamViewSet):
    """Memories this actor may read."""

    queryset = MemoryRecord.objects.select_related("owner").defer("search")
    serializer_class = RecordSerializer
    scopes = {
        "list": "memory:read",
        "retrieve": "memory:read",
        "search": "memory:read",
        "status": "memory:read",
        "store": "memory:write",
    }
    reading_posts = frozenset({"search"})
    filters = {
        "kind": "kind__in",
        "state": "state",
        "success": "success",
        "task_type": "task_type",
        "ticket_id": "ticket_id",
        "task_id": "task_id",
        "run_id": "run_id",
        "owner_id": "owner_id",
    }

    def get_queryset(self) -> QuerySet[Any]:
        queryset = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return queryset
        return queryset.readable_by(self.actor.id)  # type: ignore[attr-defined]  # our own QuerySet

    @extend_schema(request=STORE_BODY, responses={201: StoredSerializer, 200: StoredSerializer})
    def store(self, request: Request) -> Response:
        """Remember a text, or how a task ended. The same again answers 200 with the first one."""
        if "task_id" in request.data:
            body = validated(StoreTask, request.data)
            stored = services.store_task_outcome(actor=self.actor, **body)
        else:
            stored = services.store(actor=self.actor, **validated(StoreText, request.data))
        status = 200 if stored.duplicate else 201
        return Response(StoredSerializer(stored).data, status=status)

    @extend_schema(request=SearchBody, responses=SearchAnswerSerializer)
    def search(self, request: Request) -> Response:
        """Find by meaning and by words; warnings say when one of them was missing."""
        answer = services.search(actor=self.actor, **validated(SearchBody, request.data))
        return Response(SearchAnswerSerializer(answer).data)

    @extend_schema(responses=StatusSerializer)
    def status(self, request: Request) -> Response:
        """The model, its health, and how much of memory it covers."""
        return Response(StatusSerializer(services.status(team_id=self.actor.team_id)).data)
