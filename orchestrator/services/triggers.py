"""What calls an agent, kept as rows beside its newest published version."""

from django.db import transaction

from guardian.outbox import PRIORITIES
from orchestrator import agent_schema
from orchestrator.models import AgentDefinition, AgentTrigger, AgentVersion


def newest_published(definition: AgentDefinition) -> AgentVersion | None:
    """The published version with the highest precedence."""
    published = definition.versions.filter(state=AgentVersion.State.PUBLISHED)
    return max(published, key=lambda v: agent_schema.precedence(v.version), default=None)


@transaction.atomic
def refresh_triggers(*, definition: AgentDefinition) -> int:
    """Let the newest published version alone speak for its agent. Returns its triggers.

    To be called after each change of a version's state.
    """
    AgentDefinition.objects.select_for_update().get(pk=definition.pk)
    AgentTrigger.objects.filter(definition=definition).delete()
    newest = newest_published(definition)
    if newest is None:
        return 0
    wanted = newest.content.get("triggers", [])
    AgentTrigger.objects.bulk_create(
        AgentTrigger(
            team_id=definition.team_id,
            definition=definition,
            agent_version=newest,
            type=trigger["type"],
            priority=PRIORITIES[trigger["priority"]],
            filters=trigger["filters"],
        )
        for trigger in wanted
    )
    return len(wanted)
