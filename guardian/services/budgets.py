"""What may be spent: the verbs on budgets. What is spent is the purse's, in `money`."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from guardian import events
from guardian.authority import GUARDIAN, Actor, require_level, require_scope
from guardian.budget_scopes import has_scope_row, limitable
from guardian.errors import AlreadyExists, Invalid, NotFound, StaleVersion
from guardian.models import Budget
from guardian.outbox import emit
from guardian.periods import period_at
from guardian.services.budget_marks import mark_budgets, unmark

SCOPE = "costs:admin"
MOST = Decimal(1_000_000_000)
_ONLY_CUSTOM = "only a custom period has a start and end of its own"
_CHANGEABLE = ("limit", "alert_threshold", "critical_threshold", "period_start", "period_end")


@transaction.atomic
def create_budget(
    *,
    actor: Actor,
    scope_type: str,
    scope_id: str = "",
    limit: Decimal,
    period: str = "none",
    period_start: datetime | None = None,
    period_end: datetime | None = None,
    alert_threshold: Decimal = Decimal("0.80"),
    critical_threshold: Decimal = Decimal("0.95"),
    reason: str = "",
) -> Budget:
    """Limit what a team, agent, ticket or phase may spend, from now on.

    `limit` in US dollars; `scope_id` empty for the team. `period_start` and `period_end` belong to
    the period `custom` alone. Raises ScopeMissing, AuthorityTooLow, Invalid, AlreadyExists.
    """
    _require(actor)
    budget = Budget(
        team=actor.team,
        scope_type=scope_type,
        scope_id=checked_scope(actor, scope_type, scope_id),
        limit=limit,
        period=period,
        period_start=period_start,
        period_end=period_end,
        alert_threshold=alert_threshold,
        critical_threshold=critical_threshold,
    )
    _begin_first_period(budget)
    _check_figures(budget)
    _insert(budget)
    emit(
        events.BUDGET_CREATED,
        subject=budget,
        actor=actor,
        reason=reason,
        after=_figures(budget),
        scope_type=scope_type,
        scope_id=budget.scope_id,
    )
    return budget


@transaction.atomic
def change_budget(
    *,
    actor: Actor,
    budget_id: UUID,
    version: int | None = None,
    reason: str = "",
    **fields: Any,
) -> Budget:
    """Change limit, alert_threshold, critical_threshold, or a custom period's start and end.

    Raises NotFound, ScopeMissing, AuthorityTooLow, StaleVersion, Invalid.
    """
    budget = _locked(actor, budget_id, version)
    unknown = sorted(set(fields) - set(_CHANGEABLE))
    if unknown:
        raise Invalid(path=unknown[0], reason=f"cannot change; only {', '.join(_CHANGEABLE)} can")
    changed = {name: value for name, value in fields.items() if getattr(budget, name) != value}
    if not changed:
        return budget
    before = _figures(budget)
    if budget.period != Budget.Period.CUSTOM and changed.keys() & {"period_start", "period_end"}:
        raise Invalid(path="period", reason=_ONLY_CUSTOM)
    for name, value in changed.items():
        setattr(budget, name, value)
    if budget.period == Budget.Period.CUSTOM:
        _check_custom_period(budget)
    _check_figures(budget)
    budget.version += 1
    unmarked = unmark(budget)
    budget.save(update_fields=[*changed, *unmarked, "version", "updated_at"])
    after = _figures(budget)
    emit(
        events.BUDGET_CHANGED,
        subject=budget,
        actor=actor,
        reason=reason,
        before={name: before[name] for name in changed},
        after={name: after[name] for name in changed},
        scope_type=budget.scope_type,
        scope_id=budget.scope_id,
    )
    mark_budgets([budget.pk])
    return budget


@transaction.atomic
def delete_budget(
    *, actor: Actor, budget_id: UUID, version: int | None = None, reason: str = ""
) -> None:
    """Take a limit away; what was charged and held stays in the cost records.

    Raises NotFound, ScopeMissing, AuthorityTooLow, StaleVersion.
    """
    budget = _locked(actor, budget_id, version)
    emit(
        events.BUDGET_DELETED,
        subject=budget,
        actor=actor,
        reason=reason,
        before=_figures(budget) | {"spent": str(budget.spent), "reserved": str(budget.reserved)},
        scope_type=budget.scope_type,
        scope_id=budget.scope_id,
    )
    budget.delete()


@transaction.atomic
def begin_periods() -> int:
    """Begin the next period of each budget whose day, week or month is over: nothing spent yet,
    no marks; what is held stays held. Returns how many.
    """
    due = Budget.objects.filter(
        period__in=["day", "week", "month"], period_end__lte=timezone.now()
    ).order_by("id")
    # Whoever reserves now begins the period of the rows it holds itself.
    return sum(begin_period(budget) for budget in due.select_for_update(skip_locked=True))


def begin_period(budget: Budget) -> bool:
    """The next period of a locked budget, where its own is over."""
    period = period_at(budget.period, timezone.now())
    if period is None or not is_over(budget):
        return False
    budget.period_start, budget.period_end = period
    budget.spent = Decimal(0)
    budget.warned_at = budget.critical_at = budget.exceeded_at = None
    budget.save(
        update_fields=[
            "period_start", "period_end", "spent", "warned_at", "critical_at", "exceeded_at",
            "updated_at",
        ]
    )  # fmt: skip
    return True


def is_over(budget: Budget) -> bool:
    """Whether its day, week or month has ended, and the next one has not begun in the table."""
    follows = budget.period in {"day", "week", "month"}
    return follows and budget.period_end is not None and budget.period_end <= timezone.now()


def _require(actor: Actor) -> None:
    require_scope(actor, SCOPE)
    require_level(actor, GUARDIAN)


def _locked(actor: Actor, budget_id: UUID, version: int | None) -> Budget:
    _require(actor)
    budget: Budget | None = (
        Budget.objects.for_team(actor.team_id).select_for_update().filter(pk=budget_id).first()
    )
    if budget is None:
        raise NotFound("There is no such budget.")
    if version is not None and version != budget.version:
        raise StaleVersion(current_etag=f'"v{budget.version}"')
    return budget


def checked_scope(actor: Actor, scope_type: str, scope_id: str) -> str:
    """The id as it is stored. Raises Invalid."""
    if scope_type not in limitable():
        raise Invalid(path="scope_type", reason=f"must be one of {', '.join(limitable())}")
    if scope_type == "team":
        if scope_id not in ("", str(actor.team_id)):
            raise Invalid(path="scope_id", reason="is left out for the team's own budget")
        return ""
    try:
        row_id = UUID(scope_id)
    except ValueError:
        raise Invalid(path="scope_id", reason=f"must be the UUID of the {scope_type}") from None
    if not has_scope_row(scope_type, actor.team_id, row_id):
        raise Invalid(path="scope_id", reason=f"no {scope_type} of this team has this id")
    return str(row_id)


def _begin_first_period(budget: Budget) -> None:
    """Set the bounds by the calendar, or look at those of a custom period. Raises Invalid."""
    if budget.period not in Budget.Period.values:
        raise Invalid(path="period", reason=f"must be one of {', '.join(Budget.Period.values)}")
    if budget.period == Budget.Period.CUSTOM:
        _check_custom_period(budget)
        return
    if budget.period_start or budget.period_end:
        raise Invalid(path="period", reason=_ONLY_CUSTOM)
    bounds = period_at(budget.period, timezone.now())
    if bounds is not None:
        budget.period_start, budget.period_end = bounds


def _check_custom_period(budget: Budget) -> None:
    if budget.period_start is None or budget.period_end is None:
        raise Invalid(
            path="period_start", reason="a custom period needs period_start and period_end"
        )
    if budget.period_end <= budget.period_start:
        raise Invalid(path="period_end", reason="must be after period_start")


def _check_figures(budget: Budget) -> None:
    if not 0 <= budget.limit <= MOST:
        raise Invalid(path="limit", reason=f"must be from 0 to {MOST}, in US dollars")
    for name in ("alert_threshold", "critical_threshold"):
        if not 0 < getattr(budget, name) <= 1:
            raise Invalid(path=name, reason="must be a part of the limit: above 0, at most 1")
    if budget.alert_threshold > budget.critical_threshold:
        raise Invalid(path="alert_threshold", reason="must not be above critical_threshold")


def _insert(budget: Budget) -> None:
    try:
        with transaction.atomic():
            budget.save(force_insert=True)
    except IntegrityError as error:
        if "budget_is_one_per_scope_and_period" not in str(error):
            raise
        raise AlreadyExists(
            f"The {budget.scope_type} has a budget for the period {budget.period} already.",
            remedy="Change that one, or choose another period.",
        ) from error


def _figures(budget: Budget) -> dict[str, Any]:
    return {
        "limit": str(budget.limit),
        "period": budget.period,
        "period_start": budget.period_start and budget.period_start.isoformat(),
        "period_end": budget.period_end and budget.period_end.isoformat(),
        "alert_threshold": str(budget.alert_threshold),
        "critical_threshold": str(budget.critical_threshold),
    }
