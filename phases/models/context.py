"""What a phase found out about a ticket, kept beside the ticket's own context."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from guardian.models import TeamQuerySet, TeamRow
from phases.models.ticket import Ticket
from phases.models.workflow import Phase


class PhaseContext(TeamRow):
    """The findings of one phase of one ticket: tasks, decisions, risks, notes, artifacts."""

    ticket = models.ForeignKey(Ticket, models.CASCADE, related_name="contexts", db_index=False)
    phase = models.ForeignKey(Phase, models.PROTECT, related_name="+", db_index=False)
    context_data = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    context_summary = models.TextField(blank=True)

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="context_is_one_per_ticket_and_phase", fields=["ticket", "phase"]
            )
        ]

    def __str__(self) -> str:
        return f"context of {self.ticket_id} ({self.phase_id})"
