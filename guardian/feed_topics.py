"""What one may listen to: topics by name, the scope each needs, the events each takes."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from guardian.authority import Actor, require_scope
from guardian.errors import Forbidden, Invalid
from guardian.kinds import patterns_for

MOST_TOPICS = 50
LONGEST = 200
_KINDS = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)*(?:\.\*)?")


@dataclass(frozen=True, slots=True)
class Notice:
    """A numbered event as the feed reads it, and its frame, written once for all who hear it."""

    seq: int
    team_id: UUID | None
    kind: str
    alias: str | None
    subject_label: str
    subject_id: str
    data: Mapping[str, Any]
    text: str

    @property
    def names(self) -> frozenset[str]:
        """All that may be written to mean its kind."""
        return frozenset(patterns_for(self.kind, self.alias))


# team, after, upto → messages of type `patch` for what happened between these numbers
Patches = Callable[[UUID, int, int], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Topic:
    """One thing that is listened to: events it takes, or patches made of them."""

    name: str
    scope: str
    takes: Callable[[Notice], bool] | None = None
    patches: Patches | None = None


# `board` in `board:default` → the topic for what stands behind the colon, if the actor has it.
Family = Callable[[Actor, str], Topic]
_families: dict[str, Family] = {}
_forms = {"agents": "agents", "events": "events", "events:": "events:<kind>", "metrics": "metrics"}


def family(prefix: str, *, of: str) -> Callable[[Family], Family]:
    """Register topics of an app above by the word before their colon; `of` names what follows."""

    def register(make: Family) -> Family:
        if _families.setdefault(prefix, make) is not make:
            raise RuntimeError(f"two families of topics are called {prefix}")
        _forms[prefix] = f"{prefix}:<{of}>"
        return make

    return register


def forms() -> list[str]:
    """All topics as they are written."""
    return [form for _, form in sorted(_forms.items())]


def no_such_topic() -> Forbidden:
    """What is unknown and what is another team's are refused alike."""
    # Within the 123 bytes that a close frame has for its reason.
    return Forbidden(
        f"No such topic; known: {', '.join(forms())}.",
        remedy="Name one of these, with an id or key of your own team.",
    )


def topics_of(actor: Actor, names: Any) -> tuple[Topic, ...]:
    """The named topics. Raises Invalid for what is no list of names, ScopeMissing, Forbidden."""
    if not isinstance(names, list) or len(names) > MOST_TOPICS:
        raise Invalid(path="subscribe", reason=f"must be a list of at most {MOST_TOPICS} topics")
    found = tuple(_topic(actor, name) for name in dict.fromkeys(_texts(names)))
    for topic in found:
        require_scope(actor, topic.scope)
    return found


def _texts(names: Iterable[Any]) -> list[str]:
    texts = [name for name in names if isinstance(name, str) and 0 < len(name) <= LONGEST]
    if len(texts) != len(list(names)) or not all(text.isprintable() for text in texts):
        raise Invalid(path="subscribe", reason="must hold names of topics")
    return texts


def _topic(actor: Actor, name: str) -> Topic:
    head, colon, rest = name.partition(":")
    if name == "events":
        return Topic(name, "events:read", lambda notice: True)
    if name == "agents":
        return Topic(name, "agents:read", lambda notice: ".agent." in notice.kind)
    if name == "metrics":
        return Topic(name, "system:read")
    if head == "events" and _KINDS.fullmatch(rest):
        return Topic(name, "events:read", lambda notice: rest in notice.names)
    make = _families.get(head if colon else name)
    if make is None:
        raise no_such_topic()
    return make(actor, rest)
