"""Shapes of the API of webhooks."""

from typing import Any

from rest_framework import serializers

from guardian.models import Webhook, WebhookDelivery
from guardian.strict import StrictSerializer

KINDS = "Kinds or aliases of events; `a.*` is all that begin with `a.`, `*` is everything."


class WebhookCreate(StrictSerializer):
    name = serializers.CharField(max_length=100)
    url = serializers.CharField(max_length=2048, help_text="https, on the public internet.")
    kinds = serializers.ListField(
        child=serializers.CharField(max_length=100), min_length=1, max_length=50, help_text=KINDS
    )
    enabled = serializers.BooleanField(required=False)


class WebhookChange(StrictSerializer):
    name = serializers.CharField(max_length=100, required=False)
    url = serializers.CharField(max_length=2048, required=False)
    kinds = serializers.ListField(
        child=serializers.CharField(max_length=100),
        min_length=1,
        max_length=50,
        required=False,
        help_text=KINDS,
    )
    enabled = serializers.BooleanField(
        required=False, help_text="Enabling it forgets its failures and sends what waits."
    )
    reason = serializers.CharField(max_length=500, required=False)


class WhyIfAny(StrictSerializer):
    reason = serializers.CharField(max_length=500, required=False)


class WebhookSerializer(serializers.ModelSerializer[Webhook]):
    class Meta:
        model = Webhook
        fields = [
            "id",
            "name",
            "url",
            "kinds",
            "enabled",
            "generation",
            "rotated_at",
            "failures",
            "disabled_reason",
            "version",
            "created_by",
            "created_at",
            "updated_at",
        ]


class WebhookWithSecret(WebhookSerializer):
    """The one answer that shows the secret."""

    secret = serializers.CharField(read_only=True, help_text="Shown once: `whsec_…`.")

    class Meta(WebhookSerializer.Meta):
        fields = [*WebhookSerializer.Meta.fields, "secret"]


class Secret(serializers.Serializer[Any]):
    secret = serializers.CharField(help_text="Shown once; the old one signs for 24 h more.")


class TestSent(serializers.Serializer[Any]):
    event_id = serializers.UUIDField(help_text="The `webhook-id` that will arrive.")


class WebhookDeliverySerializer(serializers.ModelSerializer[WebhookDelivery]):
    kind = serializers.CharField(source="event.kind", read_only=True)

    class Meta:
        model = WebhookDelivery
        fields = [
            "id",
            "webhook",
            "event",
            "kind",
            "state",
            "attempt",
            "response_status",
            "duration_ms",
            "error",
            "next_at",
            "created_at",
            "updated_at",
        ]
