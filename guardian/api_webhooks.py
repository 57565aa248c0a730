"""The API of webhooks."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from guardian import services
from guardian.http import TeamViewSet, etag_of, validated
from guardian.models import Webhook, WebhookDelivery
from guardian.webhook_shapes import (
    Secret,
    TestSent,
    WebhookChange,
    WebhookCreate,
    WebhookDeliverySerializer,
    WebhookSerializer,
    WebhookWithSecret,
    WhyIfAny,
)


class WebhookViewSet(TeamViewSet):
    """Addresses outside that are told of events."""

    queryset = Webhook.objects.all()
    serializer_class = WebhookSerializer
    scopes = {
        "list": "webhooks:read",
        "retrieve": "webhooks:read",
        "create": "webhooks:write",
        "partial_update": "webhooks:write",
        "destroy": "webhooks:write",
        "test": "webhooks:write",
        "rotate_secret": "webhooks:write",
    }
    filters = {"name": "name", "enabled": "enabled"}
    searched = ("name", "url")

    @extend_schema(request=WebhookCreate, responses={201: WebhookWithSecret})
    def create(self, request: Request) -> Response:
        """A new webhook. Its secret is in this answer and in no other."""
        webhook, secret = services.create_webhook(
            actor=self.actor, **validated(WebhookCreate, request.data)
        )
        body = {**WebhookSerializer(webhook).data, "secret": secret}
        return Response(body, status=201, headers={"ETag": etag_of(webhook)})

    @extend_schema(request=WebhookChange, responses=WebhookSerializer)
    def partial_update(self, request: Request, pk: UUID) -> Response:
        """Change it; `enabled: true` brings one back that was disabled."""
        webhook = services.change_webhook(
            actor=self.actor,
            webhook_id=pk,
            version=self.version(),
            **validated(WebhookChange, request.data),
        )
        return Response(WebhookSerializer(webhook).data, headers={"ETag": etag_of(webhook)})

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: UUID) -> Response:
        """Delete it with the record of what it was told."""
        services.delete_webhook(actor=self.actor, webhook_id=pk, version=self.version())
        return Response(status=204)

    @extend_schema(request=WhyIfAny, responses={202: TestSent})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: UUID) -> Response:
        """Send it an event of kind `guardian.webhook.tested`, whatever kinds it wants."""
        event = services.send_test_event(
            actor=self.actor, webhook_id=pk, **validated(WhyIfAny, request.data)
        )
        return Response({"event_id": str(event.pk)}, status=202)

    @extend_schema(request=WhyIfAny, responses=Secret)
    @action(detail=True, methods=["post"], url_path="rotate-secret")
    def rotate_secret(self, request: Request, pk: UUID) -> Response:
        """A new secret; for 24 hours requests carry a signature by each of the two."""
        webhook, secret = services.rotate_webhook_secret(
            actor=self.actor, webhook_id=pk, **validated(WhyIfAny, request.data)
        )
        return Response({"secret": secret}, headers={"ETag": etag_of(webhook)})


class WebhookDeliveryViewSet(TeamViewSet):
    """What webhooks were told."""

    queryset = WebhookDelivery.objects.all()
    serializer_class = WebhookDeliverySerializer
    scopes = {"list": "webhooks:read", "redeliver": "webhooks:write"}
    filters = {"state": "state", "event": "event", "kind": "event__kind"}

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset().select_related("event")
        webhook_id = self.kwargs.get("webhook_id")
        if webhook_id is None:
            return rows
        webhook = get_object_or_404(Webhook, pk=webhook_id, team_id=self.actor.team_id)
        return rows.filter(webhook=webhook)

    def list(self, request: Request, webhook_id: UUID | None = None) -> Response:
        """What a webhook was told, newest first."""
        return super().list(request)

    @extend_schema(request=WhyIfAny, responses={202: WebhookDeliverySerializer})
    @action(detail=True, methods=["post"])
    def redeliver(self, request: Request, pk: UUID) -> Response:
        """Send it once more at once, under the same `webhook-id`."""
        delivery = services.redeliver(
            actor=self.actor, delivery_id=pk, **validated(WhyIfAny, request.data)
        )
        return Response(WebhookDeliverySerializer(delivery).data, status=202)
