"""Shapes of the claim endpoints."""

from rest_framework import serializers

from guardian.http import StrictSerializer


class Claim(StrictSerializer):
    capabilities = serializers.ListField(
        child=serializers.CharField(max_length=64), max_length=100, required=False
    )
    limit = serializers.IntegerField(min_value=1, max_value=10, default=1)
    lease_seconds = serializers.IntegerField(min_value=10, max_value=3600, default=60)
    phase = serializers.CharField(max_length=46, required=False, allow_null=True)
    ticket_id = serializers.UUIDField(required=False, allow_null=True)


class ClaimOne(StrictSerializer):
    capabilities = serializers.ListField(
        child=serializers.CharField(max_length=64), max_length=100, required=False
    )
    lease_seconds = serializers.IntegerField(min_value=10, max_value=3600, default=60)


class Heartbeat(StrictSerializer):
    fence = serializers.IntegerField(min_value=0)
    lease_seconds = serializers.IntegerField(min_value=10, max_value=3600, default=60)
    progress = serializers.FloatField(min_value=0, max_value=1, required=False)
    note = serializers.CharField(max_length=500, required=False, allow_blank=True)


class Complete(StrictSerializer):
    fence = serializers.IntegerField(min_value=0)
    result = serializers.DictField(default=dict)


class Failure(StrictSerializer):
    code = serializers.CharField(max_length=100)
    message = serializers.CharField(max_length=4000)
    permanent = serializers.BooleanField(required=False, allow_null=True)
    retry_after_seconds = serializers.IntegerField(
        min_value=1, max_value=86400, required=False, allow_null=True
    )


class Fail(StrictSerializer):
    fence = serializers.IntegerField(min_value=0)
    error = Failure()


class Release(StrictSerializer):
    fence = serializers.IntegerField(min_value=0)
    reason = serializers.CharField(max_length=2000)
    handoff = serializers.CharField(max_length=500, required=False, allow_blank=True)
