"""The harvest: what completed tasks handed in becomes evidence, each piece once."""

from datetime import datetime
from typing import Any

from django.db import DataError, transaction
from django.db.models import Max, Q

from phases.clock import database_now
from phases.gate_facts import CODE
from phases.models import PhaseGateArtifact, Task, Ticket
from phases.results import fault_in_artifact
from phases.services.evidence import digest, report_again, store, tell


class Known:
    """What a phase has, and when each was last handed in or observed: read in one query."""

    def __init__(self, ticket: Ticket) -> None:
        here = Q(phase=ticket.phase) | Q(artifact_type=CODE)
        rows = PhaseGateArtifact.objects.filter(here, ticket=ticket).values_list(
            "visit", "artifact_type", "artifact_path", "sha256", "recorded_at", "phase"
        )
        self.at: dict[tuple[int, str, str, str], datetime] = {}
        self.newest: dict[str, datetime] = {}
        for visit, kind, path, sha, at, phase in rows:
            self.newest[kind] = max(at, self.newest.get(kind, at))
            if phase == ticket.phase_id:
                self.at[visit, kind, path, sha] = at

    def add(self, key: tuple[int, str, str, str], at: datetime) -> None:
        self.at[key] = at
        self.newest[key[1]] = max(at, self.newest.get(key[1], at))

    def is_overtaken(self, key: tuple[int, str, str, str]) -> bool:
        """Whether there is newer code, or another piece of its type, than this one."""
        return any(self.newest.get(kind, self.at[key]) > self.at[key] for kind in (CODE, key[1]))


def harvest(ticket: Ticket) -> list[str]:
    """Take the artifacts that completed tasks of this phase handed in, each once.

    Returns in plain words what could not be taken: one odd item must not hold up a ticket. What is
    known already costs no query of its own.
    """
    left: list[str] = []
    done = Task.objects.of_visit(ticket, ticket.phase).filter(status=Task.Status.COMPLETED)
    tasks = [
        (task, found)
        for task in done.select_related("last_holder", "phase")
        .annotate(reviewed_from=Max("reviews__created_at"))
        .order_by("completed_at", "id")
        if isinstance(found := (task.result or {}).get("artifacts"), list) and found
    ]
    if not tasks:
        return left
    known = Known(ticket)
    for task, found in tasks:
        left += _take_all(ticket, task, found, known)
    return left


def _take_all(ticket: Ticket, task: Task, found: list[Any], known: Known) -> list[str]:
    """What one task handed in: of one moment, that at which its work was done.

    Where it was reviewed that is before the verdict, and so is code that came in between newer.
    """
    left, before = [], []
    done = (task.completed_at, getattr(task, "reviewed_from", None))
    at = min(filter(None, done), default=None) or database_now()
    for number, item in enumerate(found, start=1):
        key = _key(task, item)
        if key in known.at:
            before.append((key, item))
        elif reason := _take(ticket, task, item, at):
            left.append(f"Artifact {number} of “{task.title}” was left out: {reason}.")
        elif key:
            known.add(key, at)
    # Behind what is new: newer code handed in with them is what they are about.
    for key, item in before:
        if known.at[key] < at and known.is_overtaken(key):
            _take_again(ticket, task, item, at)
    return left


def _key(task: Task, item: Any) -> tuple[int, str, str, str] | None:
    """What makes an item one piece of evidence; None where it can be none."""
    if fault_in_artifact(item):
        return None
    return task.visit, item["type"], item.get("path", ""), digest(item.get("content"))


def _take(ticket: Ticket, task: Task, item: Any, at: datetime) -> str:
    """Store one item; the reason where that cannot be."""
    if fault := fault_in_artifact(item):
        return " ".join(part for part in fault if part)
    if task.last_holder is None:
        return "nobody is known to have handed it in"
    try:
        with transaction.atomic():
            artifact, new = store(
                ticket=ticket,
                # Kept by name even where the holder has left the team since.
                collector=task.last_holder,
                kind=item["type"],
                path=item.get("path", ""),
                content=item.get("content"),
                task=task,
                recorded_at=at,
            )
    except DataError:
        return "the database cannot keep it"
    if new:
        tell(artifact, None)
    return ""


def _take_again(ticket: Ticket, task: Task, item: dict[str, Any], at: datetime) -> None:
    """Bytes that were known before this task handed them in: it may have measured them anew."""
    found = (
        PhaseGateArtifact.objects.select_for_update(of=("self",))
        .select_related("phase")
        .filter(
            ticket=ticket,
            phase=task.phase,
            visit=task.visit,
            artifact_type=item["type"],
            artifact_path=item.get("path", ""),
            sha256=digest(item.get("content")),
            recorded_at__lt=at,
        )
        .first()
    )
    if found is None or task.last_holder is None:
        return
    if report_again(found, ticket=ticket, collector=task.last_holder, task=task, at=at):
        tell(found, None)
