"""The guardian's orders. The orchestrator obeys them and can undo them."""

import pgtrigger
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django_fsm import FSMField, FSMModelMixin, transition

from guardian.models.base import TeamQuerySet, uuid7

EDGES = [
    ("proposed", "approved"),
    ("proposed", "rejected"),
    ("proposed", "expired"),
    ("proposed", "executed"),
    ("approved", "executed"),
    ("approved", "failed"),
    ("executed", "reverted"),
]


class GuardianActionQuerySet(TeamQuerySet):
    def switches_on(self) -> "GuardianActionQuerySet":
        return self.filter(kind=GuardianAction.Kind.KILL_SWITCH, state="executed")


class GuardianAction(FSMModelMixin, models.Model):
    """An order: who gave it, why, what was before and after, and whether it was undone."""

    class Kind(models.TextChoices):
        CANCEL_TASK = "cancel_task"
        OVERRIDE_PRIORITY = "override_priority"
        PAUSE_AGENT = "pause_agent"
        RESUME_AGENT = "resume_agent"
        FORCE_RELEASE_LOCK = "force_release_lock"
        KILL_SWITCH = "kill_switch"

    class State(models.TextChoices):
        PROPOSED = "proposed"
        APPROVED = "approved"
        EXECUTED = "executed"
        REVERTED = "reverted"
        REJECTED = "rejected"
        EXPIRED = "expired"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # No team: the order holds for the whole installation.
    team = models.ForeignKey("guardian.Team", models.PROTECT, null=True, blank=True)
    kind = models.CharField(max_length=30, choices=Kind.choices)
    target_label = models.CharField(max_length=60, blank=True)
    target_id = models.CharField(max_length=60, blank=True)
    params = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    state = FSMField(choices=State.choices, default=State.PROPOSED, protected=True, max_length=10)
    reason = models.TextField()
    authority_level = models.PositiveSmallIntegerField()
    initiated_by = models.ForeignKey("guardian.User", models.PROTECT, related_name="+")
    approved_by = models.ForeignKey(
        "guardian.User", models.PROTECT, null=True, blank=True, related_name="+"
    )
    before = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder)
    after = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder)
    executed_at = models.DateTimeField(null=True, blank=True)
    reverted_at = models.DateTimeField(null=True, blank=True)
    reverted_by = models.ForeignKey(
        "guardian.User", models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = GuardianActionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="action_approver_is_not_its_initiator",
                condition=Q(approved_by=None) | ~Q(approved_by=models.F("initiated_by")),
            ),
            models.UniqueConstraint(
                name="action_kill_switch_is_on_once_per_team",
                fields=["team"],
                condition=Q(kind="kill_switch", state="executed"),
                nulls_distinct=False,
            ),
        ]
        triggers = [
            pgtrigger.FSM(name="action_state_edges", field="state", transitions=EDGES),
            pgtrigger.Trigger(
                name="action_starts_proposed",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Q(new__state__df="proposed"),
                func="RAISE EXCEPTION 'an order starts proposed'"
                " USING ERRCODE = 'check_violation';",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')} {self.state} ({self.pk})"

    @transition(state, [State.PROPOSED, State.APPROVED], State.EXECUTED)
    def execute(self) -> None:
        """The order is carried out."""

    @transition(state, State.PROPOSED, State.APPROVED)
    def approve(self) -> None:
        """A second person agreed."""

    @transition(state, State.PROPOSED, State.REJECTED)
    def reject(self) -> None:
        """A second person refused."""

    @transition(state, State.PROPOSED, State.EXPIRED)
    def expire(self) -> None:
        """Nobody decided in time."""

    @transition(state, State.APPROVED, State.FAILED)
    def fail(self) -> None:
        """The order could not be carried out."""

    @transition(state, State.EXECUTED, State.REVERTED)
    def revert(self) -> None:
        """The order is undone."""
