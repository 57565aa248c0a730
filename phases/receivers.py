"""What phases does when it hears of its own events."""

from uuid import UUID

from guardian import events as guardian_events
from guardian.models import Event, Team
from guardian.outbox import on
from phases import events, services


@on(guardian_events.TEAM_CREATED)
def give_new_team_its_workflows(event: Event) -> None:
    services.seed_team(team=Team.objects.get(pk=event.subject_id))


@on(events.TASK_CLAIMED)
def start_claimed_ticket(event: Event) -> None:
    services.start_ticket(ticket_id=UUID(event.data["ticket_id"]))


@on(events.TICKET_APPROVED)
def advance_approved_ticket(event: Event) -> None:
    services.advance_ticket(ticket_id=UUID(event.subject_id))


@on(events.TASK_COMPLETED)
def advance_after_completed_task(event: Event) -> None:
    services.advance_ticket(ticket_id=UUID(event.data["ticket_id"]))


@on(events.TASK_FAILED)
def block_what_waited_for_failed_task(event: Event) -> None:
    services.handle_final_task(task_id=UUID(event.subject_id))


# A delivery of its own: the tasks locked above come after columns and tickets.
@on(events.TASK_FAILED)
def advance_after_failed_task(event: Event) -> None:
    services.advance_ticket(ticket_id=UUID(event.data["ticket_id"]))


@on(events.TASK_CANCELLED)
def block_what_waited_for_cancelled_task(event: Event) -> None:
    services.handle_final_task(task_id=UUID(event.subject_id))


@on(events.TASK_CANCELLED)
def advance_after_cancelled_task(event: Event) -> None:
    services.advance_ticket(ticket_id=UUID(event.data["ticket_id"]))


@on(events.ARTIFACT_ADDED)
def advance_after_new_evidence(event: Event) -> None:
    services.advance_ticket(ticket_id=UUID(event.data["ticket_id"]))


@on(events.BOARD_SLOT_FREED)
def fill_free_place(event: Event) -> None:
    services.admit_queued(column_id=UUID(event.subject_id))
