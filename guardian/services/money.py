"""The purse: reserve before work, charge with the step, free the rest at the end."""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from uuid import UUID

from django.db import OperationalError, transaction
from django.db.models import F, Q, QuerySet, Sum
from django.utils import timezone
from psycopg.errors import LockNotAvailable

from guardian import events, metrics
from guardian.authority import Actor, require_scope
from guardian.errors import BudgetExceeded
from guardian.models import Budget, CostRecord, PricePack, Team
from guardian.outbox import emit
from guardian.services.budget_marks import mark_budgets
from guardian.services.budgets import begin_period, checked_scope, is_over
from guardian.services.packs import newest_pack_id

MILLION = Decimal(1_000_000)
UNIT = Decimal("0.0000000001")
# The widest refusal is told first.
SCOPE_ORDER = ["global", "team", "pattern", "phase", "ticket", "agent", "run"]


def _wanted(team: Team, scopes: dict[str, str]) -> "QuerySet[Budget]":
    wanted = Q(scope_type="team")
    for scope_type, scope_id in scopes.items():
        wanted |= Q(scope_type=scope_type, scope_id=scope_id)
    now = timezone.now()
    # Of a custom period only the time between its bounds is limited.
    wanted &= ~Q(period="custom") | Q(period_start__lte=now, period_end__gt=now)
    return Budget.objects.for_team(team.pk).filter(wanted)


class PurseBusyError(Exception):
    """Somebody else reserves from one of these budgets at this moment."""


def _matching(team: Team, scopes: dict[str, str], *, waits: bool) -> list[Budget]:
    try:
        found = _locked(_wanted(team, scopes), waits=waits)
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable) and not waits:
            raise PurseBusyError from error
        raise
    return sorted(found, key=lambda b: (SCOPE_ORDER.index(b.scope_type), str(b.pk)))


@transaction.atomic
def reserve_budget(
    *,
    team: Team,
    scopes: dict[str, str],
    estimate: Decimal,
    task_id: UUID,
    ticket_id: UUID,
    waits: bool = True,
) -> CostRecord | None:
    """Hold the estimate in every budget that covers this work; None where none does.

    `scopes`: scope type → id, for example {"ticket": "…", "phase": "…"}. Whoever has reserved
    before in the same transaction sets `waits` to False, so that no two stand in a circle.
    Raises BudgetExceeded, and PurseBusyError instead of waiting.
    """
    budgets = _matching(team, scopes, waits=waits)
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


def budget_left(*, team: Team, scopes: dict[str, str]) -> Decimal | None:
    """What the tightest budget over these scopes leaves, in usd; None where nothing limits them."""
    budgets = _wanted(team, scopes)
    left = [b.limit - b.reserved - (0 if is_over(b) else b.spent) for b in budgets]
    return max(Decimal(0), min(left)) if left else None


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

    A model that the pack does not name costs the default price, marked as estimated. What is told
    after the end of the hold counts for its budgets as well.

    Raises PackNotFound.
    """
    hold, is_open = _hold_of(task_id) if task_id else (None, False)
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
        _move_to_spent(hold, amount, is_open=is_open)
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


def _hold_of(task_id: UUID) -> tuple[CostRecord | None, bool]:
    """The newest hold of a task, locked, so that its charges and its end follow one another.

    True while it is open: asked behind the lock, for whoever had it may have ended the hold.
    """
    hold = (
        CostRecord.objects.filter(kind="hold", task_id=task_id)
        .order_by("-created_at", "-id")
        .select_for_update(of=("self",), no_key=True)
        .first()
    )
    return hold, hold is not None and not hold.children.filter(kind="release").exists()


def _charged(hold: CostRecord) -> Decimal:
    return CostRecord.objects.filter(parent=hold, kind="charge").aggregate(total=Sum("amount"))[
        "total"
    ] or Decimal(0)


def _move_to_spent(hold: CostRecord, amount: Decimal, *, is_open: bool) -> None:
    """From reserved to spent, reserved only as far as the hold still covers it."""
    before = _charged(hold) - amount
    covered = min(amount, max(Decimal(0), hold.amount - before)) if is_open else Decimal(0)
    ids = [budget.pk for budget in _locked(Budget.objects.filter(pk__in=hold.budgets))]
    Budget.objects.filter(pk__in=ids).update(
        spent=F("spent") + amount, reserved=F("reserved") - covered
    )
    mark_budgets(ids)


def _locked(budgets: "QuerySet[Budget]", *, waits: bool = True) -> list[Budget]:
    """Locked in the order of their ids, each in its present period."""
    found = list(budgets.order_by("id").select_for_update(nowait=not waits))
    for budget in found:
        begin_period(budget)
    return found


@transaction.atomic
def settle_cost(*, task_id: UUID, reason: str = "settled") -> Decimal:
    """End a task's hold: what was not charged is free again. Returns what was freed."""
    hold, is_open = _hold_of(task_id)
    if hold is None or not is_open:
        return Decimal(0)
    budgets = _locked(Budget.objects.filter(pk__in=hold.budgets))
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
