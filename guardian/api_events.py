"""The event log over REST; what needs to know of agents stands in orchestrator/api_events.py."""

from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from guardian import errors, event_reads, services
from guardian.event_shapes import EventSerializer, Replay, ReplayAnswer, StatsAnswer
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
    """What happened, in the order of its numbers."""

    queryset = Event.objects.prefetch_related("deliveries")
    serializer_class = EventSerializer
    scopes = {
        "list": "events:read",
        "retrieve": "events:read",
        "stats": "events:read",
        "replay": "system:operate",
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

    def page(self, rows: QuerySet[Any] | None = None) -> Page:
        rows = self.get_queryset() if rows is None else rows
        query = EventQuery(
            self.request, Event, filters=self.filters, orderings=self.orderings, default="-id"
        )
        return query.page(query.filtered(rows))

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
