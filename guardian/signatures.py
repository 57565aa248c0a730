"""Signatures of webhooks, as Standard Webhooks has them (standardwebhooks.com, symmetric v1)."""

import base64
import hashlib
import hmac
from uuid import UUID

from django.conf import settings

from guardian.errors import WebhookKeyMissing

PREFIX = "whsec_"


def secret_of(webhook_id: UUID, generation: int) -> str:
    """The secret of a webhook; derived anew each time, so that none is stored.

    Raises WebhookKeyMissing.
    """
    if not settings.WEBHOOK_KEY:
        raise WebhookKeyMissing
    name = f"lemnos webhook {webhook_id} {generation}"
    key = hmac.digest(settings.WEBHOOK_KEY.encode(), name.encode(), hashlib.sha256)
    return PREFIX + base64.b64encode(key).decode()


def sign(secret: str, *, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and base64 of HMAC-SHA256 over id.timestamp.body; `timestamp` in seconds."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    content = b".".join([message_id.encode(), str(timestamp).encode(), body])
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
