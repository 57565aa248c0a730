"""Shapes of the claim endpoints."""

import json
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from guardian.http import StrictSerializer

ARTIFACT_LIMIT_BYTES = 256 * 1024


class FenceField(serializers.IntegerField):
    """A lease's number: at most what the column holds."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=0, max_value=2**63 - 1, **options)


class Claim(StrictSerializer):
    capabilities = serializers.ListField(
        child=serializers.CharField(max_length=64), max_length=100, required=False
    )
    limit = serializers.IntegerField(min_value=1, max_value=10, default=1)
    lease_seconds = serializers.IntegerField(min_value=10, max_value=3600, default=60)
    phase = serializers.CharField(max_length=46, required=False, allow_null=True)
    ticket_id = serializers.UUIDField(required=False, allow_null=True)


class ClaimNext(StrictSerializer):
    """What to claim with the completion: as Claim, but one task, for it takes the place of one."""

    capabilities = serializers.ListField(
        child=serializers.CharField(max_length=64), max_length=100, default=list
    )
    lease_seconds = serializers.IntegerField(min_value=10, max_value=3600, default=60)
    phase = serializers.CharField(max_length=46, required=False, allow_null=True)
    ticket_id = serializers.UUIDField(required=False, allow_null=True)


class ClaimOne(StrictSerializer):
    capabilities = serializers.ListField(
        child=serializers.CharField(max_length=64), max_length=100, required=False
    )
    lease_seconds = serializers.IntegerField(min_value=10, max_value=3600, default=60)


class Heartbeat(StrictSerializer):
    fence = FenceField()
    lease_seconds = serializers.IntegerField(min_value=10, max_value=3600, default=60)
    progress = serializers.FloatField(min_value=0, max_value=1, required=False)
    note = serializers.CharField(max_length=500, required=False, allow_blank=True)


class TextField(serializers.CharField):
    """Text as it is: no number is made text, no space is cut off."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_blank=True, trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


@extend_schema_field(
    {"oneOf": [{"type": "string"}, {"type": "object", "additionalProperties": True}]}
)
class RemarkField(serializers.Field[Any, Any, Any, Any]):
    """One decision, risk or note: text, or an object that says more."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, (str, dict)):
            raise serializers.ValidationError("Must be text or an object.")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class ResultArtifact(serializers.Serializer[Any]):
    type = serializers.SlugField(max_length=64)
    path = TextField(max_length=500, required=False)
    content = serializers.JSONField(required=False, allow_null=True)

    def validate_content(self, value: Any) -> Any:
        if len(json.dumps(value, ensure_ascii=False).encode()) > ARTIFACT_LIMIT_BYTES:
            raise serializers.ValidationError("Must be at most 256 KiB.")
        return value


class Result(serializers.Serializer[Any]):
    """What a task gives: fields that others read have a shape, further ones are kept as sent."""

    summary = TextField(max_length=65536, required=False)
    outputs = serializers.DictField(required=False)
    decisions = serializers.ListField(child=RemarkField(), max_length=1000, required=False)
    risks = serializers.ListField(child=RemarkField(), max_length=1000, required=False)
    notes = serializers.ListField(child=RemarkField(), max_length=1000, required=False)
    artifacts = serializers.ListField(child=ResultArtifact(), max_length=200, required=False)

    def to_internal_value(self, data: Any) -> Any:
        super().to_internal_value(data)
        return data


class Complete(StrictSerializer):
    fence = FenceField()
    result = Result(default=dict)
    claim_next = ClaimNext(required=False)


class Failure(StrictSerializer):
    code = serializers.CharField(max_length=100)
    message = serializers.CharField(max_length=4000)
    permanent = serializers.BooleanField(required=False, allow_null=True)
    retry_after_seconds = serializers.IntegerField(
        min_value=1, max_value=86400, required=False, allow_null=True
    )


class Fail(StrictSerializer):
    fence = FenceField()
    error = Failure()


class Release(StrictSerializer):
    fence = FenceField()
    reason = serializers.CharField(max_length=2000)
    handoff = serializers.CharField(max_length=500, required=False, allow_blank=True)
