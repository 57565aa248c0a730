"""What webhooks are told: each step of one delivery's life, every one a short transaction.

The row is the truth. A job only says "look": whichever runs first takes what is due, and a job that
was killed leaves a row whose lease ends.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from guardian import events
from guardian.authority import Actor, require_scope
from guardian.errors import IllegalTransition, NotFound
from guardian.kinds import patterns_for
from guardian.models import Event, Webhook, WebhookDelivery
from guardian.outbox import defer, emit
from guardian.services.webhooks import SCOPE
from guardian.signatures import secret_of
from guardian.webhook_body import body_of

# The waits after the first failures: 5 s, 5 min, 30 min, 2, 5, 10, 14 h.
WAITS_SECONDS = (5, 300, 1800, 7200, 18_000, 36_000, 50_400)
MOST_ATTEMPTS = len(WAITS_SECONDS) + 1
SPREAD = 0.2
# Longer than one exchange can take: a row in the air is not due before it must be lost.
LEASE = timedelta(seconds=30)
MOST_FAILURES = 20
GONE = 410
SWEPT_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Letter:
    """One delivery taken up for sending."""

    delivery_id: UUID
    attempt: int
    url: str = field(repr=False)
    message_id: str
    body: bytes = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt: an answer, or an error without one."""

    status: int | None
    duration_ms: float | None
    error: str

    @property
    def arrived(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def word(self) -> str:
        """The class of its answer, or that there was none."""
        return "no_answer" if self.status is None else f"{self.status // 100}xx"


def wanted_by_webhooks(batch: Sequence[Event]) -> Iterable[Event]:
    """Of a batch of events those that some webhook wants to hear: one query for all of them."""
    teams = {event.team_id for event in batch if event.team_id is not None}
    wishes: dict[UUID, set[str]] = {}
    enabled = Webhook.objects.enabled().filter(team_id__in=teams)
    for team_id, kinds in enabled.values_list("team_id", "kinds"):
        wishes.setdefault(team_id, set()).update(kinds)
    return [
        event for event in batch if event.team_id in wishes and _fits(event, wishes[event.team_id])
    ]


def _fits(event: Event, kinds: set[str]) -> bool:
    if event.kind == events.WEBHOOK_TESTED or "*" in kinds:
        return True
    return not kinds.isdisjoint(patterns_for(event.kind, event.alias))


@transaction.atomic
def queue_webhook_deliveries(*, event: Event) -> int:
    """A row for each webhook that wants this event, and a job for each. Returns how many."""
    if event.team_id is None:
        return 0
    webhooks = Webhook.objects.enabled().for_team(event.team_id)
    if event.kind == events.WEBHOOK_TESTED:
        webhooks = webhooks.filter(pk=event.subject_id)
    now = _database_now()
    rows = [
        WebhookDelivery(team_id=event.team_id, webhook=webhook, event=event, next_at=now)
        for webhook in webhooks
        if _fits(event, set(webhook.kinds))
    ]
    WebhookDelivery.objects.bulk_create(rows, ignore_conflicts=True)
    for row in rows:
        _call_courier(row.webhook_id)
    return len(rows)


def _call_courier(webhook_id: UUID) -> None:
    # One courier per webhook: an address that hangs holds up its own letters and nobody else's.
    name = f"guardian.deliver_webhook:{webhook_id}"
    defer(
        "guardian.deliver_webhook",
        queue="hooks",
        lock=name,
        queueing_lock=name,
        webhook_id=str(webhook_id),
    )


@transaction.atomic
def take_up_delivery(*, webhook_id: UUID) -> Letter | None:
    """The webhook's next due delivery, leased to the caller for sending; None: nothing is due.

    Raises WebhookKeyMissing.
    """
    delivery = (
        WebhookDelivery.objects.select_for_update(of=("self",), skip_locked=True)
        .select_related("webhook", "event")
        .pending()
        .filter(webhook_id=webhook_id, webhook__enabled=True, next_at__lte=Now())
        .order_by("next_at", "id")
        .first()
    )
    if delivery is None:
        return None
    webhook = delivery.webhook
    delivery.attempt += 1
    delivery.next_at = _database_now() + LEASE
    delivery.save(update_fields=["attempt", "next_at", "updated_at"])
    generations = [webhook.generation]
    if webhook.rotated_at is not None and webhook.rotated_at > timezone.now() - Webhook.OVERLAP:
        generations.append(webhook.generation - 1)
    return Letter(
        delivery_id=delivery.pk,
        attempt=delivery.attempt,
        url=webhook.url,
        message_id=str(delivery.event_id),
        body=body_of(delivery.event),
        secrets=tuple(secret_of(webhook.pk, generation) for generation in generations),
    )


@transaction.atomic
def settle_delivery(*, letter: Letter, outcome: Outcome) -> WebhookDelivery | None:
    """Write down what came of an attempt. None: its lease ended and somebody else took it up."""
    # The webhook first: so do its own verbs, which also wait for their deliveries.
    found = WebhookDelivery.objects.filter(pk=letter.delivery_id).values_list("webhook_id").first()
    webhook = (
        Webhook.objects.select_for_update(no_key=True).filter(pk=found[0]).first()
        if found
        else None
    )
    delivery = (
        WebhookDelivery.objects.select_for_update()
        .pending()
        .filter(pk=letter.delivery_id, attempt=letter.attempt)
        .first()
    )
    if delivery is None or webhook is None:
        return None
    delivery.response_status = outcome.status
    delivery.duration_ms = outcome.duration_ms
    delivery.error = outcome.error[:500]
    if outcome.arrived:
        delivery.arrive()
        if webhook.failures:
            webhook.failures = 0
            webhook.save(update_fields=["failures", "updated_at"])
    elif outcome.status == GONE or letter.attempt >= MOST_ATTEMPTS:
        delivery.park()
        _count_failure(webhook, gone=outcome.status == GONE)
    else:
        wait = WAITS_SECONDS[letter.attempt - 1]
        spread = random.uniform(1 - SPREAD, 1 + SPREAD)  # noqa: S311  no secret hangs on it
        delivery.next_at = _database_now() + timedelta(seconds=wait * spread)
    delivery.save()
    return delivery


def _count_failure(webhook: Webhook, *, gone: bool) -> None:
    webhook.failures += 1
    webhook.save(update_fields=["failures", "updated_at"])
    if gone:
        _disable(webhook, "It answered 410 Gone: this address wants no more.")
    elif webhook.failures >= MOST_FAILURES:
        _disable(webhook, f"{webhook.failures} deliveries in a row did not arrive.")


def _disable(webhook: Webhook, reason: str) -> None:
    if not webhook.enabled:
        return
    webhook.enabled = False
    webhook.disabled_reason = reason
    webhook.version += 1
    webhook.save(update_fields=["enabled", "disabled_reason", "version", "updated_at"])
    emit(
        events.WEBHOOK_DISABLED,
        subject=webhook,
        priority="high",
        reason=reason,
        name=webhook.name,
        failures=webhook.failures,
    )


@transaction.atomic
def redeliver(*, actor: Actor, delivery_id: UUID, reason: str = "") -> WebhookDelivery:
    """Send an event once more at once, under the same id, with all attempts before it.

    Raises NotFound, ScopeMissing, IllegalTransition.
    """
    require_scope(actor, SCOPE)
    delivery = (
        WebhookDelivery.objects.for_team(actor.team_id)
        .select_for_update(of=("self",))
        .select_related("webhook")
        .filter(pk=delivery_id)
        .first()
    )
    if delivery is None:
        raise NotFound("There is no such delivery.")
    if not delivery.webhook.enabled:
        raise IllegalTransition("Its webhook is disabled; enable it first.", allowed=["enable"])
    if delivery.state != WebhookDelivery.State.PENDING:
        delivery.repeat()
    delivery.next_at = _database_now()
    delivery.save()
    emit(
        events.WEBHOOK_REDELIVERED,
        subject=delivery,
        actor=actor,
        reason=reason,
        webhook_id=str(delivery.webhook_id),
        event_id=str(delivery.event_id),
    )
    _call_courier(delivery.webhook_id)
    return delivery


@transaction.atomic
def call_courier_again(*, webhook_id: UUID) -> bool:
    """Call for what a courier left due at the end of its round. False: nothing is."""
    left = WebhookDelivery.objects.pending().filter(webhook_id=webhook_id, next_at__lte=Now())
    if not left.filter(webhook__enabled=True).exists():
        return False
    _call_courier(webhook_id)
    return True


@transaction.atomic
def sweep_webhook_deliveries() -> int:
    """Call a courier for each webhook with something due: retries, and what died in mid-flight."""
    due = (
        WebhookDelivery.objects.pending()
        .filter(next_at__lte=Now(), webhook__enabled=True)
        .order_by("webhook_id")
        .values_list("webhook_id", flat=True)
        .distinct()[:SWEPT_AT_ONCE]
    )
    webhooks = list(due)
    for webhook_id in webhooks:
        _call_courier(webhook_id)
    return len(webhooks)


def _database_now() -> datetime:
    """Its clock alone decides what is due, whatever the hosts' own clocks say."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cast("tuple[datetime]", cursor.fetchone())[0]
