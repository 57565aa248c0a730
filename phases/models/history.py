"""Every move a ticket made; rows are only added."""

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models

from phases.models.ticket import Ticket
from phases.models.workflow import Phase


class PhaseHistory(models.Model):
    """One move of a ticket. Rows are only added."""

    class Kind(models.TextChoices):
        CREATE = "create"
        FORWARD = "forward"
        BACKWARD = "backward"
        BLOCK = "block"
        UNBLOCK = "unblock"
        RESULT = "result"
        RESTART = "restart"
        REOPEN = "reopen"

    class Via(models.TextChoices):
        API = "api"
        BOARD = "board"
        AUTO = "auto"
        GUARDIAN = "guardian"
        ADMIN = "admin"

    id = models.BigAutoField(primary_key=True)
    team = models.ForeignKey("guardian.Team", models.PROTECT, db_index=False)
    ticket = models.ForeignKey(Ticket, models.CASCADE, related_name="history")
    from_phase = models.ForeignKey(
        Phase, models.PROTECT, null=True, related_name="+", db_index=False
    )
    to_phase = models.ForeignKey(Phase, models.PROTECT, related_name="+", db_index=False)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    via = models.CharField(max_length=10, choices=Via.choices)
    overrides = ArrayField(models.CharField(max_length=10), default=list)
    transition_reason = models.TextField(blank=True)
    transitioned_by = models.ForeignKey(
        "guardian.User", models.PROTECT, related_name="+", db_index=False
    )
    gate_result = models.ForeignKey(
        "phases.PhaseGateResult", models.PROTECT, null=True, related_name="+", db_index=False
    )
    artifacts = models.JSONField(default=list)
    ticket_version = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "phase history"
        triggers = [
            pgtrigger.Protect(
                name="history_is_append_only", operation=pgtrigger.Update | pgtrigger.Delete
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.ticket_id} ({self.pk})"
