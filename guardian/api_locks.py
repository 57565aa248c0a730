"""Locks over REST: leases with a fence, the lines behind them, who waits for whom."""

from typing import ClassVar
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from guardian import errors, services
from guardian.http import TeamViewSet, validated
from guardian.models import LockRequest, ResourceLock
from guardian.serializers import Reason
from guardian.serializers_locks import (
    ConflictSerializer,
    FreedSerializer,
    GraphSerializer,
    LeaseAnswer,
    LeaseSerializer,
    LockAcquire,
    LockRelease,
    LockRenew,
    LockRequestSerializer,
    LockSerializer,
    LockVerify,
    PlaceAnswer,
    PositionedRequest,
    ReleaseAll,
    Resource,
    StatusSerializer,
    ValidAnswer,
)

_TEXT = {"type": "string", "minLength": 1}
STATUS_PARAMETERS = [
    OpenApiParameter("resource_type", _TEXT, required=True),
    OpenApiParameter("resource_id", _TEXT, required=True),
]


class LockViewSet(TeamViewSet):
    """Leases on named resources."""

    queryset = ResourceLock.objects.all()
    serializer_class = LockSerializer
    bare_arrays: ClassVar[frozenset[str]] = frozenset({"conflicts"})
    scopes: ClassVar[dict[str, str]] = {
        "list": "locks:read",
        "retrieve": "locks:read",
        "status": "locks:read",
        "conflicts": "locks:read",
        "graph": "locks:read",
        "verify": "locks:read",
        "acquire": "locks:acquire",
        "renew": "locks:acquire",
        "release": "locks:acquire",
        "release_all": "locks:acquire",
        "break_lock": "locks:acquire",
    }
    reading_posts = frozenset({"verify"})
    filters: ClassVar[dict[str, str]] = {
        "resource_type": "resource_type",
        "resource_id": "resource_id",
        "mode": "mode",
        "state": "state",
        "holder": "holder_id",
        "task_id": "task_id",
        "instance_id": "instance_id",
        "expires_at": "expires_at",
    }
    searched = ("resource_id",)

    def retrieve(self, request: Request, pk: UUID) -> Response:
        """Show one lock with its holder and its line."""
        return Response(LockSerializer(self.get_object()).data)

    @extend_schema(
        request=LockAcquire, responses={201: LeaseAnswer, 200: LeaseAnswer, 202: PlaceAnswer}
    )
    @action(detail=False, methods=["post"])
    def acquire(self, request: Request) -> Response:
        """The lock (201), the same one renewed (200), or a place in the line (202)."""
        found = services.acquire_lock(actor=self.actor, **validated(LockAcquire, request.data))
        if isinstance(found, services.Lease):
            return Response(
                {"lock": LeaseSerializer(found).data}, status=200 if found.renewed else 201
            )
        position, length = services.place_of(request=found)
        body = {
            "id": str(found.pk),
            "position": position,
            "queue_length": length,
            "wait_until": found.wait_until,
        }
        where = f"/api/v1/locks/requests/{found.pk}"
        return Response({"request": body}, status=202, headers={"Location": where})

    @extend_schema(request=LockRenew, responses=LeaseAnswer)
    @action(detail=True, methods=["post"])
    def renew(self, request: Request, pk: UUID) -> Response:
        """Hold on to a lock for another lease."""
        lease = services.renew_lock(
            actor=self.actor, lock_id=pk, **validated(LockRenew, request.data)
        )
        return Response({"lock": LeaseSerializer(lease).data})

    @extend_schema(request=LockRelease, responses=LockSerializer)
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: UUID) -> Response:
        """Give a lock back; whoever is next in line has it at once."""
        services.release_lock(actor=self.actor, lock_id=pk, **validated(LockRelease, request.data))
        return Response(LockSerializer(self.get_queryset().get(pk=pk)).data)

    @extend_schema(request=LockVerify, responses=ValidAnswer)
    @action(detail=False, methods=["post"])
    def verify(self, request: Request) -> Response:
        """Whether this fence is the one that counts now; for stores that guard themselves."""
        services.verify_fence(actor=self.actor, **validated(LockVerify, request.data))
        return Response({"valid": True})

    @extend_schema(parameters=STATUS_PARAMETERS, responses=StatusSerializer)
    @action(detail=False, methods=["get"])
    def status(self, request: Request) -> Response:
        """Who holds a resource and who waits for it."""
        asked = validated(Resource, request.query_params.dict())
        found = services.lock_status(actor=self.actor, **asked)
        return Response(StatusSerializer(found).data)

    @extend_schema(responses=ConflictSerializer(many=True))
    @action(detail=False, methods=["get"])
    def conflicts(self, request: Request) -> Response:
        """Who waits for whom, the longest wait first; at most 500."""
        rows = [
            {
                "request": LockRequestSerializer(waiting).data,
                "holders": holders,
                "waited_seconds": seconds,
            }
            for waiting, holders, seconds in services.lock_conflicts(actor=self.actor)
        ]
        return Response(rows)

    @extend_schema(responses=GraphSerializer)
    @action(detail=False, methods=["get"])
    def graph(self, request: Request) -> Response:
        """Holders and waiters as a graph, with the circles in it."""
        return Response(services.lock_graph(actor=self.actor))

    @extend_schema(request=ReleaseAll, responses=FreedSerializer)
    @action(detail=False, methods=["post"], url_path="release-all")
    def release_all(self, request: Request) -> Response:
        """All locks and places of one task, instance or holder; others' need `locks:break`."""
        fields = validated(ReleaseAll, request.data)
        if sum(name in fields for name in ("task_id", "instance_id", "holder_id")) != 1:
            raise errors.Invalid(
                path="task_id", reason="send one of task_id, instance_id and holder_id"
            )
        freed = services.release_all(actor=self.actor, **fields)
        return Response(FreedSerializer(freed).data)

    @extend_schema(request=Reason, responses=LockSerializer)
    @action(detail=True, methods=["post"], url_path="break")
    def break_lock(self, request: Request, pk: UUID) -> Response:
        """End a lock whoever holds it; another's needs `locks:break` and level 4."""
        lock = services.break_lock(actor=self.actor, lock_id=pk, **validated(Reason, request.data))
        return Response(LockSerializer(lock).data)


class LockRequestViewSet(TeamViewSet):
    """Places in the lines for locks."""

    queryset = LockRequest.objects.select_related("lock")
    serializer_class = LockRequestSerializer
    scopes: ClassVar[dict[str, str]] = {
        "list": "locks:read",
        "retrieve": "locks:read",
        "destroy": "locks:acquire",
    }
    filters: ClassVar[dict[str, str]] = {
        "resource_type": "resource_type",
        "resource_id": "resource_id",
        "mode": "mode",
        "state": "state",
        "requester": "requester_id",
        "task_id": "task_id",
        "instance_id": "instance_id",
        "priority": "priority",
    }
    searched = ("resource_id",)

    @extend_schema(responses=PositionedRequest)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """One place: how far it is, and once it is granted the lock with its fence."""
        found = services.refresh_request(request=self.get_object())
        position, length = services.place_of(request=found)
        body = LockRequestSerializer(found).data
        return Response({**body, "position": position, "queue_length": length})

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: UUID) -> Response:
        """Leave the line; another's place needs `locks:break` and level 4."""
        services.cancel_request(actor=self.actor, request_id=pk)
        return Response(status=204)
