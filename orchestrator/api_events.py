"""What comes in from outside: events, and the three alarms that have an address of their own."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from guardian.errors import NotFound
from guardian.event_shapes import JsonObject, PriorityField
from guardian.http import TeamView, validated
from guardian.strict import StrictSerializer
from orchestrator import services

SCOPE = "events:publish"


class Publish(StrictSerializer):
    type = serializers.CharField(
        max_length=200, trim_whitespace=False, help_text="Two or three dotted words of a-z 0-9 _."
    )
    payload = JsonObject(default=dict, help_text="At most 64 KiB.")
    priority = PriorityField(default="normal")
    team_id = serializers.UUIDField(required=False, help_text="Your own team's, if at all.")


class Blackscreen(StrictSerializer):
    device_id = serializers.CharField(max_length=200)
    payload = JsonObject(default=dict, help_text="At most 64 KiB.")


class DeviceOffline(StrictSerializer):
    device_id = serializers.CharField(max_length=200)
    duration = serializers.IntegerField(
        default=300, min_value=0, max_value=2**31 - 1, help_text="Seconds."
    )


class Deployed(StrictSerializer):
    version = serializers.CharField(max_length=200)
    userinterface = serializers.CharField(max_length=200)
    environment = serializers.CharField(max_length=100, default="staging")


class EmitAnswer(serializers.Serializer[None]):
    event_id = serializers.UUIDField()
    routed = serializers.BooleanField(help_text="Whether an agent wants to hear of it.")


class PublishAnswer(EmitAnswer):
    matched = serializers.IntegerField(help_text="How many agents want to hear of it.")


class TriggerOfType(serializers.Serializer[None]):
    agent = serializers.CharField()
    type = serializers.CharField()
    priority = serializers.CharField()
    filters = serializers.DictField()


class EventType(serializers.Serializer[None]):
    type = serializers.CharField()
    count_24h = serializers.IntegerField()
    last_at = serializers.DateTimeField(allow_null=True)
    triggers = TriggerOfType(many=True)


class TypesAnswer(serializers.Serializer[None]):
    types = EventType(many=True)
    total = serializers.IntegerField()


class PublishView(TeamView):
    """Publish an event from outside."""

    scopes = {"post": SCOPE}

    @extend_schema(request=Publish, responses={201: PublishAnswer})
    def post(self, request: Request) -> Response:
        body = validated(Publish, request.data)
        if body.get("team_id", self.actor.team_id) != self.actor.team_id:
            raise NotFound("There is no such team.")
        told = services.publish(
            actor=self.actor, kind=body["type"], payload=body["payload"], priority=body["priority"]
        )
        return Response(
            {"event_id": str(told.event_id), "routed": told.routed, "matched": told.matched},
            status=201,
        )


class _Alarm(TeamView):
    """An event of a fixed kind, from a body of its own."""

    scopes = {"post": SCOPE}
    kind: str
    priority: str

    def told(self, payload: dict[str, Any]) -> Response:
        told = services.publish(
            actor=self.actor, kind=self.kind, payload=payload, priority=self.priority
        )
        return Response({"event_id": str(told.event_id), "routed": told.routed}, status=201)


class BlackscreenView(_Alarm):
    """Tell that a device shows nothing."""

    kind, priority = "alert.blackscreen", "critical"

    @extend_schema(request=Blackscreen, responses={201: EmitAnswer})
    def post(self, request: Request) -> Response:
        body = validated(Blackscreen, request.data)
        return self.told({**body["payload"], "device_id": body["device_id"]})


class DeviceOfflineView(_Alarm):
    """Tell that a device is away."""

    kind, priority = "alert.device_offline", "high"

    @extend_schema(request=DeviceOffline, responses={201: EmitAnswer})
    def post(self, request: Request) -> Response:
        return self.told(validated(DeviceOffline, request.data))


class DeployedView(_Alarm):
    """Tell that a build was deployed."""

    kind, priority = "build.deployed", "high"

    @extend_schema(request=Deployed, responses={201: EmitAnswer})
    def post(self, request: Request) -> Response:
        return self.told(validated(Deployed, request.data))


class TypesView(TeamView):
    """Which kinds of events there are, and whom they call."""

    scopes = {"get": "events:read"}

    @extend_schema(responses=TypesAnswer)
    def get(self, request: Request) -> Response:
        types = services.event_types(team_id=self.actor.team_id)
        return Response({"types": types, "total": len(types)})
