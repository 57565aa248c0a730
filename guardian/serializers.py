"""Shapes of guardian's API."""

from rest_framework import serializers

from guardian.models import ApiToken
from guardian.strict import StrictSerializer


class TokenCreate(StrictSerializer):
    name = serializers.CharField(max_length=100)
    scopes = serializers.ListField(child=serializers.CharField(max_length=64), allow_empty=False)
    expires_at = serializers.DateTimeField(required=False)
    can_write = serializers.BooleanField(required=False)
    allowed_ips = serializers.ListField(child=serializers.CharField(max_length=64), required=False)
    user = serializers.UUIDField(required=False, help_text="An agent of the team.")
    authority_cap = serializers.IntegerField(min_value=1, max_value=5, required=False)


class Reason(StrictSerializer):
    reason = serializers.CharField(min_length=3, max_length=500)


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    class Meta:
        model = ApiToken
        fields = [
            "id",
            "name",
            "key_id",
            "user",
            "scopes",
            "can_write",
            "allowed_ips",
            "authority_cap",
            "expires_at",
            "last_used_at",
            "revoked_at",
            "created_at",
        ]
