"""The harvest: what completed tasks handed in becomes evidence, each piece once."""

from datetime import datetime
from typing import Any

from django.db import DataError, transaction
from django.utils import timezone

from phases.models import PhaseGateArtifact, Task, Ticket
from phases.results import fault_in_artifact
from phases.services.evidence import digest, store, tell


def harvest(ticket: Ticket) -> list[str]:
    """Take the artifacts that completed tasks of this phase handed in, each once.

    Returns in plain words what could not be taken: one odd item must not hold up a ticket. What is
    known already costs no query of its own.
    """
    left: list[str] = []
    done = Task.objects.of_visit(ticket, ticket.phase).filter(status=Task.Status.COMPLETED)
    tasks = [
        (task, found)
        for task in done.select_related("last_holder", "phase").order_by("completed_at", "id")
        if isinstance(found := (task.result or {}).get("artifacts"), list) and found
    ]
    if not tasks:
        return left
    known = set(
        PhaseGateArtifact.objects.filter(ticket=ticket, phase=ticket.phase).values_list(
            "visit", "artifact_type", "artifact_path", "sha256"
        )
    )
    for task, found in tasks:
        # Handed in together: none of them is newer than another.
        now = timezone.now()
        for number, item in enumerate(found, start=1):
            if reason := _take(ticket, task, item, now, known):
                left.append(f"Artifact {number} of “{task.title}” was left out: {reason}.")
    return left


def _take(ticket: Ticket, task: Task, item: Any, now: datetime, known: set[Any]) -> str:
    """Store one item; the reason where that cannot be."""
    if fault := fault_in_artifact(item):
        return " ".join(part for part in fault if part)
    if task.last_holder is None:
        return "nobody is known to have handed it in"
    path, content = item.get("path", ""), item.get("content")
    if (task.visit, item["type"], path, digest(content)) in known:
        return ""
    try:
        with transaction.atomic():
            artifact, new = store(
                ticket=ticket,
                # Kept by name even where the holder has left the team since.
                collector=task.last_holder,
                kind=item["type"],
                path=path,
                content=content,
                task=task,
                recorded_at=now,
            )
    except DataError:
        return "the database cannot keep it"
    if new:
        tell(artifact, None)
    return ""
