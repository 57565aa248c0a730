"""Topics of the live feed about tickets: one ticket's events, one board's patches."""

from typing import Any
from uuid import UUID

from guardian.authority import Actor
from guardian.feed_topics import Notice, Topic, family, no_such_topic
from phases import frames
from phases.models import Ticket, Workflow

SCOPE = "tickets:read"


@family("ticket", of="id")
def ticket_topic(actor: Actor, text: str) -> Topic:
    """`ticket:<id>`: what happens to it and to its tasks. Raises Forbidden for a foreign one."""
    try:
        pk = UUID(text)
    except ValueError as error:
        raise no_such_topic() from error
    if not Ticket.objects.filter(pk=pk, team_id=actor.team_id).exists():
        raise no_such_topic()
    wanted = str(pk)

    def takes(notice: Notice) -> bool:
        own = notice.subject_label == "phases.ticket" and notice.subject_id == wanted
        return own or notice.data.get("ticket_id") == wanted

    return Topic(f"ticket:{text}", SCOPE, takes)


@family("board", of="workflow")
def board_topic(actor: Actor, key: str) -> Topic:
    """`board:<workflow>`: cards and columns as patches. Raises Forbidden for a foreign one."""
    flow = Workflow.objects.for_team(actor.team_id).filter(key=key).first()
    if flow is None:
        raise no_such_topic()
    workflow_id = flow.pk

    def patches(team: UUID, after: int, upto: int) -> list[dict[str, Any]]:
        try:
            patch = frames.replay(after=after, upto=upto, stream=(team, workflow_id))
        except frames.TooOld:
            return [{"snapshot_required": True}]
        return [] if patch is None else [{"cards": patch.cards, "columns": patch.columns}]

    return Topic(f"board:{key}", SCOPE, patches=patches)
