"""Further verbs of tickets in the REST API; `phases.api` puts them together."""

from collections.abc import Mapping
from typing import ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from guardian.http import TeamViewSet, etag_of
from phases.graph import ticket_graph
from phases.models import Ticket
from phases.serializers import TicketSerializer
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
