"""What a ticket carries: what its author gave it, and what its phases found out.

A workflow declares in its YAML which keys of the context its work is about and of which kind each
is, such as `context: {source: repository}`. What a value of a kind may be is known to the app that
reads it; that app says so here:

    @context_kind("repository")
    def check_source(actor: Actor, path: str, value: Any) -> None:
        ...  # raises Invalid naming `path` or a place below it; reads only

A declared key is required. The value is checked when the ticket is opened or changed, and may be
wrong by the time it is used: whoever uses it asks again.
"""

from collections.abc import Callable, Iterable
from typing import Any

from guardian.authority import Actor
from guardian.errors import Invalid
from phases.errors import ReservedContextKey
from phases.models import Task, Ticket, Workflow

SUMMARY_CHARACTERS = 2000
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

    The second part names the changed keys that the workflow's work is about.
    """
    before = ticket.context
    after = {key: value for key, value in {**before, **changes}.items() if value is not None}
    declared = [key for key in ticket.workflow.context_kinds if before.get(key) != after.get(key)]
    return after, declared


def remember_phase(ticket: Ticket) -> None:
    """What the left phase found out goes on with the ticket; the caller saves it."""
    done = Task.objects.filter(
        ticket=ticket, phase=ticket.phase, status=Task.Status.COMPLETED
    ).order_by("completed_at", "id")
    tasks = [
        {
            "id": str(task.pk),
            "type": task.task_type,
            "summary": str(task.result.get("summary", ""))[:500],
            "outputs": task.result.get("outputs", {}),
        }
        for task in done
    ]
    if tasks:
        ticket.context = {
            **ticket.context,
            "phases": {**ticket.context.get("phases", {}), ticket.phase.key: {"tasks": tasks}},
            "last_updated_phase": ticket.phase.key,
        }
        texts = (str(task["summary"]) for task in tasks if task["summary"])
        ticket.context_summary = "; ".join(texts)[:SUMMARY_CHARACTERS]
