"""Budgets over REST: what a team, an agent, a ticket or a phase may spend."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from guardian import services
from guardian.http import TeamViewSet, etag_of, validated
from guardian.models import Budget
from guardian.strict import StrictSerializer


def _dollars(**options: Any) -> serializers.DecimalField:
    return serializers.DecimalField(
        max_digits=20, decimal_places=10, min_value=Decimal(0), help_text="US dollars.", **options
    )


def _part(**options: Any) -> serializers.DecimalField:
    return serializers.DecimalField(
        max_digits=4,
        decimal_places=3,
        min_value=Decimal("0.001"),
        max_value=Decimal(1),
        help_text="A part of the limit; what is reached is told once in each period.",
        **options,
    )


class BudgetChange(StrictSerializer):
    limit = _dollars(required=False)
    alert_threshold = _part(required=False)
    critical_threshold = _part(required=False)
    period_start = serializers.DateTimeField(
        required=False, help_text="Only of the period `custom`."
    )
    period_end = serializers.DateTimeField(required=False, help_text="Only of the period `custom`.")
    reason = serializers.CharField(min_length=3, max_length=500, required=False)


class BudgetCreate(BudgetChange):
    scope_type = serializers.CharField(
        max_length=10, help_text="team, agent, phase or ticket: what is limited."
    )
    scope_id = serializers.CharField(
        max_length=100, required=False, help_text="Its id; left out for the team."
    )
    limit = _dollars()
    period = serializers.ChoiceField(Budget.Period.choices, required=False)


class BudgetQuestion(StrictSerializer):
    scope_type = serializers.CharField(max_length=10)
    scope_id = serializers.CharField(max_length=100, required=False, default="")
    estimate = _dollars(required=False, default=Decimal(0))


class BudgetAnswer(serializers.Serializer[Any]):
    """What is left; `available` is whether so much more may be reserved now."""

    available = serializers.BooleanField()
    spent = serializers.DecimalField(max_digits=20, decimal_places=10)
    reserved = serializers.DecimalField(max_digits=20, decimal_places=10)
    remaining = serializers.DecimalField(max_digits=20, decimal_places=10, allow_null=True)
    utilisation = serializers.FloatField(allow_null=True, help_text="Spent over limit.")
    blocking = serializers.ListField(
        child=serializers.UUIDField(), help_text="Budgets that do not allow it."
    )


class BudgetSerializer(serializers.ModelSerializer[Budget]):
    class Meta:
        model = Budget
        fields = [
            "id", "scope_type", "scope_id", "limit", "period", "period_start", "period_end",
            "spent", "reserved", "alert_threshold", "critical_threshold", "warned_at",
            "critical_at", "exceeded_at", "version", "created_at", "updated_at",
        ]  # fmt: skip


class BudgetViewSet(TeamViewSet):
    """What may be spent, in US dollars; what is reserved counts as if it were spent."""

    queryset = Budget.objects.all()
    serializer_class = BudgetSerializer
    scopes = {
        "list": "costs:read",
        "retrieve": "costs:read",
        "check": "costs:read",
        "create": "costs:admin",
        "partial_update": "costs:admin",
        "destroy": "costs:admin",
    }
    filters = {
        "scope_type": "scope_type",
        "scope_id": "scope_id",
        "period": "period",
        "limit": "limit",
        "spent": "spent",
        "reserved": "reserved",
    }

    @extend_schema(request=BudgetCreate, responses={201: BudgetSerializer})
    def create(self, request: Request) -> Response:
        """Limit what may be spent, from now on."""
        budget = services.create_budget(actor=self.actor, **validated(BudgetCreate, request.data))
        return _shown(budget, status=201)

    @extend_schema(request=BudgetChange, responses=BudgetSerializer)
    def partial_update(self, request: Request, pk: UUID) -> Response:
        """Change a limit, its thresholds, or a custom period's bounds."""
        budget = services.change_budget(
            actor=self.actor,
            budget_id=pk,
            version=self.version(),
            **validated(BudgetChange, request.data),
        )
        return _shown(budget)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: UUID) -> Response:
        """Take a limit away; what was charged and held stays in the records."""
        services.delete_budget(actor=self.actor, budget_id=pk, version=self.version())
        return Response(status=204)

    @extend_schema(parameters=[BudgetQuestion], responses=BudgetAnswer)
    @action(detail=False, methods=["get"], pagination_class=None)
    def check(self, request: Request) -> Response:
        """Whether so much more may be spent for one scope now; nothing is reserved."""
        asked = validated(BudgetQuestion, request.query_params.dict())
        return Response(BudgetAnswer(services.check_budget(actor=self.actor, **asked)).data)


def _shown(budget: Budget, *, status: int = 200) -> Response:
    # Read back: amounts have ten places in the table, whatever was sent.
    shown = BudgetSerializer(Budget.objects.get(pk=budget.pk)).data
    return Response(shown, status=status, headers={"ETag": etag_of(budget)})
