"""What was told before: the head of a team's ledger, and the events about some subjects."""

import hashlib
from collections.abc import Iterable
from uuid import UUID

from guardian import events
from guardian.models import Event


def ledger_head(team_id: UUID) -> tuple[str, int]:
    """Chain hash and number of the team's newest stamped charge.

    An empty ledger has a hash of its own, so that equal hashes always mean equal ledgers.
    """
    newest = (
        Event.objects.stamped()
        .filter(team_id=team_id, kind=events.COST_CHARGED)
        .order_by("-seq")
        .values_list("hash", "seq")
        .first()
    )
    if newest is None:
        return hashlib.sha256(f"lemnos-ledger:{team_id}".encode()).hexdigest(), 0
    return newest[0], newest[1] or 0


def told_of(*, team_id: UUID, kind: str, subject_ids: Iterable[UUID | str]) -> list[Event]:
    """Events of a kind about these subjects, oldest first; also those not numbered yet."""
    found = Event.objects.filter(
        team_id=team_id, kind=kind, subject_id__in=[str(pk) for pk in subject_ids]
    )
    return list(found.order_by("created_at", "id"))
