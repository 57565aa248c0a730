"""Events by the clock over REST."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from guardian import services
from guardian.event_shapes import JsonObject, PriorityField
from guardian.http import TeamViewSet, etag_of, validated
from guardian.models import ScheduledEvent
from guardian.strict import StrictSerializer


class SchedulePatch(StrictSerializer):
    name = serializers.CharField(max_length=120, required=False)
    kind = serializers.CharField(max_length=100, trim_whitespace=False, required=False)
    cron = serializers.CharField(
        max_length=100, required=False, help_text="Minute, hour, day, month, weekday."
    )
    timezone = serializers.CharField(max_length=64, required=False)
    payload = JsonObject(required=False, help_text="At most 64 KiB.")
    priority = PriorityField(required=False)
    enabled = serializers.BooleanField(required=False)
    missed = serializers.ChoiceField(ScheduledEvent.Missed.choices, required=False)
    grace_seconds = serializers.IntegerField(min_value=0, max_value=604_800, required=False)


class ScheduleCreate(SchedulePatch):
    name = serializers.CharField(max_length=120)
    kind = serializers.CharField(max_length=100, trim_whitespace=False)
    cron = serializers.CharField(max_length=100, help_text="Minute, hour, day, month, weekday.")
    timezone = serializers.CharField(max_length=64, default="UTC")
    payload = JsonObject(default=dict, help_text="At most 64 KiB.")
    priority = PriorityField(default="normal")
    enabled = serializers.BooleanField(default=True)
    missed = serializers.ChoiceField(ScheduledEvent.Missed.choices, default="once")
    grace_seconds = serializers.IntegerField(min_value=0, max_value=604_800, default=300)


class RunNow(StrictSerializer):
    reason = serializers.CharField(min_length=3, max_length=500, required=False)


class RunNowAnswer(serializers.Serializer[None]):
    event_id = serializers.UUIDField()


class ScheduleSerializer(serializers.ModelSerializer[ScheduledEvent]):
    priority = PriorityField()

    class Meta:
        model = ScheduledEvent
        fields = [
            "id", "name", "kind", "cron", "timezone", "payload", "priority", "enabled", "missed",
            "grace_seconds", "last_run", "next_run", "run_count", "version", "created_at",
            "updated_at",
        ]  # fmt: skip


class ScheduleViewSet(TeamViewSet):
    """Events that come by the clock."""

    queryset = ScheduledEvent.objects.all()
    serializer_class = ScheduleSerializer
    scopes = {
        "list": "events:read",
        "retrieve": "events:read",
        "create": "events:schedule",
        "update": "events:schedule",
        "partial_update": "events:schedule",
        "destroy": "events:schedule",
        "run_now": "events:schedule",
    }
    filters = {
        "name": "name",
        "kind": "kind",
        "enabled": "enabled",
        "missed": "missed",
        "next_run": "next_run",
    }
    searched = ("name", "kind")

    @extend_schema(request=ScheduleCreate, responses={201: ScheduleSerializer})
    def create(self, request: Request) -> Response:
        """Let an event come by the clock."""
        schedule = services.create_schedule(
            actor=self.actor, **validated(ScheduleCreate, request.data)
        )
        return _shown(schedule, status=201)

    @extend_schema(request=ScheduleCreate, responses=ScheduleSerializer)
    def update(self, request: Request, pk: UUID) -> Response:
        """Replace a schedule; what is left out goes back to its default."""
        return self._changed(pk, validated(ScheduleCreate, request.data))

    @extend_schema(request=SchedulePatch, responses=ScheduleSerializer)
    def partial_update(self, request: Request, pk: UUID) -> Response:
        """Change some fields of a schedule; another time counts from now."""
        return self._changed(pk, validated(SchedulePatch, request.data))

    def _changed(self, pk: UUID, changes: dict[str, Any]) -> Response:
        schedule = services.update_schedule(
            actor=self.actor, schedule_id=pk, changes=changes, version=self.version()
        )
        return _shown(schedule)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: UUID) -> Response:
        """Delete a schedule; what it told stays."""
        services.delete_schedule(actor=self.actor, schedule_id=pk, version=self.version())
        return Response(status=204)

    @extend_schema(request=RunNow, responses={201: RunNowAnswer})
    @action(detail=True, methods=["post"], url_path="run-now")
    def run_now(self, request: Request, pk: UUID) -> Response:
        """Tell it now; its next time stays."""
        event = services.run_schedule_now(
            actor=self.actor, schedule_id=pk, **validated(RunNow, request.data)
        )
        return Response({"event_id": str(event.pk)}, status=201)


def _shown(schedule: ScheduledEvent, *, status: int = 200) -> Response:
    return Response(
        ScheduleSerializer(schedule).data, status=status, headers={"ETag": etag_of(schedule)}
    )
