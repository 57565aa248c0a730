"""Further verbs of tickets in the REST API; `phases.api` puts them together."""

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from guardian.http import ListQuery, TeamViewSet, etag_of, validated
from guardian.models import Event
from phases import services
from phases.full_context import full_context
from phases.graph import ticket_graph
from phases.models import Ticket, WorkflowResult
from phases.serializers import PRIORITIES, PerhapsReason, Reason, TicketSerializer
from phases.serializers_context import ContextAnswer, ContextQuestion
from phases.serializers_graph import GraphAnswer
from phases.serializers_results import (
    ResultCreate,
    ResultSerializer,
    ResultVerdict,
    TimelinePage,
)
from phases.serializers_tasks import TaskSerializer
from phases.timeline import events_of, told

RELATED = ("workflow", "phase", "previous_phase", "column", "assignee", "created_by")


def ticket_response(ticket_id: UUID, status: int = 200) -> Response:
    ticket = Ticket.objects.select_related(*RELATED).get(pk=ticket_id)
    return Response(TicketSerializer(ticket).data, status=status, headers={"ETag": etag_of(ticket)})


class TicketQuery(ListQuery):
    """A priority is meant by its word or its number."""

    def filtered(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        asked = self.parameters
        self.parameters = {
            name: _numbers(text) if name in {"priority", "priority__in"} else text
            for name, text in asked.items()
        }
        try:
            return super().filtered(rows)
        finally:
            self.parameters = asked  # the cursor belongs to the list as it was asked


def _numbers(text: str) -> str:
    words = [word.strip() for word in text.split(",")]
    return ",".join(str(PRIORITIES.get(word.upper(), word)) for word in words)


class TimelineQuery(ListQuery):
    """A kind is meant by its stored name or by the one that outside programs use."""

    def filtered(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        asked = self.parameters
        if kind := asked.get("kind", ""):
            names = [name.strip() for name in kind.split(",")]
            rows = rows.filter(Q(kind__in=names) | Q(alias__in=names))
        self.parameters = {name: text for name, text in asked.items() if name != "kind"}
        try:
            return super().filtered(rows)
        finally:
            self.parameters = asked  # the cursor belongs to the list as it was asked


class TicketReading(TeamViewSet):
    """What else is read of a ticket."""

    reading_scopes: ClassVar[Mapping[str, str]] = {
        "graph": "tickets:read",
        "timeline": "tickets:read",
        "context": "tickets:read",
    }

    @extend_schema(responses=GraphAnswer)
    @action(detail=True, methods=["get"])
    def graph(self, request: Request, pk: UUID) -> Response:
        """Its tasks as a graph, with those of other tickets that they wait for."""
        return Response(ticket_graph(self.get_object()))

    @extend_schema(
        parameters=[
            OpenApiParameter("kind", str, description="Of these kinds only, stored name or alias."),
            OpenApiParameter("limit", int, description="Rows on a page, at most 200.", default=50),
            OpenApiParameter("cursor", str, description="`next` of the page before."),
        ],
        responses=TimelinePage,
    )
    @action(detail=True, methods=["get"])
    def timeline(self, request: Request, pk: UUID) -> Response:
        """What happened to it, to its tasks and evidence, newest first."""
        ticket = self.get_object()
        query = TimelineQuery(request, Event, filters={"kind": "kind"})
        page = query.page(query.filtered(events_of(ticket)))
        return page.response(told(ticket, page.rows))

    @extend_schema(responses=ContextAnswer)
    @action(detail=True, methods=["get"])
    def context(self, request: Request, pk: UUID) -> Response:
        """What it was given and what its phases found out."""
        return Response(full_context(self.get_object()))


class TicketEnds(TeamViewSet):
    """Whether a ticket may begin, and that it is given up."""

    end_scopes: ClassVar[Mapping[str, str]] = {
        "approve": "approvals:decide",
        "reject": "approvals:decide",
        "resubmit": "tickets:write",
        "fail": "tickets:write",
    }

    @extend_schema(request=PerhapsReason, responses=TicketSerializer)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: UUID) -> Response:
        """Let a ticket of somebody else begin; for people of level 3."""
        body = validated(PerhapsReason, request.data)
        services.approve_ticket(actor=self.actor, ticket_id=pk, version=self.version(), **body)
        return ticket_response(pk)

    @extend_schema(request=Reason, responses=TicketSerializer)
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, pk: UUID) -> Response:
        """Do not let a ticket of somebody else begin as it is; for people of level 3."""
        body = validated(Reason, request.data)
        services.reject_ticket(actor=self.actor, ticket_id=pk, version=self.version(), **body)
        return ticket_response(pk)

    @extend_schema(request=PerhapsReason, responses=TicketSerializer)
    @action(detail=True, methods=["post"])
    def resubmit(self, request: Request, pk: UUID) -> Response:
        """Ask again for the approval of a ticket that was refused or not answered for."""
        body = validated(PerhapsReason, request.data)
        services.resubmit_ticket(actor=self.actor, ticket_id=pk, version=self.version(), **body)
        return ticket_response(pk)

    @extend_schema(request=Reason, responses=TicketSerializer)
    @action(detail=True, methods=["post"])
    def fail(self, request: Request, pk: UUID) -> Response:
        """Give a ticket up with its open tasks; needs level 3."""
        services.fail_ticket(actor=self.actor, ticket_id=pk, **validated(Reason, request.data))
        return ticket_response(pk)


