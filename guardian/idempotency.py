"""The same request sent twice has one effect: its answer is kept beside the effect for a day."""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.http import Http404
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder
from rest_framework.views import APIView

from guardian import errors
from guardian.identity import actor_of
from guardian.models import IdempotencyKey
from guardian.redaction import REDACTED

_KEPT_HEADERS = frozenset({"ETag", "Location", "Retry-After"})
# Members of an answer that nothing of Lemnos keeps.
SHOWN_ONCE = frozenset({"token", "secret"})
PROBLEM = "application/problem+json"
KEPT = timedelta(hours=24)
# Such a refusal says when to ask again, and then it has to be asked anew.
TOO_SOON = 429


def once(
    view: APIView, request: Request, work: Callable[[], Response], *, fingerprint: str = ""
) -> Response:
    """The work, at most once if the request carries an Idempotency-Key."""
    if not request.headers.get("Idempotency-Key"):
        return work()
    return run_once(request, work, on_error=view.handle_exception, fingerprint=fingerprint)


def run_once(
    request: Request,
    work: Callable[[], Response],
    *,
    on_error: Callable[[Exception], Response],
    fingerprint: str = "",
) -> Response:
    """Run a POST at most once per (owner, Idempotency-Key); its answer commits with its effect.

    `fingerprint` stands for a body that is no JSON. What an answer shows only once, such as a new
    token, is not kept: a repeated request gets `[redacted]` in its place.
    """
    actor = actor_of(request)
    key = request.headers["Idempotency-Key"]
    if len(key) > 255:
        raise errors.Invalid(path="Idempotency-Key", reason="must be at most 255 characters long")
    if not key.isprintable():
        raise errors.Invalid(path="Idempotency-Key", reason="must be printable text")
    owner = str(actor.token_id or actor.id)
    body = fingerprint or (request.data if isinstance(request.data, dict) else {})
    digest = hashlib.sha256(
        json.dumps(
            # The team: a person who goes on in another asks for something else there.
            [request.method, request.path, str(actor.team_id), body],
            sort_keys=True,
            default=str,
        ).encode()
    ).hexdigest()
    with transaction.atomic():
        connection = transaction.get_connection()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_lock_of(owner, key)])
            if not (cursor.fetchone() or (False,))[0]:
                raise errors.IdempotencyInProgress
        stored = IdempotencyKey.objects.filter(owner=owner, key=key).first()
        if stored is not None and stored.created_at > timezone.now() - KEPT:
            return _replay(stored, digest)
        response = _attempt(work, on_error)
        if response.status_code < 500 and response.status_code != TOO_SOON:
            if stored is not None:  # its day is over before it was swept
                stored.delete()
            IdempotencyKey.objects.create(
                owner=owner,
                key=key,
                request_hash=digest,
                status=response.status_code,
                # A text in the JSON: jsonb would put the members in an order of its own.
                body=json.dumps(_kept(getattr(response, "data", None)), cls=JSONEncoder),
                headers={k: v for k, v in response.headers.items() if k in _KEPT_HEADERS},
                created_at=timezone.now(),
            )
        return response


def _lock_of(owner: str, key: str) -> int:
    """The advisory lock that a request under this key holds while it runs."""
    return int.from_bytes(hashlib.sha256(f"{owner}:{key}".encode()).digest()[:8], signed=True)


def _replay(stored: IdempotencyKey, digest: str) -> Response:
    if stored.request_hash != digest:
        raise errors.IdempotencyKeyReused
    return Response(
        json.loads(stored.body),
        status=stored.status,
        content_type=PROBLEM if stored.status >= 400 else None,
        headers={**stored.headers, "Idempotency-Replayed": "true"},
    )


def _attempt(work: Callable[[], Response], on_error: Callable[[Exception], Response]) -> Response:
    """The work in a savepoint: a refusal undoes its writes and is itself the stored answer."""
    try:
        with transaction.atomic():
            return work()
    except (errors.DomainError, serializers.ValidationError, Http404, IntegrityError) as error:
        if isinstance(error, IntegrityError):
            raise
        return on_error(error)


def _kept(body: Any) -> Any:
    """The answer without what is shown only once."""
    if not isinstance(body, dict):
        return body
    return {k: REDACTED if k in SHOWN_ONCE and v else v for k, v in body.items()}
