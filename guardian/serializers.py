"""Shapes of guardian's API."""

from typing import Any

from rest_framework import serializers

from guardian.models import ApiToken, Membership, User
from guardian.strict import StrictSerializer


class TokenCreate(StrictSerializer):
    name = serializers.CharField(max_length=100)
    scopes = serializers.ListField(child=serializers.CharField(max_length=64), allow_empty=False)
    expires_at = serializers.DateTimeField(required=False)
    can_write = serializers.BooleanField(required=False)
    allowed_ips = serializers.ListField(child=serializers.CharField(max_length=64), required=False)
    user = serializers.CharField(
        max_length=150, required=False, help_text="An agent of the team, by username or id."
    )
    authority_cap = serializers.IntegerField(min_value=1, max_value=5, required=False)


class TokenMade(serializers.Serializer[Any]):
    """A new token; its text is shown only here."""

    id = serializers.UUIDField()
    key_id = serializers.CharField()
    token = serializers.CharField()


class MyUser(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    username = serializers.CharField()


class MyTeam(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    slug = serializers.SlugField()


class Myself(serializers.Serializer[Any]):
    """Who asks, in which team, and what they may."""

    user = MyUser()
    kind = serializers.ChoiceField(choices=User.Kind.choices)
    team = MyTeam()
    role = serializers.ChoiceField(choices=Membership.Role.choices)
    authority = serializers.IntegerField(min_value=1, max_value=5)
    scopes = serializers.ListField(child=serializers.CharField())
    token_id = serializers.UUIDField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)


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
