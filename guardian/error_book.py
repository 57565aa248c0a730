"""What each error code means and what helps, collected from the classes that raise it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps

from guardian.errors import DomainError

# Of the code that the most different refusals share.
GENERAL_REMEDY = "Read the detail: it names what stands in the way."


@dataclass(slots=True)
class Entry:
    """One code: its title, what it means, what helps, its HTTP status."""

    code: str
    status: int
    means: str
    remedy: str
    # What more special errors with the same code say.
    also: list[str] = field(default_factory=list)
    members: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return self.code.replace("_", " ").capitalize()


def kinds(base: type[DomainError] = DomainError) -> Iterator[type[DomainError]]:
    """Every error class of an installed app, the general before the special."""
    yield base
    for special in base.__subclasses__():
        if apps.get_containing_app_config(special.__module__) is not None:
            yield from kinds(special)


def entries() -> dict[str, Entry]:
    """Code → entry; of several errors with one code the most general speaks first."""
    found: dict[str, Entry] = {}
    for kind in sorted(kinds(), key=lambda kind: len(kind.__mro__)):
        entry = found.get(kind.code)
        if entry is None:
            remedy = GENERAL_REMEDY if kind.code == DomainError.code else kind.remedy
            members = dict(kind.example)
            found[kind.code] = Entry(kind.code, kind.status, meaning(kind), remedy, [], members)
            continue
        if (said := meaning(kind)) not in {entry.means, *entry.also}:
            entry.also.append(said)
    return dict(sorted(found.items()))


def meaning(kind: type[DomainError]) -> str:
    """The sentence an error says when it is given no other."""
    return (kind.__doc__ or "").strip().splitlines()[0]


def told(code: str) -> str:
    """A code as sentences for people: what it means, then what helps."""
    entry = entries().get(code)
    if entry is None:
        return f"{code.replace('_', ' ').capitalize()}."
    return " ".join(filter(None, (entry.means, entry.remedy)))


def blames_input(code: str) -> bool:
    """Whether a code speaks of what was handed in: the same again is refused again."""
    entry = entries().get(code)
    return entry is not None and entry.status == 422
