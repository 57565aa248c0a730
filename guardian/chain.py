"""The chain of hashes that makes the event log a ledger: how one is made, and proven."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from guardian.models import Event

FIRST_HASH = "0" * 64
# What a hash covers, in an event as well as in a line of the archive.
COVERED = (
    "seq", "id", "team", "kind", "priority", "actor", "subject", "data", "before", "after",
    "reason", "request_id", "created_at",
)  # fmt: skip


class LedgerBroken(Exception):
    """The ledger was changed, or a part of it is missing."""

    def __init__(self, seq: int, what: str) -> None:
        self.seq, self.what = seq, what
        super().__init__(f"The event log is broken at number {seq}: {what}.")


def content_of(event: Event) -> dict[str, Any]:
    """What the hash of an event covers, as plain JSON values read back from its row."""
    return {
        "seq": event.seq,
        "id": str(event.pk),
        "team": str(event.team_id) if event.team_id else None,
        "kind": event.kind,
        "priority": event.priority,
        "actor": str(event.actor_id) if event.actor_id else None,
        "subject": [event.subject_label, event.subject_id],
        "data": event.data,
        "before": event.before,
        "after": event.after,
        "reason": event.reason,
        "request_id": event.request_id,
        "created_at": event.created_at.isoformat(),
    }


def hash_of(prev_hash: str, content: Mapping[str, Any]) -> str:
    """SHA-256 over the previous hash and the content as JSON: sorted keys, no spaces, UTF-8."""
    return hashlib.sha256(prev_hash.encode() + as_json(content).encode()).hexdigest()


def as_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def chain_hash(prev_hash: str, event: Event) -> str:
    """The hash of an event behind the one before it."""
    return hash_of(prev_hash, content_of(event))


class Links:
    """Events one after the other, each proven against the one before; holds no more than one."""

    def __init__(self, *, after_seq: int = 0, after_hash: str = FIRST_HASH) -> None:
        self.seq, self.head, self.count = after_seq, after_hash, 0

    def add(self, content: Mapping[str, Any], *, prev_hash: str, digest: str) -> None:
        """Raises LedgerBroken with the first number at which something is wrong."""
        wanted = self.seq + 1
        if content["seq"] != wanted:
            raise LedgerBroken(wanted, f"it is missing, {content['seq']} comes next")
        if prev_hash != self.head:
            raise LedgerBroken(wanted, "it does not follow the one before")
        if digest != hash_of(prev_hash, content):
            raise LedgerBroken(wanted, "its content is not what was written")
        self.seq, self.head, self.count = wanted, digest, self.count + 1
