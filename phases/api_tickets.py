"""Further verbs of tickets in the REST API; `phases.api` puts them together."""

from collections.abc import Mapping
from typing import ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from guardian.http import TeamViewSet, etag_of, validated
from phases import services
from phases.graph import ticket_graph
from phases.models import Ticket
from phases.serializers import PerhapsReason, Reason, TicketSerializer
from phases.serializers_graph import GraphAnswer

RELATED = ("workflow", "phase", "previous_phase", "column", "assignee", "created_by")


def ticket_response(ticket_id: UUID, status: int = 200) -> Response:
    ticket = Ticket.objects.select_related(*RELATED).get(pk=ticket_id)
    return Response(TicketSerializer(ticket).data, status=status, headers={"ETag": etag_of(ticket)})


class TicketReading(TeamViewSet):
    """What else is read of a ticket."""

    reading_scopes: ClassVar[Mapping[str, str]] = {"graph": "tickets:read"}

    @extend_schema(responses=GraphAnswer)
    @action(detail=True, methods=["get"])
    def graph(self, request: Request, pk: UUID) -> Response:
        """Its tasks as a graph, with those of other tickets that they wait for."""
        return Response(ticket_graph(self.get_object()))


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
