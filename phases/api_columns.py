"""The REST API of the board's columns: their figures, their limits, what exceeds them."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from guardian import errors
from guardian.http import TeamView, actor_of, etag_of, validated
from phases import services, violations
from phases.api_board import flow_of
from phases.api_workflows import WORKFLOW
from phases.models import BoardColumn
from phases.serializers_workflows import (
    AutoTransitionAnswer,
    BoardColumnSerializer,
    BoardStats,
    ColumnPatch,
    WipViolations,
)


def _asked(request: Request) -> str:
    return request.query_params.get("workflow", "")


def _column(request: Request, **narrowed: str) -> BoardColumn:
    """The column of the asked workflow. Raises NotFound."""
    rows = BoardColumn.objects.filter(workflow=flow_of(request, _asked(request)))
    found = rows.filter(**narrowed).select_related("workflow").prefetch_related("phases").first()
    if found is None:
        keys = ", ".join(rows.order_by("position").values_list("key", flat=True))
        raise errors.NotFound(f"There is no such column; this board has {keys}.")
    return found


def _answer(column: BoardColumn) -> Response:
    data = BoardColumnSerializer(column).data
    return Response(data, headers={"ETag": etag_of(column)})


class ColumnsView(TeamView):
    """The columns of a board, in their order."""

    scopes = {"get": "tickets:read"}

    @extend_schema(parameters=[WORKFLOW], responses=BoardColumnSerializer(many=True))
    def get(self, request: Request) -> Response:
        flow = flow_of(request, _asked(request))
        rows = flow.columns.select_related("workflow").prefetch_related("phases")
        data = BoardColumnSerializer(rows.order_by("position"), many=True).data
        return Response({"results": data, "next": None})


class ColumnView(TeamView):
    """A column of a board, by its key."""

    scopes = {"get": "tickets:read", "patch": "workflows:write"}
    version_required = frozenset({"patch"})

    @extend_schema(parameters=[WORKFLOW], responses=BoardColumnSerializer)
    def get(self, request: Request, key: str) -> Response:
        return _answer(_column(request, key=key))

    @extend_schema(parameters=[WORKFLOW], request=ColumnPatch, responses=BoardColumnSerializer)
    def patch(self, request: Request, key: str) -> Response:
        """Edit a column; a higher limit lets queued tickets in at once."""
        version = self.version()
        changes = validated(ColumnPatch, request.data)
        reason = changes.pop("reason", "")
        services.change_column(
            actor=actor_of(request),
            column_id=_column(request, key=key).pk,
            version=version,
            changes=changes,
            reason=reason,
        )
        return _answer(_column(request, key=key))


class ColumnOfPhaseView(TeamView):
    """The column that a phase stands in, by the phase's key."""

    scopes = {"get": "tickets:read"}

    @extend_schema(parameters=[WORKFLOW], responses=BoardColumnSerializer)
    def get(self, request: Request, phase: str) -> Response:
        return _answer(_column(request, phases__key=phase))


class BoardStatsView(TeamView):
    """The figures of each column: admitted, queued, all, how full."""

    scopes = {"get": "tickets:read"}

    @extend_schema(parameters=[WORKFLOW], responses=BoardStats)
    def get(self, request: Request) -> Response:
        flow = flow_of(request, _asked(request))
        return Response({"workflow": flow.key, "columns": violations.stats(flow)})


class WipViolationsView(TeamView):
    """The columns that hold more than their limit, and since when."""

    scopes = {"get": "tickets:read"}

    @extend_schema(parameters=[WORKFLOW], responses=WipViolations)
    def get(self, request: Request) -> Response:
        found = violations.violations(flow_of(request, _asked(request)))
        return Response({"results": found, "next": None})


class AutoTransitionView(TeamView):
    """Let a ticket go where its column points, if it may: 200 either way, with the reason."""

    scopes = {"post": "tickets:write"}

    @extend_schema(request=None, responses=AutoTransitionAnswer)
    def post(self, request: Request, ticket: UUID) -> Response:
        return Response(services.auto_transition(actor=actor_of(request), ticket_id=ticket))
