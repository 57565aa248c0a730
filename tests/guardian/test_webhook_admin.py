"""Webhooks by an operator's buttons: the same services, with a reason."""

import pytest
from django.contrib.messages import get_messages
from django.db import transaction
from django.test import Client
from django.urls import reverse

from guardian import events, outbox, relay, services
from guardian.models import Event, Webhook, WebhookDelivery
from guardian.signatures import secret_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def webhook(admin) -> Webhook:
    made, _ = services.create_webhook(
        actor=admin, name="ci", url="https://hooks.example.com/", kinds=["guardian.lock.*"]
    )
    return made


def enter(actor) -> Client:
    client = Client()
    client.force_login(actor.user)
    return client


def press(client, row, verb, **values):
    """As a browser does: open the page that asks, then send its form."""
    url = reverse(f"admin:guardian_{row._meta.model_name}_press", args=[row.pk, verb])
    seen = (client.get(url).context or {}).get("seen", "")
    return client.post(url, {"seen": seen, **values})


def shown(answer) -> list[str]:
    return [str(message) for message in get_messages(answer.wsgi_request)]


def test_rotating_shows_the_new_secret_once(admin, webhook):
    client = enter(admin)

    answer = press(client, webhook, "rotate", reason="it leaked")

    secret = secret_of(webhook.pk, 2)
    assert secret in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert secret not in str(answer.cookies) + "".join(shown(answer))
    page = reverse("admin:guardian_webhook_change", args=[webhook.pk])
    assert secret not in client.get(page).content.decode()
    assert Event.objects.get(kind=events.WEBHOOK_ROTATED).reason == "it leaked"


def test_disabling_and_enabling_keep_the_reason(admin, webhook):
    client = enter(admin)

    press(client, webhook, "disable", reason="their server is away")
    off = Webhook.objects.get()
    press(client, webhook, "enable", reason="it is back")

    assert (off.enabled, off.disabled_reason) == (False, "their server is away")
    assert Webhook.objects.get().enabled is True
    reasons = Event.objects.filter(kind=events.WEBHOOK_CHANGED).order_by("id")
    assert [event.reason for event in reasons] == ["their server is away", "it is back"]


def test_without_a_reason_nothing_changes(admin, webhook):
    for verb in ("rotate", "disable"):
        press(enter(admin), webhook, verb)

    after = Webhook.objects.get()
    assert (after.generation, after.enabled) == (1, True)


def test_a_test_and_a_redelivery_are_sent(admin, webhook):
    client = enter(admin)
    with transaction.atomic():
        outbox.emit(events.LOCK_RELEASED, actor=admin)
    relay.run_once()
    first = WebhookDelivery.objects.get()
    letter = services.take_up_delivery(webhook_id=webhook.pk)
    services.settle_delivery(letter=letter, outcome=services.Outcome(200, 1.0, ""))

    press(client, webhook, "send_test")
    press(client, first, "redeliver", reason="they lost it")
    relay.run_once()

    assert WebhookDelivery.objects.filter(event__kind=events.WEBHOOK_TESTED).count() == 1
    assert WebhookDelivery.objects.get(pk=first.pk).state == "pending"


def test_whoever_may_only_read_presses_nothing(lead, webhook):
    for verb in ("rotate", "disable", "send_test"):
        assert press(enter(lead), webhook, verb, reason="because").status_code == 403


def test_a_webhook_disabled_by_failures_asks_for_attention(admin, webhook):
    Webhook.objects.update(enabled=False, failures=20, disabled_reason="broken")
    client = enter(admin)

    home = client.get(reverse("admin:index")).content.decode()
    listed = client.get(
        reverse("admin:guardian_webhook_changelist"),
        {"enabled__exact": "0", "failures__gte": "1"},
    )

    assert "Webhooks disabled by failures" in home
    assert listed.status_code == 200
    assert str(webhook.pk) in listed.content.decode()
