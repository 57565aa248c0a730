"""Memories, made through the services."""

from uuid import uuid4

from guardian.authority import Actor
from memory import services
from memory.models import MemoryRecord


def remember(team, owner, **facts) -> MemoryRecord:
    """A task memory with its vector; everything not said is plausible."""
    told = {
        "task_id": uuid4(),
        "run_id": uuid4(),
        "ticket_id": uuid4(),
        "phase_id": None,
        "task_type": "run_checks",
        "title": "Run the checks",
        "summary": "All 12 tests passed.",
        "success": True,
        "error_patterns": [],
        "evidence": [],
        **facts,
    }
    record = services.remember_task(team_id=team.pk, owner_id=owner.id, **told)
    services.sweep_unembedded()
    return MemoryRecord.objects.get(pk=record.pk)


def note(actor: Actor, text: str, **facts) -> MemoryRecord:
    """A stored text with its vector."""
    stored = services.store(actor=actor, text=text, **facts)
    services.sweep_unembedded()
    return MemoryRecord.objects.get(pk=stored.id)
