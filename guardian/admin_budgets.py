"""Budgets in the operators' admin: what may be spent, made and changed by the services."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import F, QuerySet
from django.http import HttpRequest

from guardian import console, services
from guardian.authority import GUARDIAN, Actor
from guardian.budget_scopes import limitable
from guardian.columns import told_figure
from guardian.models import Budget
from guardian.operators import Fields, RecordAdmin, reasoned_action
from guardian.services.budgets import MOST, SCOPE


class Overrun(admin.SimpleListFilter):
    """Whether what is spent and reserved has reached the limit."""

    title = "use"
    parameter_name = "use"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("over", "At or over the limit")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return over_limit(queryset) if self.value() == "over" else queryset


def over_limit(budgets: QuerySet[Any]) -> QuerySet[Any]:
    return budgets.filter(limit__lte=F("spent") + F("reserved"))


def new_fields(_actor: Actor) -> Fields:
    return {
        "scope_type": forms.ChoiceField(
            choices=[(scope, scope) for scope in limitable()], label="Of what"
        ),
        "scope_id": forms.CharField(
            max_length=60, required=False, label="Its id", help_text="Empty for the whole team."
        ),
        "period": forms.ChoiceField(
            choices=Budget.Period.choices, help_text="When what is spent begins at nothing again."
        ),
        **_figures(Budget()),
        **_bounds(Budget()),
    }


def change_fields(budget: Budget) -> Fields:
    bounds = _bounds(budget) if budget.period == Budget.Period.CUSTOM else {}
    return {**_figures(budget), **bounds}


def _figures(budget: Budget) -> dict[str, forms.Field]:
    part = "A part of the limit: 0.8 is four fifths."
    return {
        "limit": forms.DecimalField(
            min_value=Decimal(0),
            max_value=MOST,
            decimal_places=10,
            initial=None if budget.limit is None else told_figure(budget.limit),
            label="Limit in US dollars",
        ),
        **{
            name: forms.DecimalField(
                min_value=Decimal("0.001"),
                max_value=Decimal(1),
                decimal_places=3,
                initial=told_figure(getattr(budget, name)),
                label=label,
                help_text=part,
            )
            for name, label in (
                ("alert_threshold", "Warn at"),
                ("critical_threshold", "Critical at"),
            )
        },
    }


def _bounds(budget: Budget) -> dict[str, forms.Field]:
    return {
        name: forms.DateTimeField(
            required=False,
            initial=getattr(budget, name),
            label=label,
            help_text="UTC; for a custom period alone.",
            widget=forms.DateTimeInput(
                attrs={"type": "datetime-local", "step": 1}, format="%Y-%m-%dT%H:%M:%S"
            ),
        )
        for name, label in (("period_start", "From"), ("period_end", "Until"))
    }


@admin.register(Budget)
class BudgetAdmin(RecordAdmin):
    section = "Money"
    icon = "account_balance_wallet"
    when_empty = "Nothing limits what is spent here yet."
    list_display = ["scope_type", "scope_id", "team", "limit", "spent", "reserved", "period"]
    list_filter = [Overrun, "scope_type", "period"]
    search_fields = ["scope_id"]

    @reasoned_action(
        label="New budget", scope=SCOPE, level=GUARDIAN, on_list=True, fields=new_fields
    )
    def make(self, *, actor: Actor, reason: str, **values: Any) -> str:
        """Limits what your team, an agent, a ticket or a phase may spend, from now on."""
        made = services.create_budget(actor=actor, reason=reason, **values)
        return (
            f"{told_figure(made.limit)} US dollars for the {made.scope_type}, period {made.period}."
        )

    @reasoned_action(label="Change…", scope=SCOPE, level=GUARDIAN, fields=change_fields)
    def change(self, *, actor: Actor, row: Budget, reason: str, **values: Any) -> None:
        """Another limit or other marks from now on; what is spent and held stays as it is."""
        services.change_budget(
            actor=actor, budget_id=row.pk, version=row.version, reason=reason, **values
        )

    @reasoned_action(label="Delete", scope=SCOPE, level=GUARDIAN, danger=True, bulk=False)
    def remove(self, *, actor: Actor, row: Budget, reason: str) -> None:
        """Takes this limit away; what was charged and held stays in the cost records."""
        services.delete_budget(actor=actor, budget_id=row.pk, reason=reason)


console.tile(
    "Budgets over",
    Budget,
    where={"use": "over"},
    narrow=over_limit,
    group="headline",
    icon="account_balance_wallet",
    zero="All within their limits",
)
