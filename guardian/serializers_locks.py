"""Shapes of locks: what is asked for, what is held, what waits."""

from typing import Any

from rest_framework import serializers

from guardian.models import LockRequest, ResourceLock
from guardian.outbox import PRIORITIES
from guardian.strict import StrictSerializer

METADATA_KEYS = 50
PRIORITY_WORDS = {number: word for word, number in PRIORITIES.items()}


class Resource(StrictSerializer):
    resource_type = serializers.RegexField(
        r"^[A-Za-z0-9_.-]+\Z",
        max_length=50,
        help_text="What kind of thing, such as `device`.",
        error_messages={"invalid": "Must be made of A-Z, a-z, 0-9, _, . and -."},
    )
    resource_id = serializers.CharField(max_length=200, trim_whitespace=False)


class LockAcquire(Resource):
    mode = serializers.ChoiceField(ResourceLock.Mode.choices, default="exclusive")
    lease_seconds = serializers.IntegerField(min_value=5, max_value=86400, default=3600)
    priority = serializers.ChoiceField(list(PRIORITIES), default="normal")
    wait = serializers.BooleanField(
        default=True, help_text="false: 409 lock_held instead of a place in the line."
    )
    wait_seconds = serializers.IntegerField(min_value=1, max_value=86400, default=3600)
    task_id = serializers.UUIDField(
        required=False, allow_null=True, help_text="A task of yours; the lock ends with it."
    )
    metadata = serializers.DictField(required=False)

    def validate_metadata(self, value: dict[str, Any]) -> dict[str, Any]:
        if len(value) > METADATA_KEYS:
            raise serializers.ValidationError(f"At most {METADATA_KEYS} keys.")
        return value


class LockRenew(StrictSerializer):
    fence = serializers.IntegerField(min_value=1, max_value=2**53)
    lease_seconds = serializers.IntegerField(
        min_value=5, max_value=86400, required=False, help_text="By default as long as before."
    )


class LockRelease(StrictSerializer):
    fence = serializers.IntegerField(min_value=1, max_value=2**53)


class LockVerify(Resource):
    fence = serializers.IntegerField(min_value=1, max_value=2**53)


class ReleaseAll(StrictSerializer):
    task_id = serializers.UUIDField(required=False)
    instance_id = serializers.UUIDField(required=False)
    holder_id = serializers.UUIDField(required=False)
    reason = serializers.CharField(min_length=3, max_length=500)


class FreedSerializer(serializers.Serializer[Any]):
    released = serializers.IntegerField()
    cancelled = serializers.IntegerField(help_text="Places in lines that were given up.")
    granted = serializers.IntegerField(help_text="Others who have one of these locks now.")


class LeaseSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="lock_id")
    fence = serializers.IntegerField()
    expires_at = serializers.DateTimeField()


class LeaseAnswer(serializers.Serializer[Any]):
    lock = LeaseSerializer()


class PlaceSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    position = serializers.IntegerField()
    queue_length = serializers.IntegerField()
    wait_until = serializers.DateTimeField()


class PlaceAnswer(serializers.Serializer[Any]):
    request = PlaceSerializer()


class ValidAnswer(serializers.Serializer[Any]):
    valid = serializers.BooleanField()


class LockSerializer(serializers.ModelSerializer[ResourceLock]):
    class Meta:
        model = ResourceLock
        fields = [
            "id",
            "resource_type",
            "resource_id",
            "mode",
            "state",
            "holder",
            "task_id",
            "instance_id",
            "fence",
            "lease_seconds",
            "expires_at",
            "acquired_at",
            "released_at",
            "release_reason",
            "metadata",
        ]


class LockRequestSerializer(serializers.ModelSerializer[LockRequest]):
    """A place in a line; once granted with the lock that came of it."""

    priority = serializers.SerializerMethodField()
    lock = serializers.SerializerMethodField()

    class Meta:
        model = LockRequest
        fields = [
            "id",
            "resource_type",
            "resource_id",
            "mode",
            "state",
            "requester",
            "task_id",
            "instance_id",
            "priority",
            "lease_seconds",
            "queued_at",
            "wait_until",
            "ended_at",
            "reason",
            "lock",
            "metadata",
        ]

    def get_priority(self, request: LockRequest) -> str:
        return PRIORITY_WORDS[request.priority]

    def get_lock(self, request: LockRequest) -> dict[str, Any] | None:
        """{id, fence, expires_at, state} of the granted lock."""
        lock = request.lock
        if lock is None:
            return None
        return {
            "id": str(lock.pk),
            "fence": lock.fence,
            "expires_at": lock.expires_at,
            "state": lock.state,
        }


class HolderSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    mode = serializers.CharField()
    task_id = serializers.UUIDField(allow_null=True)
    expires_at = serializers.DateTimeField()


class StatusSerializer(serializers.Serializer[Any]):
    resource_type = serializers.CharField()
    resource_id = serializers.CharField()
    state = serializers.ChoiceField(["locked", "available"])
    mode = serializers.CharField(allow_null=True)
    holders = HolderSerializer(many=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    queue_length = serializers.IntegerField()


class PositionedRequest(LockRequestSerializer):
    """One place, with how far it is from the head of the line."""

    position = serializers.IntegerField(help_text="From 1; 0 where it waits no longer.")
    queue_length = serializers.IntegerField()

    class Meta(LockRequestSerializer.Meta):
        fields = [*LockRequestSerializer.Meta.fields, "position", "queue_length"]


class BlockerSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    task_id = serializers.UUIDField(allow_null=True)
    holds = serializers.BooleanField(help_text="false: it waits too, further ahead in the line.")


class ConflictSerializer(serializers.Serializer[Any]):
    request = LockRequestSerializer()
    holders = BlockerSerializer(many=True)
    waited_seconds = serializers.FloatField()


class UserName(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()


class NodeSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    holder = UserName()
    task_id = serializers.UUIDField(allow_null=True)


class GraphSerializer(serializers.Serializer[Any]):
    nodes = NodeSerializer(many=True)
    edges = serializers.ListField(child=serializers.DictField())
    cycles = serializers.ListField(child=serializers.ListField(child=serializers.CharField()))
