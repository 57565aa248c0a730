"""What /metrics reads from guardian's own tables at a scrape: three statements."""

from django.db.models import F, Max, Q

from guardian.models import Budget, PricePack
from guardian.scraping import Found, reads, rows_of

_HEAD = """
SELECT coalesce((SELECT max(seq) FROM guardian_event), 0),
       coalesce((SELECT extract(epoch FROM clock_timestamp() - min(created_at))
                   FROM guardian_event WHERE seq IS NULL), 0)
"""
# What is done stays for as long as its event does: only the open states have an index, and only
# they tell of work.
_COUNTS = """
SELECT 'deliveries', state, '', count(*) FROM guardian_delivery
 WHERE state IN ('pending', 'parked') GROUP BY 2
UNION ALL
SELECT 'locks', mode, '', count(*) FROM guardian_resourcelock
 WHERE released_at IS NULL AND expires_at > clock_timestamp() GROUP BY 2
UNION ALL
SELECT 'lock_waiters', '', '', count(*) FROM guardian_lockrequest
 WHERE state = 'waiting' AND wait_until > clock_timestamp()
UNION ALL
SELECT 'jobs', queue_name, status::text, count(*) FROM procrastinate_jobs
 WHERE status IN ('todo', 'doing', 'failed') GROUP BY 2, 3
"""


@reads(relay_head_seq=(), relay_lag_seconds=())
def relay() -> Found:
    """How far the events are numbered, and since when the oldest waits for its number."""
    seq, lag = rows_of(_HEAD)[0]
    return {"relay_head_seq": {(): seq}, "relay_lag_seconds": {(): max(0.0, float(lag))}}


@reads(deliveries=("state",), locks=("mode",), lock_waiters=(), jobs=("queue", "status"))
def queues() -> Found:
    """What is open: words that nothing stands under now are told as zero."""
    found: Found = {
        "deliveries": {("pending",): 0, ("parked",): 0},
        "locks": {("exclusive",): 0, ("shared",): 0},
        "lock_waiters": {(): 0},
        "jobs": {},
    }
    for family, first, second, number in rows_of(_COUNTS):
        found[family][tuple(word for word in (first, second) if word)] = number
    return found


@reads(budget_used_ratio=("scope_type",), pack_fresh=())
def money() -> Found:
    """The fullest budget of each kind of scope, and whether the prices are fresh."""
    fullest = (
        Budget.objects.filter(limit__gt=0)
        .values_list("scope_type")
        .annotate(used=Max((F("spent") + F("reserved")) / F("limit")))
    )
    fresh = PricePack.objects.filter(Q(status=PricePack.Status.FRESH)).exists()
    return {
        "budget_used_ratio": {(scope,): float(used) for scope, used in fullest},
        "pack_fresh": {(): float(fresh)},
    }
