"""The head of a team's ledger: what had been charged when something was computed."""

import hashlib
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
