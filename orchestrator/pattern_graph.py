"""Which step waits for which: in sequence, or as a graph where a step says what it depends on."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from guardian import conditions
from guardian.references import Reference
from orchestrator import templates

Step = Mapping[str, Any]


def is_graph(steps: Sequence[Step]) -> bool:
    return any(step["depends_on"] for step in steps)


def needs(steps: Sequence[Step]) -> dict[str, list[str]]:
    """Step id → ids that must have ended before, in the order of the file.

    In a graph: what it depends on and what it refers to; else the step before it.
    """
    if not is_graph(steps):
        chain = {after["id"]: [before["id"]] for before, after in pairwise(steps)}
        return {step["id"]: chain.get(step["id"], []) for step in steps}
    owner = {step["as"]: step["id"] for step in steps}
    order = [step["id"] for step in steps]
    found = {}
    for step in steps:
        wanted = set(step["depends_on"])
        wanted |= {owner[name] for name in state_keys(step) if name in owner}
        found[step["id"]] = [step_id for step_id in order if step_id in wanted]
    return found


def step_references(step: Step) -> Iterator[Reference]:
    """Every reference in a step's arguments and condition. Both must be readable."""
    yield from templates.references(step["args"])
    if step["condition"]:
        yield from conditions.references(conditions.parse(step["condition"]))


def state_keys(step: Step) -> set[str]:
    return {
        str(reference.parts[0])
        for reference in step_references(step)
        if reference.root == "state" and reference.parts
    }


def cycle(waits: Mapping[str, Sequence[str]]) -> list[str]:
    """The steps that wait for each other in a circle; none where every step can run."""
    left = {step: set(wanted) & set(waits) for step, wanted in waits.items()}
    while free := [step for step, wanted in left.items() if not wanted]:
        for step in free:
            del left[step]
        for wanted in left.values():
            wanted.difference_update(free)
    return _circle(left) if left else []


def _circle(left: Mapping[str, set[str]]) -> list[str]:
    """One way round: every step that is left waits for another that is left."""
    seen: list[str] = []
    at = min(left)
    while at not in seen:
        seen.append(at)
        at = min(left[at])
    return [*seen[seen.index(at) :], at]
