"""The REST API of the board: what it shows, further cards, moves by hand."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from guardian import errors
from guardian.http import TeamView, actor_of, etag_of, validated
from phases import board, services
from phases.answers import MovedCards
from phases.graph import board_graph
from phases.models import BoardColumn, Ticket, Workflow
from phases.serializers import BoardCardsQuestion, MoveCard, MoveCards
from phases.serializers_graph import GraphAnswer, GraphQuestion


def flow_of(request: Request, key: str) -> Workflow:
    """The workflow of this key, or the team's default one. Raises NotFound."""
    flows = Workflow.objects.for_team(actor_of(request).team_id)
    flow = flows.filter(key=key).first() if key else flows.filter(is_default=True).first()
    if flow is None:
        keys = ", ".join(flows.order_by("key").values_list("key", flat=True))
        raise errors.NotFound(f"There is no such workflow; your team has {keys}.")
    return flow


class BoardView(TeamView):
    """The whole board of a workflow, and the number its live frames go on from."""

    scopes = {"get": "tickets:read"}

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "workflow", str, description="The key of a workflow; by default the team's first."
            )
        ],
        responses=OpenApiTypes.OBJECT,
    )
    def get(self, request: Request) -> Response:
        return Response(board.snapshot(flow_of(request, request.query_params.get("workflow", ""))))


class BoardGraphView(TeamView):
    """The tasks of all open tickets of a workflow, as a graph."""

    scopes = {"get": "tickets:read"}

    @extend_schema(parameters=[GraphQuestion], responses=GraphAnswer)
    def get(self, request: Request) -> Response:
        asked = validated(GraphQuestion, request.query_params.dict())
        return Response(board_graph(flow_of(request, asked.get("workflow", ""))))


class BoardCardsView(TeamView):
    """The next fifty cards of a column, behind the last one a page shows."""

    scopes = {"get": "tickets:read"}

    @extend_schema(parameters=[BoardCardsQuestion], responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        asked = validated(BoardCardsQuestion, request.query_params.dict())
        column = (
            BoardColumn.objects.for_team(actor_of(request).team_id)
            .filter(workflow__key=asked["workflow"], key=asked["column"])
            .prefetch_related("phases")
            .first()
        )
        if column is None:
            raise errors.NotFound("There is no such column.")
        after = Ticket.objects.filter(pk=asked["after"], team_id=column.team_id).first()
        if after is None:
            raise errors.NotFound("There is no such ticket.")
        return Response(board.more(column, after))


class BoardMoveView(TeamView):
    """Move a card, by hand."""

    scopes = {"post": "tickets:write"}
    version_required = frozenset({"post"})

    @extend_schema(request=MoveCard, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request) -> Response:
        body = validated(MoveCard, request.data)
        version = body.pop("version", None)
        if version is None:
            version = self.version()
        try:
            ticket = services.move_card(actor=actor_of(request), version=version, **body)
        except errors.DomainError as refusal:
            if isinstance(refusal, errors.StaleVersion):
                # What it is now, so that the next try needs no further question.
                refusal.data["card"] = board.cards([body["ticket_id"]])[0]
            # As in `transition`: what the gate answered stays.
            return self.handle_exception(refusal)
        return Response(board.cards([ticket.pk])[0], headers={"ETag": etag_of(ticket)})


class BoardBulkMoveView(TeamView):
    """Move up to a hundred cards by hand; each is answered for itself."""

    scopes = {"post": "tickets:write"}

    @extend_schema(request=MoveCards, responses=MovedCards)
    def post(self, request: Request) -> Response:
        body = validated(MoveCards, request.data)
        moves = [
            services.CardMove(move["ticket_id"], move["column"], move.get("version"))
            for move in body.pop("moves")
        ]
        try:
            results = services.move_cards(actor=actor_of(request), moves=moves, **body)
        except errors.DomainError as refusal:
            # As in `transition`: what the gates answered stays.
            return self.handle_exception(refusal)
        return Response({"results": results})
