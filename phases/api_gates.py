"""The requirements of a phase's gate in the REST API."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from guardian.http import TeamViewSet, etag_of, validated
from phases import services
from phases.models import GateRequirement
from phases.serializers_gates import RequirementChange, RequirementCreate, RequirementSerializer

WORKFLOW = OpenApiParameter(
    "workflow", str, description="Of a phase named by its key; the default workflow without it."
)


class GateRequirementViewSet(TeamViewSet):
    """What a gate asks for. The phase is named by its id, or by its key and `?workflow=`."""

    queryset = GateRequirement.objects.select_related("phase")
    serializer_class = RequirementSerializer
    scopes = {
        "list": "tickets:read",
        "retrieve": "tickets:read",
        "create": "workflows:write",
        "partial_update": "workflows:write",
        "destroy": "workflows:write",
    }
    version_required = frozenset({"partial_update", "destroy"})

    def _phase_id(self, phase: str) -> UUID:
        """Raises NotFound."""
        workflow = self.request.query_params.get("workflow")
        return services.find_phase(actor=self.actor, phase=phase, workflow=workflow).pk

    def _answer(self, row: GateRequirement, status: int = 200) -> Response:
        data = RequirementSerializer(row).data
        return Response(data, status=status, headers={"ETag": etag_of(row)})

    @extend_schema(parameters=[WORKFLOW], responses=RequirementSerializer(many=True))
    def list(self, request: Request, phase: str) -> Response:  # type: ignore[override]  # of one phase
        """What the gate of a phase asks for, in its order."""
        rows = self.get_queryset().filter(phase_id=self._phase_id(phase))
        data = RequirementSerializer(rows.order_by("created_at", "id"), many=True).data
        return Response({"results": data, "next": None})

    @extend_schema(
        parameters=[WORKFLOW], request=RequirementCreate, responses={201: RequirementSerializer}
    )
    def create(self, request: Request, phase: str) -> Response:
        """Let the gate ask for one thing more."""
        body: dict[str, Any] = validated(RequirementCreate, request.data)
        made = services.add_requirement(actor=self.actor, phase_id=self._phase_id(phase), **body)
        return self._answer(made, 201)

    @extend_schema(parameters=[WORKFLOW])
    def retrieve(self, request: Request, phase: str, pk: UUID) -> Response:  # type: ignore[override]  # of one phase
        """One requirement."""
        self.queryset = self.queryset.filter(phase_id=self._phase_id(phase))
        return self._answer(self.get_object())

    @extend_schema(
        parameters=[WORKFLOW], request=RequirementChange, responses=RequirementSerializer
    )
    def partial_update(self, request: Request, phase: str, pk: UUID) -> Response:
        """Ask otherwise; key and kind stay."""
        version = self.version()
        changed = services.change_requirement(
            actor=self.actor,
            phase_id=self._phase_id(phase),
            requirement_id=pk,
            version=version,
            changes=validated(RequirementChange, request.data),
        )
        return self._answer(changed)

    @extend_schema(parameters=[WORKFLOW], responses={204: None})
    def destroy(self, request: Request, phase: str, pk: UUID) -> Response:
        """Let the gate ask for one thing less; 409 while tickets have an answer to it."""
        version = self.version()
        services.remove_requirement(
            actor=self.actor,
            phase_id=self._phase_id(phase),
            requirement_id=pk,
            version=version,
        )
        return Response(status=204)
