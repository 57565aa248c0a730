"""Names of events: which are Lemnos's own, which the world outside may use, which match."""

import re
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from django.apps import apps

from guardian.errors import KindReserved
from guardian.events import ALIASES, APP_LABELS, alias_of

LONGEST = 100
PRIORITY_WORDS = {1: "critical", 2: "high", 3: "normal", 4: "low"}
# Names under which programs outside will know what nothing tells yet: what anybody may tell today
# could not become ours tomorrow. Other names of the same first word are the world's.
RESERVED_NAMES = frozenset(
    {
        "agent.capability.updated", "agent.collab.started", "agent.handoff.requested",
        "agent.lost_tasks", "agent.message.sent", "agent.queue.long", "agent.stale",
        "board.wip_violated", "canary.seen", "coordination.sync.created", "discovery.recorded",
        "event.loop_stopped", "gate.check_requested", "grant.created", "grant.revoked",
        "grant.used", "pattern.learned", "rights.violated", "task.sla_risk", "tool.archived",
        "tool.proposed",
    }
)  # fmt: skip
_OUTSIDE = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+){1,2}")


@cache
def own_kinds() -> frozenset[str]:
    """Every kind that an app of Lemnos declares in its events.py."""
    found: set[str] = set(ALIASES)
    for config in apps.get_app_configs():
        if config.label in APP_LABELS and find_spec(f"{config.name}.events"):
            members = vars(import_module(f"{config.name}.events")).values()
            found |= {
                value
                for value in members
                if isinstance(value, str) and value.startswith(f"{config.label}.")
            }
    return frozenset(found)


@cache
def own_aliases() -> frozenset[str]:
    """The names under which outside programs know our own kinds."""
    return frozenset(alias for kind in own_kinds() if (alias := alias_of(kind)))


def is_outside(kind: str) -> bool:
    """Two or three dotted words, none of ours first, and no alias of ours."""
    first = kind.partition(".")[0]
    return (
        len(kind) <= LONGEST
        and _OUTSIDE.fullmatch(kind) is not None
        and first not in APP_LABELS
        and kind not in own_aliases() | RESERVED_NAMES
    )


def require_outside(kind: str) -> None:
    """Raises KindReserved."""
    if not is_outside(kind):
        raise KindReserved(kind=kind[:LONGEST])


def patterns_for(*kinds: str | None) -> list[str]:
    """What may be written to mean one of these kinds: `a.b.c` is also `a.b.*` and `a.*`."""
    found: list[str] = []
    for kind in filter(None, kinds):
        words = kind.split(".")
        found.append(kind)
        found += [".".join(words[:end]) + ".*" for end in range(len(words) - 1, 0, -1)]
    return list(dict.fromkeys(found))


@cache
def known_patterns() -> frozenset[str]:
    """All that may be written to mean events of our own, beside `*`."""
    return frozenset(patterns_for(*own_kinds(), *own_aliases()))


def is_known(pattern: str) -> bool:
    """Whether a pattern means events that Lemnos tells."""
    return pattern == "*" or pattern in known_patterns()


def is_outside_name(pattern: str) -> bool:
    """Whether it could mean events from outside: two or three words, none of ours first."""
    family = pattern.endswith(".*")
    words = pattern.removesuffix(".*").split(".")
    fits = len(words) in ((1, 2) if family else (2, 3))
    return fits and words[0] not in APP_LABELS


def nearest_known(pattern: str) -> str | None:
    """What of our own it is a slip of the pen for."""
    known = sorted(known_patterns())
    return next(iter(get_close_matches(pattern, known, n=1, cutoff=0.88)), None)
