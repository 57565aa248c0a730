"""The purse: reserve before work, charge with the step, free the rest at the end."""

import hashlib
import json
import time
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum
from django.utils import timezone

from guardian import events, metrics
from guardian.authority import Actor, require_scope
from guardian.errors import BudgetExceeded, PackNotFound
from guardian.models import Budget, CostRecord, PricePack, Team
from guardian.outbox import emit
from guardian.services.budgets import begin_period, checked_scope, is_over, mark_budgets

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
MILLION = Decimal(1_000_000)
UNIT = Decimal("0.0000000001")
# Locks are always taken in this order, so two reserves never wait for each other.
SCOPE_ORDER = ["global", "team", "pattern", "phase", "ticket", "agent", "run"]


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


def _wanted(team: Team, scopes: dict[str, str]) -> "QuerySet[Budget]":
    wanted = Q(scope_type="team")
    for scope_type, scope_id in scopes.items():
        wanted |= Q(scope_type=scope_type, scope_id=scope_id)
    now = timezone.now()
    # Of a custom period only the time between its bounds is limited.
    wanted &= ~Q(period="custom") | Q(period_start__lte=now, period_end__gt=now)
    return Budget.objects.for_team(team.pk).filter(wanted)


def _matching(team: Team, scopes: dict[str, str]) -> list[Budget]:
    found = list(_wanted(team, scopes).order_by("id").select_for_update())
    for budget in found:
        begin_period(budget)
    return sorted(found, key=lambda b: (SCOPE_ORDER.index(b.scope_type), str(b.pk)))


@transaction.atomic
def reserve_budget(
    *, team: Team, scopes: dict[str, str], estimate: Decimal, task_id: UUID, ticket_id: UUID
) -> CostRecord | None:
    """Hold the estimate in every budget that covers this work; None where none does.

    `scopes`: scope type → id, for example {"ticket": "…", "phase": "…"}. Raises BudgetExceeded.
    """
    budgets = _matching(team, scopes)
    if not budgets:
        return None
    for budget in budgets:
        if budget.spent + budget.reserved + estimate > budget.limit:
            raise BudgetExceeded(
                f"The {budget.scope_type} budget does not allow {estimate} more.",
                scope=budget.scope_type,
                limit=str(budget.limit),
                spent=str(budget.spent),
                reserved=str(budget.reserved),
            )
    ids = [budget.pk for budget in budgets]
    Budget.objects.filter(pk__in=ids).update(reserved=F("reserved") + estimate)
    mark_budgets(ids)
    return CostRecord.objects.create(
        team=team,
        kind="hold",
        amount=estimate,
        task_id=task_id,
        ticket_id=ticket_id,
        budgets=ids,
        price_pack_id=newest_pack_id(),
    )


def check_budget(
    *, actor: Actor, scope_type: str, scope_id: str = "", estimate: Decimal = Decimal(0)
) -> dict[str, Any]:
    """Whether a reservation of the estimate would pass for one scope and its team now.

    {available, spent, reserved, remaining, utilisation, blocking}: figures of the budget with
    least left, null where nothing limits it. Reserves nothing. Raises ScopeMissing, Invalid.
    """
    require_scope(actor, "costs:read")
    scope_id = checked_scope(actor, scope_type, scope_id)
    budgets = list(_wanted(actor.team, {} if scope_type == "team" else {scope_type: scope_id}))
    for budget in budgets:
        if is_over(budget):
            budget.spent = Decimal(0)
    blocking = [b.pk for b in budgets if b.spent + b.reserved + estimate > b.limit]
    tightest = min(budgets, key=lambda b: b.limit - b.spent - b.reserved, default=None)
    return {
        "available": not blocking,
        "spent": tightest.spent if tightest else Decimal(0),
        "reserved": tightest.reserved if tightest else Decimal(0),
        "remaining": tightest.limit - tightest.spent - tightest.reserved if tightest else None,
        "utilisation": float(tightest.spent / tightest.limit)
        if tightest and tightest.limit
        else None,
        "blocking": blocking,
    }


@transaction.atomic
def charge(
    *,
    team: Team,
    task_id: UUID | None,
    ticket_id: UUID | None,
    provider: str,
    model: str,
    prompt_tokens: int,
    completion_tokens: int,
    run_id: UUID | None = None,
) -> CostRecord:
    """One charge at the pinned pack's price: tokens × figure / 1,000,000.

    A model that the pack does not name costs the default price, marked as estimated.

    Raises PackNotFound.
    """
    hold = _open_hold(task_id) if task_id else None
    pack = PricePack.objects.get(pk=hold.price_pack_id if hold else newest_pack_id())
    figures = pack.prices.get(provider, {}).get(model)
    price = figures or pack.defaults
    prompt_cost = _cost(prompt_tokens, price["prompt_per_million"])
    completion_cost = _cost(completion_tokens, price["completion_per_million"])
    amount = prompt_cost + completion_cost
    record = CostRecord.objects.create(
        team=team,
        kind="charge",
        amount=amount,
        parent=hold,
        run_id=run_id,
        task_id=task_id,
        ticket_id=ticket_id,
        provider=provider,
        model=model,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        prompt_cost=prompt_cost,
        completion_cost=completion_cost,
        price_estimated=figures is None,
        price_pack=pack,
        budgets=hold.budgets if hold else [],
    )
    if hold is not None:
        _move_to_spent(hold, amount)
    metrics.COST_USD.on_commit(float(amount), provider=provider, model=model)
    emit(
        events.COST_CHARGED,
        subject=record,
        team_id=team.pk,
        amount=str(amount),
        task_id=str(task_id or ""),
        ticket_id=str(ticket_id or ""),
        provider=provider,
        model=model,
    )
    return record


def _cost(tokens: int, per_million: str) -> Decimal:
    return (Decimal(tokens) * Decimal(per_million) / MILLION).quantize(UNIT, ROUND_HALF_EVEN)


def _open_hold(task_id: UUID) -> CostRecord | None:
    return (
        CostRecord.objects.filter(kind="hold", task_id=task_id)
        .exclude(children__kind="release")
        .order_by("-created_at")
        .first()
    )


def _charged(hold: CostRecord) -> Decimal:
    return CostRecord.objects.filter(parent=hold, kind="charge").aggregate(total=Sum("amount"))[
        "total"
    ] or Decimal(0)


def _move_to_spent(hold: CostRecord, amount: Decimal) -> None:
    """From reserved to spent, reserved only as far as the hold still covers it."""
    before = _charged(hold) - amount
    covered = min(amount, max(Decimal(0), hold.amount - before))
    Budget.objects.filter(pk__in=hold.budgets).update(
        spent=F("spent") + amount, reserved=F("reserved") - covered
    )
    mark_budgets(hold.budgets)


@transaction.atomic
def settle_cost(*, task_id: UUID, reason: str = "settled") -> Decimal:
    """End a task's hold: what was not charged is free again. Returns what was freed."""
    hold = _open_hold(task_id)
    if hold is None:
        return Decimal(0)
    budgets = list(Budget.objects.filter(pk__in=hold.budgets).order_by("id").select_for_update())
    rest = max(Decimal(0), hold.amount - _charged(hold))
    Budget.objects.filter(pk__in=[b.pk for b in budgets]).update(reserved=F("reserved") - rest)
    CostRecord.objects.create(
        team=hold.team,
        kind="release",
        amount=rest,
        parent=hold,
        task_id=hold.task_id,
        ticket_id=hold.ticket_id,
        budgets=hold.budgets,
        reason=reason,
    )
    return rest
