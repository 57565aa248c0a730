"""What a ticket carries from phase to phase."""

from phases.models import Task, Ticket

SUMMARY_CHARACTERS = 2000


def remember_phase(ticket: Ticket) -> None:
    """What the left phase found out goes on with the ticket; the caller saves it."""
    done = Task.objects.filter(
        ticket=ticket, phase=ticket.phase, status=Task.Status.COMPLETED
    ).order_by("completed_at", "id")
    tasks = [
        {
            "id": str(task.pk),
            "type": task.task_type,
            "summary": str(task.result.get("summary", ""))[:500],
            "outputs": task.result.get("outputs", {}),
        }
        for task in done
    ]
    if tasks:
        ticket.context = {
            **ticket.context,
            "phases": {**ticket.context.get("phases", {}), ticket.phase.key: {"tasks": tasks}},
            "last_updated_phase": ticket.phase.key,
        }
        texts = (str(task["summary"]) for task in tasks if task["summary"])
        ticket.context_summary = "; ".join(texts)[:SUMMARY_CHARACTERS]
