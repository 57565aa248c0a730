"""What a ticket carries: what its author gave it, and what its phases found out.

A workflow declares in its YAML which keys of the context its work is about and of which kind each
is, such as `context: {source: repository}`. What a value of a kind may be is known to the app that
reads it; that app says so here:

    @context_kind("repository")
    def check_source(actor: Actor, path: str, value: Any) -> None:
        ...  # raises Invalid naming `path` or a place below it; reads only

A declared key is required. The value is checked when the ticket is opened or changed, and may be
wrong by the time it is used: whoever uses it asks again.

A context is at most 256 KiB of JSON. What its author gave is refused above that; of what Lemnos
adds, the oldest goes first.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from guardian.authority import Actor
from guardian.errors import Invalid
from phases.errors import ReservedContextKey
from phases.models import Ticket, Workflow
from phases.results import fault_in_json

HISTORY = 50
LIMIT_BYTES = 256 * 1024
KEY_CHARACTERS = 100
# What a phase found out beside its tasks, the least needed first.
LISTS = ("notes", "artifacts", "risks", "decisions")
# Written by Lemnos itself when a ticket leaves a phase.
RESERVED = ("phases", "history", "last_updated_phase")

Check = Callable[[Actor, str, Any], None]
_kinds: dict[str, Check] = {}


def context_kind(name: str) -> Callable[[Check], Check]:
    """Put a check into the map of kinds."""

    def register(check: Check) -> Check:
        _kinds[name] = check
        return check

    return register


def known_kinds() -> list[str]:
    return sorted(_kinds)


def check_context(
    *, actor: Actor, workflow: Workflow, given: dict[str, Any], keys: Iterable[str]
) -> None:
    """Judge what somebody gives a ticket: of `keys`, declared by its workflow, also the value.

    Raises Invalid with the path of the fault.
    """
    for path in _long_keys(given):
        raise Invalid(path=path, reason=f"has a key of more than {KEY_CHARACTERS} characters")
    if reason := fault_in_json(given):
        raise Invalid(path="context", reason=reason)
    _check_size(given)
    for key in RESERVED:
        if key in given:
            raise ReservedContextKey(path=f"context.{key}", reason="is written by Lemnos")
    for key in keys:
        kind = workflow.context_kinds[key]
        if kind not in _kinds:
            raise Invalid(
                path=f"context.{key}", reason=f"is of kind {kind!r}, which none here reads"
            )
        _kinds[kind](actor, f"context.{key}", given.get(key))


def changed_context(ticket: Ticket, changes: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A ticket's context with these keys replaced, null removing one: (context, declared changed).

    The second part names the changed keys that the workflow's work is about. Raises Invalid where
    it becomes too large.
    """
    before = ticket.context
    after = {key: value for key, value in {**before, **changes}.items() if value is not None}
    _check_size(_given(after), before=_given(before))
    declared = [key for key in ticket.workflow.context_kinds if before.get(key) != after.get(key)]
    return _fitted(after), declared


def with_phase(context: dict[str, Any], phase: str, found: dict[str, Any]) -> dict[str, Any]:
    """A ticket's context with what a phase found out, within its limit."""
    entry = {
        "phase": phase,
        "visit": found["visit"],
        "tasks": len(found["tasks"]),
        "summary": found["summary"],
        "at": found["until"],
    }
    same = (phase, found["visit"])
    before = [e for e in context.get("history", []) if (e["phase"], e["visit"]) != same]
    return _fitted(
        {
            **context,
            "phases": {**context.get("phases", {}), phase: found},
            "history": [*before, entry][-HISTORY:],
            "last_updated_phase": phase,
        }
    )


def fitted_part(phase: str, found: dict[str, Any]) -> dict[str, Any]:
    """What a phase found out, small enough to be kept by itself."""
    part: dict[str, Any] = _fitted({"phases": {phase: found}})["phases"][phase]
    return part


def _given(context: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in context.items() if key not in RESERVED}


def _bytes(value: Any) -> int:
    # Half a character is refused with its own reason, not here.
    return len(json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"))


def _check_size(given: dict[str, Any], *, before: dict[str, Any] | None = None) -> None:
    """Refuse what is too large; one that was before may still be made smaller."""
    size = _bytes(given)
    if size > LIMIT_BYTES and (before is None or size >= _bytes(before)):
        raise Invalid(path="context", reason=f"must be at most 256 KiB as JSON, not {size} bytes")


def _long_keys(given: dict[str, Any]) -> Iterator[str]:
    """Paths of values whose keys are too long to be read."""
    waiting: list[tuple[str, Any]] = [("context", given)]
    while waiting:
        path, here = waiting.pop()
        if isinstance(here, dict):
            if any(len(key) > KEY_CHARACTERS for key in here):
                yield path
                continue
            waiting.extend((f"{path}.{key}", value) for key, value in here.items())
        elif isinstance(here, list):
            waiting.extend((f"{path}[{index}]", value) for index, value in enumerate(here))


def _fitted(context: dict[str, Any]) -> dict[str, Any]:
    """The context within its limit: outputs of the oldest tasks go first, then these tasks.

    After them what the oldest phases decided, and at last all that Lemnos itself wrote.
    """
    over = _bytes(context) - LIMIT_BYTES
    if over <= 0:
        return context
    phases = context.get("phases", {})
    tasks = {task["id"]: task for part in phases.values() for task in part["tasks"]}
    # Ids are ordered by time.
    for pk in sorted(tasks):
        if over > 0 and tasks[pk]["outputs"]:
            # Said, so that nobody takes it for a task that gave none.
            lighter = {**tasks[pk], "outputs": {}, "outputs_left_out": True}
            over -= _bytes(tasks[pk]) - _bytes(lighter)
            tasks[pk] = lighter
    for pk in sorted(tasks):
        if over > 0:
            over -= _bytes(tasks.pop(pk))
    left = {
        key: {**part, "tasks": [tasks[task["id"]] for task in part["tasks"] if task["id"] in tasks]}
        for key, part in phases.items()
    }
    return _without_lists({**context, "phases": left})


def _without_lists(context: dict[str, Any]) -> dict[str, Any]:
    """Whole lists go, of the phase that was left first, until it fits."""
    order = [entry["phase"] for entry in context.get("history", [])]
    phases = dict(context["phases"])
    for key in sorted(phases, key=lambda key: order.index(key) if key in order else -1):
        for name in LISTS:
            if _bytes({**context, "phases": phases}) <= LIMIT_BYTES:
                return {**context, "phases": phases}
            if phases[key].get(name):
                phases[key] = {**phases[key], name: [], "left_out": True}
    whole = {**context, "phases": phases}
    return whole if _bytes(whole) <= LIMIT_BYTES else _given(context)
