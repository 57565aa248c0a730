"""Whether a task to be made is a copy of one that its ticket has in the same phase."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from guardian.authority import Actor
from guardian.outbox import emit
from phases import events
from phases.likeness import likeness, normalised
from phases.models import Task, Ticket

DUPLICATE_FROM, RELATED_FROM = 0.92, 0.50
# How many of a phase's tasks, the newest ones, a new one is compared with.
COMPARED = 200
# What ended without its work being done is nothing that a new task could be a copy of.
_NO_ORIGINAL = ("failed", "cancelled", "duplicated")

# By the id of a task that there is, or by the place of one that is made before it.
Scores = Mapping[UUID | int, float]


@dataclass(frozen=True, slots=True)
class Alike:
    """For each task to be made, how alike it is to what there is: by id, or by its place among
    the ones to be made before it. `newest` is the last task that was looked at."""

    scores: list[dict[UUID | int, float]]
    newest: UUID | None


def text_of(title: str, description: str = "") -> str:
    return f"{title}\n{description}".strip()


def compare(*, ticket: Ticket, keys: Sequence[str], texts: Sequence[str]) -> Alike:
    """Compare tasks to be made with those of the ticket and with each other, each in its phase.

    `keys` are their phases'. May call a model, so it is asked before the transaction.
    """
    known = list(_comparable(ticket, keys)[:COMPARED])
    others = [text_of(title, text) for _, _, title, text in known]
    rows = likeness(texts, [*others, *texts])
    scores: list[dict[UUID | int, float]] = []
    for i, row in enumerate(rows):
        found: dict[UUID | int, float] = {
            pk: score for (pk, key, _, _), score in zip(known, row, strict=False) if key == keys[i]
        }
        found |= {j: row[len(known) + j] for j in range(i) if keys[j] == keys[i]}
        scores.append(found)
    return Alike(scores, known[0][0] if known else None)


def still_true(
    *, ticket: Ticket, keys: Sequence[str], texts: Sequence[str], alike: Alike
) -> list[dict[UUID | int, float]]:
    """The scores without tasks that ended badly since, and with equals that were made since."""
    asked = {key for told in alike.scores for key in told if isinstance(key, UUID)}
    rows = _comparable(ticket, keys)
    alive = set(rows.filter(pk__in=asked).values_list("id", flat=True))
    newer = list(rows.filter(pk__gt=alike.newest) if alike.newest else rows)
    scores = []
    for i, text in enumerate(texts):
        told = alike.scores[i] if i < len(alike.scores) else {}
        kept = {k: v for k, v in told.items() if isinstance(k, int) or k in alive}
        kept |= {
            pk: 1.0
            for pk, key, title, description in newer
            if key == keys[i] and normalised(text_of(title, description)) == normalised(text)
        }
        scores.append(kept)
    return scores


def best_of(scores: Mapping[Any, float]) -> tuple[Any, float] | None:
    """What it is a copy of, with how alike they are; None where it is work of its own."""
    best = max(scores, key=lambda key: scores[key], default=None)
    return None if best is None or scores[best] < DUPLICATE_FROM else (best, scores[best])


def tell_copies(*, actor: Actor, copies: Iterable[tuple[Task, float]]) -> None:
    for task, score in copies:
        emit(
            events.TASK_DUPLICATED,
            subject=task,
            actor=actor,
            ticket_id=str(task.ticket_id),
            task_type=task.task_type,
            duplicate_of=str(task.duplicate_of_id),
            similarity=round(score, 4),
        )


def _comparable(ticket: Ticket, keys: Sequence[str]) -> "QuerySet[Task, tuple[Any, ...]]":
    rows = Task.objects.of_now(ticket).filter(phase__key__in=set(keys))
    rows = rows.exclude(status__in=_NO_ORIGINAL).order_by("-id")
    return rows.values_list("id", "phase__key", "title", "description")
