"""The event log over REST; what needs to know of agents stands in orchestrator/api_events.py."""

from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter, OpenApiTypes, extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from guardian import errors, event_reads, services
from guardian.event_shapes import EventSerializer, Replay, ReplayAnswer, StatsAnswer
from guardian.exports import csv_rows, in_order, jsonl
from guardian.http import ListQuery, Page, TeamViewSet, is_whole_number, validated
from guardian.models import Event
from guardian.outbox import PRIORITIES

MOST_HOURS = 24 * 366
HOURS = OpenApiParameter(
    "hours", int, description=f"How far back, 1 to {MOST_HOURS} hours.", default=24
)


class EventQuery(ListQuery):
    """A list of events: a kind is meant by its stored name or the one outside programs use."""

    def filtered(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        whole = self.parameters
        asked = dict(whole)
        if kind := asked.pop("kind", ""):
            rows = rows.filter(_named(kind))
        if several := asked.pop("kind__in", ""):
            rows = rows.filter(_named(*(part.strip() for part in several.split(","))))
        if (word := asked.get("priority", "")) in PRIORITIES:
            asked["priority"] = str(PRIORITIES[word])
        self.parameters = asked
        try:
            return super().filtered(rows)
        finally:
            self.parameters = whole  # the cursor belongs to the list as it was asked


def _named(*names: str) -> Q:
    return Q(kind__in=names) | Q(alias__in=names)


class EventViewSet(TeamViewSet):
    """What happened; a list has the newest first unless `ordering` says otherwise."""

    queryset = Event.objects.prefetch_related("deliveries")
    serializer_class = EventSerializer
    scopes = {
        "list": "events:read",
        "retrieve": "events:read",
        "stats": "events:read",
        "replay": "system:operate",
        "export": "audit:export",
    }
    filters = {
        "kind": "kind",
        "alias": "alias",
        "priority": "priority",
        "actor": "actor_id",
        "subject_label": "subject_label",
        "subject_id": "subject_id",
        "source": "source",
        "since_seq": "seq__gt",
        "created_at": "created_at",
    }
    orderings = {"seq": "seq"}
    whole_lists = frozenset({"export"})  # they take the filters, and no pages

    def page(self, rows: QuerySet[Any] | None = None) -> Page:
        query = self._query()
        return query.page(query.filtered(self.get_queryset() if rows is None else rows))

    def _query(self) -> EventQuery:
        return EventQuery(
            self.request, Event, filters=self.filters, orderings=self.orderings, default="-id"
        )

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:  # noqa: FBT001, FBT002  REST framework's own signature
        """An export's `format` names no renderer: it writes itself."""
        if self.action == "export":
            return self.get_renderers()[0], "application/json"
        return super().perform_content_negotiation(request, force)

    @extend_schema(
        parameters=[OpenApiParameter("format", str, enum=["csv", "jsonl"], default="jsonl")],
        responses={
            (200, "application/jsonl"): OpenApiTypes.STR,
            (200, "text/csv"): OpenApiTypes.STR,
        },
    )
    @action(detail=False, methods=["get"], pagination_class=None)
    def export(self, request: Request) -> StreamingHttpResponse:
        """All numbered events that the list's filters find, oldest first, as one file."""
        wanted = request.query_params.get("format", "jsonl")
        if wanted not in {"csv", "jsonl"}:
            raise errors.BadFilter(path="format", reason="must be csv or jsonl")
        found = in_order(self._query().filtered(Event.objects.for_team(self.actor.team_id)))
        write, kind = (csv_rows, "text/csv") if wanted == "csv" else (jsonl, "application/jsonl")
        answer = StreamingHttpResponse(write(found), content_type=f"{kind}; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="events.{wanted}"'
        return answer

    @extend_schema(parameters=[HOURS], responses=StatsAnswer)
    @action(detail=False, methods=["get"])
    def stats(self, request: Request) -> Response:
        """How many events came, and how far their receivers are."""
        text = request.query_params.get("hours", "24")
        if not is_whole_number(text) or not 1 <= int(text[:9]) <= MOST_HOURS:
            raise errors.BadFilter(path="hours", reason=f"must be from 1 to {MOST_HOURS}")
        return Response(event_reads.statistics(team_id=self.actor.team_id, hours=int(text)))

    @extend_schema(request=Replay, responses={202: ReplayAnswer})
    @action(detail=True, methods=["post"])
    def replay(self, request: Request, pk: UUID) -> Response:
        """Let parked receivers of an event try again."""
        again = services.replay_event(
            actor=self.actor, event_id=pk, **validated(Replay, request.data)
        )
        handlers = [delivery.handler for delivery in again]
        return Response({"event_id": str(pk), "handlers": handlers}, status=202)
