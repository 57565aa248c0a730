"""Which events an agent wants to hear of."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q

from guardian.models import TeamQuerySet, TeamRow
from orchestrator.models.agents import AgentDefinition, AgentVersion


class AgentTriggerQuerySet(TeamQuerySet):
    def in_force(self) -> "AgentTriggerQuerySet":
        """Those of enabled agents, the most urgent first."""
        return self.filter(definition__enabled=True).order_by("priority", "definition__slug", "id")


class AgentTrigger(TeamRow):
    """A kind of event that calls an agent. Only the newest published version has rows here."""

    definition = models.ForeignKey(AgentDefinition, models.CASCADE, related_name="triggers")
    agent_version = models.ForeignKey(AgentVersion, models.CASCADE, related_name="triggers")
    type = models.CharField(
        max_length=100, help_text="A kind or alias; `a.*` takes all that begin with `a.`."
    )
    priority = models.PositiveSmallIntegerField(default=3, help_text="1 critical to 4 low.")
    filters = models.JSONField(
        default=dict, blank=True, encoder=DjangoJSONEncoder, help_text="Payload path → value."
    )

    objects = AgentTriggerQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="agent_trigger_priority_is_from_1_to_4", condition=Q(priority__range=(1, 4))
            )
        ]
        indexes = [models.Index(name="agent_trigger_of_type", fields=["team", "type"])]

    def __str__(self) -> str:
        return f"{self.type} calls {self.agent_version}"
