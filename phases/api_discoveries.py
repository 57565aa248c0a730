"""The REST API of discoveries: what was found at work, and what comes out of it."""

from typing import Any
from uuid import UUID

from django.db.models import Prefetch
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from guardian.http import ListQuery, TeamViewSet, once, validated
from phases import services
from phases.discovery_stats import discovery_stats
from phases.models import Task, TaskDiscovery
from phases.serializers_discoveries import (
    DiscoveryBranch,
    DiscoveryCreate,
    DiscoveryResolve,
    DiscoverySerializer,
    DiscoveryStats,
    DiscoveryWithTasks,
)
from phases.serializers_tasks import TaskSerializer


def _spawns(body: dict[str, Any]) -> list[services.Spawn]:
    return [services.Spawn(**fields) for fields in body.pop("spawn", [])]


class DiscoveryViewSet(TeamViewSet):
    """What workers come upon beside their task."""

    queryset = TaskDiscovery.objects.select_related(
        "source_task", "discovered_by"
    ).prefetch_related(Prefetch("spawned", queryset=Task.objects.only("id", "discovery_id")))
    serializer_class = DiscoverySerializer
    scopes = {
        "list": "tickets:read",
        "retrieve": "tickets:read",
        "stats": "tickets:read",
        "create": "tickets:write",
        "branch": "tickets:write",
        "resolve": "tickets:write",
    }
    # How alike tasks are is asked before their transaction: a model may be needed for it.
    own_once = frozenset({"create", "branch"})
    whole_lists = frozenset({"stats"})
    filters = {
        "type": "discovery_type",
        "status": "resolution_status",
        "task": "source_task_id",
        "ticket": "source_task__ticket_id",
        "phase": "source_task__phase__key",
        "workflow": "source_task__phase__workflow__key",
        "created_at": "created_at",
    }
    searched = ("description",)

    @extend_schema(request=DiscoveryCreate, responses={201: DiscoveryWithTasks})
    def create(self, request: Request) -> Response:
        """Record what was found at work on a task, with up to ten tasks that come out of it."""
        body = validated(DiscoveryCreate, request.data)
        spawn = _spawns(body)
        alike = services.compare_spawn(actor=self.actor, task_id=body["source_task"], spawn=spawn)

        def record() -> Response:
            found, made = services.record_discovery(
                actor=self.actor, spawn=spawn, alike=alike, **body
            )
            return self._with(found.pk, made)

        return once(self, request, record)

    @extend_schema(request=DiscoveryBranch, responses={201: DiscoveryWithTasks})
    @action(detail=True, methods=["post"])
    def branch(self, request: Request, pk: UUID) -> Response:
        """Make further tasks of a discovery."""
        spawn = _spawns(validated(DiscoveryBranch, request.data))
        source = services.source_of(actor=self.actor, discovery_id=pk)
        alike = services.compare_spawn(actor=self.actor, task_id=source, spawn=spawn)

        def more() -> Response:
            found, made = services.branch_discovery(
                actor=self.actor, discovery_id=pk, spawn=spawn, alike=alike
            )
            return self._with(found.pk, made)

        return once(self, request, more)

    @extend_schema(request=DiscoveryResolve, responses=DiscoverySerializer)
    @action(detail=True, methods=["post"])
    def resolve(self, request: Request, pk: UUID) -> Response:
        """Say how far a discovery is; resolved and invalid are final."""
        body = validated(DiscoveryResolve, request.data)
        services.resolve_discovery(actor=self.actor, discovery_id=pk, **body)
        return Response(DiscoverySerializer(self.get_object()).data)

    @extend_schema(responses=DiscoveryStats)
    @action(detail=False, methods=["get"])
    def stats(self, request: Request) -> Response:
        """How many there are of each type in each phase; the list's filters narrow it."""
        query = ListQuery(request, TaskDiscovery, filters=self.filters, search=self.searched)
        rows = query.filtered(TaskDiscovery.objects.for_team(self.actor.team_id))
        return Response(discovery_stats(rows))

    def _with(self, pk: UUID, made: list[Task]) -> Response:
        found = self.get_queryset().get(pk=pk)
        ids = [task.pk for task in made]
        rows = Task.objects.select_related("phase", "holder", "last_holder").in_bulk(ids)
        tasks = TaskSerializer([rows[pk] for pk in ids], many=True).data
        return Response({**DiscoverySerializer(found).data, "tasks": tasks}, status=201)
