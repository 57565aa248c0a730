"""The figures as shipped: the first price pack, and the newest one built."""

import hashlib
import json
import time
from typing import Any

from django.db import transaction
from django.utils import timezone

from guardian import events, metrics
from guardian.errors import PackNotFound
from guardian.models import CostRecord, PricePack
from guardian.outbox import emit

# USD per million tokens (prompt, completion), as shipped; later packs bring newer figures.
SHIPPED_PRICES: dict[str, dict[str, dict[str, str]]] = {
    provider: {
        model: {"prompt_per_million": prompt, "completion_per_million": completion}
        for model, (prompt, completion) in models.items()
    }
    for provider, models in {
        "openai": {
            "gpt-4-turbo": ("10", "30"),
            "gpt-4": ("30", "60"),
            "gpt-3.5-turbo": ("0.5", "1.5"),
            "text-embedding-3-small": ("0.02", "0"),
            "text-embedding-3-large": ("0.13", "0"),
        },
        "anthropic": {
            "claude-sonnet": ("3", "15"),
            "claude-opus": ("15", "75"),
            "claude-haiku": ("0.25", "1.25"),
        },
        "local": {"local": ("0", "0")},
    }.items()
}
DEFAULT_PRICE = {"prompt_per_million": "3", "completion_per_million": "15"}


@transaction.atomic
def build_first_pack() -> PricePack:
    """The shipped figures as the first fresh pack, offline, through the ordinary states."""
    fresh = PricePack.objects.filter(status="fresh").first()
    if fresh is not None:
        return fresh
    began = time.perf_counter()
    now = timezone.now()
    content = {"prices": SHIPPED_PRICES, "defaults": DEFAULT_PRICE}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    pack = PricePack.objects.create(
        id=f"PP_{now.date().isoformat()}",
        asof_date=now.date(),
        prices=SHIPPED_PRICES,
        defaults=DEFAULT_PRICE,
        content_hash=digest,
        sources=[{"name": "shipped", "fetched_at": now.isoformat(), "sha256": digest}],
        started_at=now,
    )
    pack.steps = [_step("build"), _reconcile(), _step("metrics"), _step("prewarm")]
    pack.reconciliation_passed = True
    pack.prewarm_done = True
    pack.mark_fresh()
    pack.built_at = timezone.now()
    pack.save()
    metrics.PACK_BUILD_SECONDS.on_commit(time.perf_counter() - began, policy=pack.policy or "none")
    emit(
        events.PACK_BUILT,
        subject=pack,
        asof_date=pack.asof_date.isoformat(),
        content_hash=digest,
    )
    return pack


def _step(name: str, **facts: Any) -> dict[str, Any]:
    return {"step": name, "ok": True, "at": timezone.now().isoformat(), **facts}


def _reconcile() -> dict[str, Any]:
    """The first pack has no predecessor, so there is nothing priced otherwise: it must be so."""
    unpriced = CostRecord.objects.filter(kind="charge", price_pack=None).count()
    return _step("reconcile", compared=unpriced, difference_bps="0")


def newest_pack_id() -> str:
    """The newest built pack. Raises PackNotFound."""
    pack = PricePack.objects.built().values_list("id", flat=True).first()
    if pack is None:
        raise PackNotFound
    return pack