class TicketWork(TeamViewSet):
    """Work of a ticket beside its tasks: what its workflow looks for, its first task once more."""

    work_scopes: ClassVar[Mapping[str, str]] = {
        "generate_tasks": "tickets:write",
        "update_context": "tickets:write",
        "results": "tickets:read",
        "add_result": "tasks:work",
        "decide_result": "approvals:decide",
    }

    @extend_schema(
        request=None, responses={201: TaskSerializer(many=True), 200: TaskSerializer(many=True)}
    )
    @action(detail=True, methods=["post"], url_path="generate-tasks")
    def generate_tasks(self, request: Request, pk: UUID) -> Response:
        """Make its phase's entry task, where none of that phase is open."""
        made = services.generate_tasks(actor=self.actor, ticket_id=pk)
        told = TaskSerializer(made, many=True).data
        return Response(told, status=201 if made else 200)

    @extend_schema(
        parameters=[
            OpenApiParameter("phase_id", str, description="Key or id; by default its present one.")
        ],
        request=None,
        responses=ContextAnswer,
    )
    @action(detail=True, methods=["post"], url_path="update-context")
    def update_context(self, request: Request, pk: UUID) -> Response:
        """Take what the completed tasks of a phase found out into the ticket."""
        asked = validated(ContextQuestion, request.query_params.dict())
        services.update_context(actor=self.actor, ticket_id=pk, phase=asked.get("phase_id"))
        return Response(full_context(self.get_object()))

    @extend_schema(responses=ResultSerializer(many=True))
    @action(detail=True, methods=["get"])
    def results(self, request: Request, pk: UUID) -> Response:
        """What was handed in as the answer its workflow looks for, newest first."""
        query = ListQuery(request, WorkflowResult, filters={"status": "status"})
        rows = self.get_object().results.select_related("submitted_by", "decided_by")
        page = query.page(query.filtered(rows))
        return page.response(list(ResultSerializer(page.rows, many=True).data))

    @extend_schema(request=ResultCreate, responses={201: ResultSerializer})
    @results.mapping.post
    def add_result(self, request: Request, pk: UUID) -> Response:
        """Hand in what its workflow looks for; for who holds or held a task of it."""
        body = validated(ResultCreate, request.data)
        result = services.submit_result(actor=self.actor, ticket_id=pk, **body)
        return Response(ResultSerializer(result).data, status=201)

    @extend_schema(request=ResultVerdict, responses=ResultSerializer)
    @action(detail=True, methods=["post"], url_path="results/<uuid:result_id>/decide")
    def decide_result(self, request: Request, pk: UUID, result_id: UUID) -> Response:
        """Validate or reject a result of somebody else; a validated one may end the ticket."""
        body = validated(ResultVerdict, request.data)
        result = services.decide_result(actor=self.actor, ticket_id=pk, result_id=result_id, **body)
        return Response(ResultSerializer(result).data)
