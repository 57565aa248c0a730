"""Evidence and what gates made of it."""

import pgtrigger
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from guardian.models import TeamQuerySet, TeamRow
from phases.models.task import Task
from phases.models.ticket import Ticket
from phases.models.workflow import Phase


class PhaseGateArtifact(TeamRow):
    """A piece of evidence. Who observed it is written by the server, never by its sender."""

    class Source(models.TextChoices):
        REPORTED = "reported"
        SANDBOX = "sandbox"
        REVIEWER = "reviewer"

    ticket = models.ForeignKey(Ticket, models.CASCADE, related_name="artifacts")
    phase = models.ForeignKey(Phase, models.PROTECT, related_name="+", db_index=False)
    visit = models.PositiveIntegerField()
    artifact_type = models.CharField(max_length=64)
    artifact_path = models.CharField(max_length=500, blank=True)
    artifact_content = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder)
    sha256 = models.CharField(max_length=64)
    task = models.ForeignKey(
        Task, models.PROTECT, null=True, blank=True, related_name="artifacts", db_index=False
    )
    collected_by = models.ForeignKey(
        "guardian.User", models.PROTECT, related_name="+", db_index=False
    )
    source = models.CharField(max_length=10, choices=Source.choices, default=Source.REPORTED)
    observation = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder)
    verified_by = models.ForeignKey(
        "guardian.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )

    rejected_by = models.ForeignKey(
        "guardian.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    rejected_note = models.TextField(blank=True, default="", db_default="")

    # When these bytes were last handed in or observed: seeing them again makes them fresh again.
    recorded_at = models.DateTimeField(default=timezone.now)

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="artifact_is_harvested_once",
                fields=["ticket", "phase", "visit", "artifact_type", "artifact_path", "sha256"],
            ),
            models.CheckConstraint(
                name="artifact_is_verified_by_another",
                condition=Q(verified_by=None) | ~Q(verified_by=F("collected_by")),
            ),
            models.CheckConstraint(
                name="artifact_is_rejected_by_another",
                condition=Q(rejected_by=None, rejected_note="")
                | Q(verified_by=None) & ~Q(rejected_by=F("collected_by")),
            ),
            models.CheckConstraint(
                name="artifact_is_observed_exactly_when_from_the_sandbox",
                condition=Q(source="sandbox", observation__isnull=False)
                | (~Q(source="sandbox") & Q(observation=None)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.artifact_type} ({self.pk})"

    @property
    def is_verified(self) -> bool:
        return self.source != self.Source.REPORTED


class PhaseGateResult(models.Model):
    """One evaluation of a gate. Rows are only added."""

    class Status(models.TextChoices):
        PASSED = "passed"
        FAILED = "failed"

    class Evaluation(models.TextChoices):
        NOT_CONFIGURED = "not_configured"
        BLOCKED = "blocked"
        WAITING_TASKS = "waiting_tasks"
        WAITING_CHECKS = "waiting_checks"
        READY = "ready"

    id = models.BigAutoField(primary_key=True)
    team = models.ForeignKey("guardian.Team", models.PROTECT, db_index=False)
    ticket = models.ForeignKey(Ticket, models.CASCADE, related_name="gate_results")
    phase = models.ForeignKey(Phase, models.PROTECT, related_name="+", db_index=False)
    visit = models.PositiveIntegerField()
    gate_status = models.CharField(max_length=10, choices=Status.choices)
    evaluation = models.CharField(max_length=20, choices=Evaluation.choices)
    validation_result = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    blocking_reasons = models.JSONField(default=list)
    validated_by = models.ForeignKey(
        "guardian.User", models.PROTECT, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        triggers = [
            pgtrigger.Protect(
                name="gate_result_is_append_only", operation=pgtrigger.Update | pgtrigger.Delete
            )
        ]

    def __str__(self) -> str:
        return f"{self.gate_status} of {self.ticket_id} ({self.pk})"
