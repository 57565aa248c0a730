"""Webhooks in the operators' admin."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.html import format_html

from guardian import console, links, models, services
from guardian.authority import Actor
from guardian.form_fields import LinesField
from guardian.operators import Fields, RecordAdmin, Secret, reasoned_action

WRITE = "webhooks:write"


def webhook_fields(given: Any) -> Fields:
    """For a new webhook (`given` is the actor) or this one."""
    row = given if isinstance(given, models.Webhook) else None
    return {
        "name": forms.CharField(max_length=100, initial=row and row.name),
        "url": forms.CharField(
            max_length=2048,
            initial=row and row.url,
            label="Address",
            help_text="https, on the public internet.",
        ),
        "kinds": LinesField(
            initial=row.kinds if row else ["*"],
            label="Kinds of events",
            help_text="One a line: a kind or alias, a.* for all that begin so, * for everything.",
        ),
        "enabled": forms.BooleanField(
            required=False, initial=row is None or row.enabled, label="Tell it"
        ),
    }


@admin.register(models.Webhook)
class WebhookAdmin(RecordAdmin):
    section = "Events"
    icon = "webhook"
    when_empty = (
        "Nobody outside is told of events. “New webhook” or POST /api/v1/webhooks names one."
    )
    list_display = ["name", "url", "enabled", "not_arriving", "failures", "disabled_reason"]
    list_filter = ["enabled"]
    search_fields = ["name", "url"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        failing = failing_among(models.WebhookDelivery.objects.filter(webhook=OuterRef("pk")))
        counted = failing.order_by().values("webhook").annotate(n=Count("pk")).values("n")
        return super().get_queryset(request).annotate(failing=Coalesce(Subquery(counted), 0))

    @admin.display(description="not arriving", ordering="failing")
    def not_arriving(self, row: Any) -> Any:
        """How many deliveries were refused or lost and are tried again."""
        if not row.failing:
            return "–"
        url = links.list_of(models.WebhookDelivery, webhook__id__exact=row.pk, arrival="failing")
        return format_html('<a class="lem-badge lem-bad" href="{}">{}</a>', url, row.failing)

    @reasoned_action(
        label="New webhook", scope=WRITE, asks_reason=False, on_list=True, fields=webhook_fields
    )
    def make(self, *, actor: Actor, **values: Any) -> Secret:
        """Tells somebody outside of events from now on. Its secret is shown once, on the next page.

        It signs what is sent, so that the receiver knows it is from here.
        """
        webhook, secret = services.create_webhook(actor=actor, **values)
        return Secret(said=f"The secret of {webhook.name}; each request is signed.", value=secret)

    @reasoned_action(label="Change…", scope=WRITE, fields=webhook_fields)
    def change(self, *, actor: Actor, row: models.Webhook, reason: str, **values: Any) -> None:
        """Name, address, kinds, or whether it is told at all; the secret stays."""
        services.change_webhook(
            actor=actor, webhook_id=row.pk, version=row.version, reason=reason, **values
        )

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

    @reasoned_action(label="Delete", scope=WRITE, danger=True, bulk=False)
    def remove(self, *, actor: Actor, row: models.Webhook, reason: str) -> None:
        """Takes this webhook away with the record of all it was ever told."""
        services.delete_webhook(actor=actor, webhook_id=row.pk, reason=reason)


def failing_among(deliveries: QuerySet[Any]) -> QuerySet[Any]:
    """Those that were tried, did not arrive, and are tried again."""
    return deliveries.filter(state=models.WebhookDelivery.State.PENDING).exclude(error="")


class Arrival(admin.SimpleListFilter):
    """Whether what is sent arrives."""

    title = "arrival"
    parameter_name = "arrival"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("failing", "Did not arrive, is tried again")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return failing_among(queryset) if self.value() == "failing" else queryset


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
    list_filter = [Arrival, "state", "response_status", "webhook"]
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
console.tile(
    "Webhook deliveries that do not arrive",
    models.WebhookDelivery,
    where={"arrival": "failing"},
    narrow=failing_among,
    group="attention",
)
