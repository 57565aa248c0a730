"""Fences: whether a lease is still the newest on its resource, asked of and during other writes."""

import re
from uuid import UUID

from django.db.models.functions import Now

from guardian.authority import Actor
from guardian.errors import Invalid, NotFound
from guardian.models import ResourceLock
from guardian.prepared import run_prepared
from guardian.services.lock_leases import lease_lost
from guardian.services.lock_queue import key_named, key_of

HEADER = "Lemnos-Fence"
MOST_FENCES = 10
_ONE = re.compile(
    r"(?P<lock>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}):(?P<fence>\d{1,18})"
)


def verify_fence(*, actor: Actor, resource_type: str, resource_id: str, fence: int) -> None:
    """That a lock with this fence is held on the resource now, whoever holds it.

    Raises LeaseLost.
    """
    key = key_named(actor.team_id, resource_type, resource_id)
    held = ResourceLock.objects.on_key(key).filter(fence=fence, expires_at__gt=Now())
    if not held.exists():
        raise lease_lost(key)


def check_fences(*, actor: Actor, header: str) -> None:
    """That every `<lock>:<fence>` of a header is current, and stays so until this transaction ends.

    Raises Invalid, NotFound, LeaseLost.
    """
    texts = [part.strip() for part in header.split(",")]
    found = [_ONE.fullmatch(text) for text in texts]
    if len(texts) > MOST_FENCES:
        raise Invalid(path=HEADER, reason=f"at most {MOST_FENCES} fences")
    for match in found:
        if match is None:
            raise Invalid(path=HEADER, reason="must look like <lock id>:<fence>")
    pairs = {UUID(match["lock"]): int(match["fence"]) for match in found if match}
    locks = {
        lock.pk: lock for lock in ResourceLock.objects.filter(pk__in=pairs, team_id=actor.team_id)
    }
    for lock_id, fence in sorted(pairs.items()):
        if lock_id not in locks:
            raise NotFound("There is no such lock.")
        if not _kept(lock_id, fence):
            raise lease_lost(key_of(locks[lock_id]))


def _kept(lock_id: UUID, fence: int) -> bool:
    """FOR SHARE: nobody ends this lock, so nobody else gets it, before this write is done."""
    rows = run_prepared(
        """SELECT 1 FROM guardian_resourcelock
            WHERE id = %(lock)s AND fence = %(fence)s::bigint AND state = 'held'
              AND expires_at > clock_timestamp() FOR SHARE""",
        {"lock": lock_id, "fence": fence},
    )
    return bool(rows)
