"""Carries what webhooks are told: takes a delivery up, sends it, writes down what came of it.

The network stands between two short transactions, never inside one.
"""

import time
from uuid import UUID

import structlog

from guardian import egress, metrics, tracing
from guardian.errors import EgressFailed, EgressRefused
from guardian.services import (
    Letter,
    Outcome,
    call_courier_again,
    settle_delivery,
    take_up_delivery,
)
from guardian.signatures import sign

log = structlog.get_logger(__name__)

# Then others get their turn; what is left is called for again.
ROUND_SECONDS = 10.0
ANSWER_BYTES = 1024


def deliver_due(webhook_id: UUID) -> int:
    """Send what is due at one webhook, for at most one round. Returns how many attempts it made."""
    end = time.monotonic() + ROUND_SECONDS
    done = 0
    while time.monotonic() < end:
        letter = take_up_delivery(webhook_id=webhook_id)
        if letter is None:
            break
        with tracing.span("lemnos.webhook", attempt=letter.attempt) as seen:
            outcome = post(letter)
            if not outcome.arrived:
                tracing.failed(seen, outcome.word)
        metrics.WEBHOOK_ATTEMPTS.count(result=outcome.word)
        settle_delivery(letter=letter, outcome=outcome)
        log.info(
            "webhook_sent",
            webhook=str(webhook_id),
            delivery=str(letter.delivery_id),
            attempt=letter.attempt,
            status=outcome.status,
            error=outcome.error,
        )
        done += 1
    else:
        call_courier_again(webhook_id=webhook_id)
    return done


def post(letter: Letter) -> Outcome:
    """One attempt."""
    timestamp = int(time.time())
    signatures = [
        sign(secret, message_id=letter.message_id, timestamp=timestamp, body=letter.body)
        for secret in letter.secrets
    ]
    headers = {
        "Content-Type": "application/json",
        "webhook-id": letter.message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }
    try:
        answer = egress.send(
            method="POST",
            url=letter.url,
            headers=headers,
            body=letter.body,
            answer_bytes=ANSWER_BYTES,
        )
    except (EgressRefused, EgressFailed) as failure:
        return Outcome(status=None, duration_ms=None, error=str(failure))
    return Outcome(answer.status, answer.duration_ms, _fault(answer.status))


def _fault(status: int) -> str:
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"It answered {status}; redirects are not followed: enter where it leads."
    return f"It answered {status}."
