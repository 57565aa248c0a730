"""Webhooks in the operators' admin."""

from django.contrib import admin

from guardian import console, models, services
from guardian.authority import Actor
from guardian.operators import RecordAdmin, Secret, reasoned_action

WRITE = "webhooks:write"


@admin.register(models.Webhook)
class WebhookAdmin(RecordAdmin):
    section = "Events"
    icon = "webhook"
    when_empty = "Nobody outside is told of events. POST /api/v1/webhooks names somebody."
    list_display = ["name", "url", "enabled", "failures", "disabled_reason", "created_at"]
    list_filter = ["enabled"]
    search_fields = ["name", "url"]

    @reasoned_action(
        label="Send a test",
        scope=WRITE,
        asks_reason=False,
        fits=lambda webhook: webhook.enabled,
    )
    def send_test(self, *, actor: Actor, row: models.Webhook) -> None:
        """Sends one event of kind guardian.webhook.tested to this webhook alone."""
        services.send_test_event(actor=actor, webhook_id=row.pk)

    @reasoned_action(label="Enable", scope=WRITE, fits=lambda webhook: not webhook.enabled)
    def enable(self, *, actor: Actor, row: models.Webhook, reason: str) -> None:
        """Its failures are forgotten; what still waited for it is sent at once."""
        services.change_webhook(actor=actor, webhook_id=row.pk, enabled=True, reason=reason)

    @reasoned_action(
        label="Disable", scope=WRITE, danger=True, fits=lambda webhook: webhook.enabled
    )
    def disable(self, *, actor: Actor, row: models.Webhook, reason: str) -> None:
        """What happens from now on is never told to it; what waits already goes on waiting."""
        services.change_webhook(actor=actor, webhook_id=row.pk, enabled=False, reason=reason)

    @reasoned_action(label="Rotate the secret", scope=WRITE, danger=True, bulk=False)
    def rotate(self, *, actor: Actor, row: models.Webhook, reason: str) -> Secret:
        """Makes a new secret and shows it once. The present one signs as well for 24 hours."""
        _, secret = services.rotate_webhook_secret(actor=actor, webhook_id=row.pk, reason=reason)
        return Secret(
            said=f"The new secret of {row.name}; the former signs on for 24 hours.", value=secret
        )


@admin.register(models.WebhookDelivery)
class WebhookDeliveryAdmin(RecordAdmin):
    section = "Events"
    icon = "outbound"
    list_select_related = ["webhook", "event"]
    list_display = [
        "created_at",
        "webhook",
        "event",
        "state",
        "attempt",
        "response_status",
        "error",
    ]
    list_filter = ["state", "response_status"]
    search_fields = ["webhook__name", "event__kind"]
    ordering = ["-id"]

    @reasoned_action(label="Send again", scope=WRITE)
    def redeliver(self, *, actor: Actor, row: models.WebhookDelivery, reason: str) -> None:
        """Sends it once more at once, under the same id, with all its attempts before it."""
        services.redeliver(actor=actor, delivery_id=row.pk, reason=reason)


console.tile(
    "Webhooks disabled by failures",
    models.Webhook,
    where={"enabled__exact": "0", "failures__gte": "1"},
    narrow=lambda rows: rows.filter(enabled=False, failures__gte=1),
    group="attention",
)
