"""The REST API of agents: who is there, what they do, and the switches."""

from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from guardian.http import StrictSerializer, TeamView, TeamViewSet, actor_of, validated
from orchestrator import services
from orchestrator.models import AgentExecution, AgentInstance


class Why(StrictSerializer):
    reason = serializers.CharField(max_length=1000, default="", allow_blank=True)


class InstanceSerializer(serializers.ModelSerializer[AgentInstance]):
    agent = serializers.SerializerMethodField()
    version = serializers.SerializerMethodField()
    user = serializers.UUIDField(source="user_id", allow_null=True)

    class Meta:
        model = AgentInstance
        fields = (
            "id", "name", "agent", "version", "user", "runtime", "agent_type", "state", "health",
            "state_reason", "capabilities", "capacity", "tags", "started_at", "last_heartbeat",
            "last_assigned_at", "revision",
        )  # fmt: skip

    def get_agent(self, row: AgentInstance) -> str | None:
        return row.agent_version.definition.slug if row.agent_version else None

    def get_version(self, row: AgentInstance) -> str | None:
        return row.agent_version.version if row.agent_version else None


class ExecutionSerializer(serializers.ModelSerializer[AgentExecution]):
    agent = serializers.CharField(source="instance.name", default=None)
    task = serializers.UUIDField(source="task_id", allow_null=True)
    run = serializers.UUIDField(source="run_id", allow_null=True)

    class Meta:
        model = AgentExecution
        fields = (
            "id", "agent", "kind", "task", "run", "state", "priority", "attempt", "fence",
            "input", "result", "error_code", "error", "progress", "note", "host", "created_at",
            "started_at", "finished_at", "duration_seconds", "prompt_tokens",
            "completion_tokens", "cost_usd", "tool_calls",
        )  # fmt: skip


class InstanceViewSet(TeamViewSet):
    """Agents at work."""

    queryset = AgentInstance.objects.select_related("agent_version__definition")
    serializer_class = InstanceSerializer
    scopes = {
        "list": "agents:read",
        "retrieve": "agents:read",
        "pause": "agents:operate",
        "resume": "agents:operate",
        "stop": "agents:operate",
        "start": "agents:operate",
    }
    filters = {
        "state": "state",
        "health": "health",
        "runtime": "runtime",
        "agent": "agent_version__definition__slug",
    }
    searched = ("name",)

    @extend_schema(request=Why, responses=InstanceSerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: UUID) -> Response:
        """Let an agent end what it does and give it nothing new."""
        return self._moved(services.pause_agent, pk)

    @extend_schema(request=Why, responses=InstanceSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: UUID) -> Response:
        """Give a paused agent work again."""
        return self._moved(services.resume_agent, pk)

    @extend_schema(request=Why, responses=InstanceSerializer)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: UUID) -> Response:
        """Stop an agent."""
        return self._moved(services.stop_agent, pk)

    @extend_schema(request=Why, responses=InstanceSerializer)
    @action(detail=True, methods=["post"])
    def start(self, request: Request, pk: UUID) -> Response:
        """Start a stopped agent."""
        return self._moved(services.start_agent, pk)

    def _moved(self, service: Any, pk: UUID) -> Response:
        body = validated(Why, self.request.data)
        instance = service(actor=self.actor, instance_id=pk, **body)
        return Response(InstanceSerializer(instance).data)


class ExecutionViewSet(TeamViewSet):
    """What agents did, and how it ended."""

    queryset = AgentExecution.objects.select_related("instance")
    serializer_class = ExecutionSerializer
    scopes = {"list": "agents:read", "retrieve": "agents:read"}
    filters = {
        "state": "state",
        "kind": "kind",
        "task": "task_id",
        "ticket": "task__ticket_id",
        "agent": "instance_id",
    }


class RuntimeStatusView(TeamView):
    """What the runtime is doing now."""

    scopes = {"get": "agents:read"}

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        return Response(services.runtime_status(actor=actor_of(request)))


class RuntimeSwitchView(TeamView):
    """Start or stop placing work."""

    scopes = {"post": "runtime:operate"}
    running = True
    said = ""

    @extend_schema(request=Why, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request) -> Response:
        body = validated(Why, request.data)
        switch = services.switch_runtime(
            actor=actor_of(request), running=self.running, reason=body["reason"]
        )
        return Response({"running": switch.running})
