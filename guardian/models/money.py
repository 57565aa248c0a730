"""What may be spent and what was spent. Money is Decimal, in US dollars."""

from decimal import Decimal

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django_fsm import FSMField, FSMModelMixin, transition

from guardian.models.base import TeamQuerySet, TeamRow

PACK_EDGES = [("warming", "fresh"), ("warming", "error"), ("error", "warming"), ("fresh", "stale")]


class PricePackQuerySet(models.QuerySet["PricePack"]):
    def built(self) -> "PricePackQuerySet":
        return self.filter(status__in=["fresh", "stale"]).order_by("-built_at")


class PricePack(FSMModelMixin, models.Model):
    """What tokens cost, as known on one day. Once built it never changes."""

    class Status(models.TextChoices):
        WARMING = "warming"
        FRESH = "fresh"
        STALE = "stale"
        ERROR = "error"

    id = models.CharField(primary_key=True, max_length=80)
    asof_date = models.DateField()
    policy = models.CharField(max_length=50, blank=True)
    revision = models.PositiveIntegerField(default=1)
    status = FSMField(choices=Status.choices, default=Status.WARMING, protected=True, max_length=10)
    prices = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    defaults = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    sources = models.JSONField(default=list, encoder=DjangoJSONEncoder)
    metrics = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    steps = models.JSONField(default=list, encoder=DjangoJSONEncoder)
    content_hash = models.CharField(max_length=64, blank=True)
    superseded_by = models.ForeignKey("self", models.PROTECT, null=True, blank=True)
    prewarm_done = models.BooleanField(default=False)
    reconciliation_passed = models.BooleanField(null=True)
    error_message = models.TextField(blank=True)
    started_at = models.DateTimeField()
    built_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = PricePackQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="price_pack_is_one_per_day_policy_and_revision",
                fields=["asof_date", "policy", "revision"],
            ),
            models.UniqueConstraint(
                name="price_pack_is_fresh_once_per_policy",
                fields=["policy"],
                condition=Q(status="fresh"),
            ),
            models.CheckConstraint(
                name="price_pack_is_built_exactly_when_fresh_or_stale",
                condition=Q(status__in=["fresh", "stale"], built_at__isnull=False)
                | Q(status__in=["warming", "error"], built_at=None),
            ),
        ]
        triggers = [
            pgtrigger.FSM(name="pack_status_edges", field="status", transitions=PACK_EDGES),
            pgtrigger.Trigger(
                name="pack_prices_are_fixed_once_built",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Q(old__built_at__isnull=False),
                func="""
                    IF NEW.prices IS DISTINCT FROM OLD.prices
                       OR NEW.defaults IS DISTINCT FROM OLD.defaults
                       OR NEW.content_hash IS DISTINCT FROM OLD.content_hash THEN
                        RAISE EXCEPTION 'a built price pack never changes'
                            USING ERRCODE = 'restrict_violation';
                    END IF;
                    RETURN NEW;
                """,
            ),
            pgtrigger.Trigger(
                name="pack_starts_warming",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Q(new__status__df="warming"),
                func="RAISE EXCEPTION 'a price pack starts warming'"
                " USING ERRCODE = 'check_violation';",
            ),
        ]

    def __str__(self) -> str:
        return self.id

    @transition(status, Status.WARMING, Status.FRESH)
    def mark_fresh(self) -> None:
        """All steps passed: runs may pin it."""

    @transition(status, Status.WARMING, Status.ERROR)
    def mark_error(self) -> None:
        """A step failed."""

    @transition(status, Status.ERROR, Status.WARMING)
    def rerun(self) -> None:
        """Build it again from the failed step."""

    @transition(status, Status.FRESH, Status.STALE)
    def supersede(self) -> None:
        """A newer pack took its place."""


def money(**options: object) -> "models.DecimalField[Decimal, Decimal]":
    return models.DecimalField(max_digits=20, decimal_places=10, **options)  # type: ignore[arg-type]  # options of any field


class Budget(TeamRow):
    """A limit for one scope and period; what is reserved counts as if it were spent."""

    class Scope(models.TextChoices):
        GLOBAL = "global"
        TEAM = "team"
        PATTERN = "pattern"
        PHASE = "phase"
        TICKET = "ticket"
        AGENT = "agent"
        RUN = "run"

    class Period(models.TextChoices):
        NONE = "none"
        DAY = "day"
        WEEK = "week"
        MONTH = "month"
        CUSTOM = "custom"

    scope_type = models.CharField(max_length=10, choices=Scope.choices)
    scope_id = models.CharField(max_length=100, blank=True)
    limit = money()
    period = models.CharField(max_length=10, choices=Period.choices, default=Period.NONE)
    period_start = models.DateTimeField(null=True, blank=True)
    period_end = models.DateTimeField(null=True, blank=True)
    spent = money(default=Decimal(0))
    reserved = money(default=Decimal(0))
    alert_threshold = models.DecimalField(max_digits=4, decimal_places=3, default=Decimal("0.80"))
    critical_threshold = models.DecimalField(
        max_digits=4, decimal_places=3, default=Decimal("0.95")
    )
    throttle = models.BooleanField(default=False)
    version = models.PositiveIntegerField(default=1, db_default=1)
    warned_at = models.DateTimeField(null=True, blank=True)
    critical_at = models.DateTimeField(null=True, blank=True)
    exceeded_at = models.DateTimeField(null=True, blank=True)

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="budget_is_one_per_scope_and_period",
                fields=["team", "scope_type", "scope_id", "period"],
            ),
            models.CheckConstraint(
                name="budget_figures_are_not_negative",
                condition=Q(limit__gte=0, spent__gte=0, reserved__gte=0),
            ),
        ]

    def __str__(self) -> str:
        whose = f"{self.scope_type} {self.scope_id}".strip()
        return f"budget of {whose}" + ("" if self.period == "none" else f" by {self.period}")


class CostRecord(TeamRow):
    """One line of the ledger: money held, charged or freed. Lines are only ever added."""

    class Kind(models.TextChoices):
        HOLD = "hold"
        CHARGE = "charge"
        RELEASE = "release"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    amount = money()
    parent = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="children"
    )
    run_id = models.UUIDField(null=True, blank=True)
    task_id = models.UUIDField(null=True, blank=True, db_index=True)
    ticket_id = models.UUIDField(null=True, blank=True, db_index=True)
    phase_id = models.UUIDField(null=True, blank=True)
    agent_id = models.UUIDField(null=True, blank=True)
    pattern = models.CharField(max_length=100, blank=True)
    provider = models.CharField(max_length=50, blank=True)
    model = models.CharField(max_length=100, blank=True)
    prompt_tokens = models.PositiveIntegerField(default=0)
    completion_tokens = models.PositiveIntegerField(default=0)
    prompt_cost = money(default=Decimal(0))
    completion_cost = money(default=Decimal(0))
    price_estimated = models.BooleanField(default=False)
    price_pack = models.ForeignKey(PricePack, models.PROTECT, null=True, blank=True)
    budgets = ArrayField(models.UUIDField(), default=list, blank=True)
    reason = models.CharField(max_length=20, blank=True)

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="cost_hold_is_released_once", fields=["parent"], condition=Q(kind="release")
            ),
            models.CheckConstraint(
                name="cost_has_a_hold_exactly_when_it_is_none",
                condition=Q(kind="hold", parent=None)
                | Q(kind="charge")
                | Q(kind="release", parent__isnull=False),
            ),
        ]
        triggers = [
            pgtrigger.Protect(
                name="cost_is_append_only", operation=pgtrigger.Update | pgtrigger.Delete
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount} ({self.pk})"
