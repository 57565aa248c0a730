"""The REST API of workflows: their files, their phases."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from guardian.bodies import StrictJSONParser
from guardian.errors import Invalid, NotFound
from guardian.http import TeamViewSet, etag_of, validated
from phases import services
from phases.models import Phase, Workflow
from phases.serializers_workflows import (
    ImportAnswer,
    ImportOptions,
    PhaseDetailSerializer,
    PhasePatch,
    WorkflowImport,
    WorkflowSerializer,
)
from phases.workflow_yaml import LIMIT_BYTES

WORKFLOW = OpenApiParameter(
    "workflow", str, description="Of what is named by its key; the default workflow without it."
)


class YamlParser(BaseParser):
    """A workflow's file as it is; what is to be done with it stands in the query."""

    media_type = "application/yaml"

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        raw = stream.read(LIMIT_BYTES + 1)
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Invalid("The body must be UTF-8 text.") from error
        request: Request = (parser_context or {})["request"]
        said = request.query_params.copy()
        said["yaml"] = text
        return said


class WorkflowViewSet(TeamViewSet):
    """Workflows with their phases and columns; each is named by its id or by its key."""

    queryset = Workflow.objects.prefetch_related("phases", "columns")
    serializer_class = WorkflowSerializer
    lookup_value_converter = "str"
    scopes = {
        "list": "tickets:read",
        "retrieve": "tickets:read",
        "export": "tickets:read",
        "import_file": "workflows:write",
    }
    filters = {"key": "key"}

    def get_parsers(self) -> list[BaseParser]:
        if self.action_map.get((self.request.method or "").lower()) == "import_file":
            return [StrictJSONParser(), YamlParser()]
        return super().get_parsers()

    def initialize_request(self, request: Any, *args: Any, **kwargs: Any) -> Request:
        self.request = request  # get_parsers is asked before REST framework sets it
        return super().initialize_request(request, *args, **kwargs)

    def get_object(self) -> Workflow:
        """Raises NotFound."""
        rows, name = self.get_queryset(), str(self.kwargs["pk"])
        found: Workflow | None = rows.filter(key=name).first() or (
            rows.filter(pk=_uuid(name)).first() if _uuid(name) else None
        )
        if found is None:
            raise NotFound("There is no such workflow; GET /api/v1/workflows lists them.")
        return found

    def retrieve(self, request: Request, pk: str) -> Response:  # type: ignore[override]  # or a key
        """A workflow by its id or its key."""
        flow = self.get_object()
        return Response(WorkflowSerializer(flow).data, headers={"ETag": etag_of(flow)})

    @extend_schema(responses={(200, "application/yaml"): OpenApiTypes.OBJECT})
    @action(detail=True, methods=["get"])
    def export(self, request: Request, pk: str) -> HttpResponse:
        """The workflow as YAML, as it is now; imported again it changes nothing."""
        flow = self.get_object()
        text = services.export_workflow(workflow_id=flow.pk)
        return yaml_file(text, flow.key)

    @extend_schema(
        parameters=[ImportOptions],
        request={"application/json": WorkflowImport, "application/yaml": OpenApiTypes.OBJECT},
        responses=ImportAnswer,
    )
    @action(detail=False, methods=["post"], url_path="import", url_name="import")
    def import_file(self, request: Request) -> Response:
        """Make a workflow of YAML, or change the one of its key; or only say what would be done."""
        body = validated(WorkflowImport, request.data)
        made = services.import_file(actor=self.actor, text=body.pop("yaml"), **body)
        return Response(made.as_dict())


def yaml_file(text: str, name: str) -> HttpResponse:
    """A text as a download that no browser takes for anything else."""
    response = HttpResponse(text, content_type="application/yaml; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.yaml"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


class PhaseViewSet(TeamViewSet):
    """Phases. Each is named by its id, or by its key and `?workflow=`."""

    queryset = Phase.objects.select_related("workflow", "column", "next_column")
    serializer_class = PhaseDetailSerializer
    lookup_value_converter = "str"
    scopes = {
        "list": "tickets:read",
        "retrieve": "tickets:read",
        "partial_update": "workflows:write",
    }
    version_required = frozenset({"partial_update"})
    filters = {"workflow": "workflow__key", "column": "column__key", "kind": "kind", "key": "key"}
    orderings = {"sequence_order": "sequence_order"}
    default_ordering = "sequence_order"

    def _answer(self, pk: UUID) -> Response:
        phase = self.get_queryset().get(pk=pk)
        return Response(PhaseDetailSerializer(phase).data, headers={"ETag": etag_of(phase)})

    def _phase_id(self, phase: str) -> UUID:
        """Raises NotFound."""
        workflow = self.request.query_params.get("workflow")
        return services.find_phase(actor=self.actor, phase=phase, workflow=workflow).pk

    @extend_schema(parameters=[WORKFLOW])
    def retrieve(self, request: Request, pk: str) -> Response:  # type: ignore[override]  # or a key
        """What is to be done in a phase, and where a ticket may go from it."""
        return self._answer(self._phase_id(pk))

    @extend_schema(parameters=[WORKFLOW], request=PhasePatch, responses=PhaseDetailSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Edit a phase by the rules of its workflow; the next claim shows it."""
        version = self.version()
        changes = validated(PhasePatch, request.data)
        reason = changes.pop("reason", "")
        phase_id = self._phase_id(pk)
        services.change_phase(
            actor=self.actor, phase_id=phase_id, version=version, changes=changes, reason=reason
        )
        return self._answer(phase_id)
