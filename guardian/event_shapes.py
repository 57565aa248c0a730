"""Shapes of the event log's API."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from guardian.kinds import PRIORITY_WORDS
from guardian.models import Delivery, Event
from guardian.strict import StrictSerializer


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "enum": list(PRIORITY_WORDS.values())},
            {"type": "integer", "minimum": 1, "maximum": 4},
        ]
    }
)
class PriorityField(serializers.Field[str, Any, Any, Any]):
    """critical, high, normal, low, or 1 to 4 for the same; read as the word."""

    default_error_messages = {
        "unknown": "Must be critical, high, normal, low, or a number from 1 to 4."
    }

    def to_internal_value(self, data: Any) -> str:
        if isinstance(data, int) and not isinstance(data, bool) and data in PRIORITY_WORDS:
            return PRIORITY_WORDS[data]
        if isinstance(data, str) and data in PRIORITY_WORDS.values():
            return data
        raise serializers.ValidationError(self.error_messages["unknown"], code="invalid")

    def to_representation(self, value: Any) -> Any:
        return PRIORITY_WORDS.get(value, value)


class JsonObject(serializers.DictField):
    """An object of any JSON values."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            self.fail("not_a_dict", input_type=type(data).__name__)
        return data


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    class Meta:
        model = Delivery
        fields = [
            "handler", "state", "attempts", "next_at", "processed_by", "processed_at",
            "duration_ms", "error",
        ]  # fmt: skip


class EventSerializer(serializers.ModelSerializer[Event]):
    deliveries = DeliverySerializer(many=True, read_only=True)

    class Meta:
        model = Event
        fields = [
            "id", "seq", "kind", "alias", "priority", "actor", "actor_kind", "authority",
            "subject_label", "subject_id", "data", "before", "after", "reason", "request_id",
            "source", "created_at", "prev_hash", "hash", "deliveries",
        ]  # fmt: skip


class Replay(StrictSerializer):
    handlers = serializers.ListField(
        child=serializers.CharField(max_length=120), required=False, allow_empty=False,
        help_text="Names of receivers; all parked ones unless given.",
    )  # fmt: skip
    reason = serializers.CharField(min_length=3, max_length=500)


class ReplayAnswer(serializers.Serializer[None]):
    event_id = serializers.UUIDField()
    handlers = serializers.ListField(child=serializers.CharField())


class StatsAnswer(serializers.Serializer[None]):
    window_hours = serializers.IntegerField()
    total = serializers.IntegerField()
    processed = serializers.IntegerField(help_text="Numbered, and no receiver left to run.")
    unprocessed = serializers.IntegerField()
    unhandled = serializers.IntegerField(help_text="Words about events that nobody wanted.")
    parked = serializers.IntegerField(help_text="Events with a receiver that was set aside.")
    distinct_types = serializers.IntegerField()
    mean_processing_ms = serializers.FloatField(allow_null=True)
    by_priority = serializers.DictField(child=serializers.IntegerField())
