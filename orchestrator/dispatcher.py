"""Who gets a piece of work: pure decisions over facts that were read before.

A score has four parts (specification of agents, A-10): how much of the need is covered, whether
the agent is idle, whether it is healthy, and up to five free slots.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

IDLE_BONUS = HEALTHY_BONUS = 0.2
PER_FREE_SLOT, MOST_COUNTED_SLOTS = 0.05, 5
# One level of urgency more for each ten minutes waited (A dispatcher, step 3).
AGEING = timedelta(seconds=600)


@dataclass(slots=True)
class Candidate:
    """An agent as the choice sees it."""

    id: UUID
    capabilities: frozenset[str]
    free: int
    state: str = "idle"
    health: str = "unknown"
    last_assigned_at: datetime | None = None
    user_id: UUID | None = None

    @property
    def available(self) -> bool:
        return self.state in {"idle", "running"} and self.health != "stale" and self.free > 0


@dataclass(slots=True)
class Work:
    """Something that waits for an agent."""

    id: UUID
    capabilities: frozenset[str]
    priority: int
    since: datetime
    refused: set[UUID] = field(default_factory=set)


def tokens(capabilities: Iterable[str]) -> frozenset[str]:
    """Trimmed, lower case, each once."""
    return frozenset(token.strip().lower() for token in capabilities if token.strip())


def score(candidate: Candidate, required: frozenset[str]) -> float:
    """How well an agent fits; 0 when it cannot be asked at all."""
    if not candidate.available:
        return 0.0
    covered = len(required & candidate.capabilities) / len(required) if required else 1.0
    if not covered:
        return 0.0
    return (
        covered
        + (IDLE_BONUS if candidate.state == "idle" else 0)
        + (HEALTHY_BONUS if candidate.health == "healthy" else 0)
        + PER_FREE_SLOT * min(candidate.free, MOST_COUNTED_SLOTS)
    )


def ranked(
    candidates: Iterable[Candidate], required: frozenset[str]
) -> list[tuple[Candidate, float]]:
    """Those that fit, best first; ties go to more free slots, then to the longest unassigned."""
    scored = [(c, score(c, required)) for c in candidates]
    return sorted(
        ((c, s) for c, s in scored if s > 0),
        key=lambda pair: (
            -pair[1],
            -pair[0].free,
            pair[0].last_assigned_at.timestamp() if pair[0].last_assigned_at else 0.0,
            str(pair[0].id),
        ),
    )


def choose(candidates: Iterable[Candidate], work: Work) -> Candidate | None:
    """The best agent that covers all of the need and has not refused it before."""
    for candidate, _ in ranked(candidates, work.capabilities):
        if work.capabilities <= candidate.capabilities and candidate.id not in work.refused:
            return candidate
    return None


def urgency(work: Work, now: datetime) -> tuple[int, datetime]:
    """Sorts work: priority 1 to 4, one level up for each ten minutes waited, then age."""
    raised = int((now - work.since) / AGEING)
    return (max(1, work.priority - raised), work.since)
