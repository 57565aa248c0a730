"""Dry runs: what a run would do, with which arguments, how long and at what cost.

Nothing is called and nothing is written; it needs no price pack and works while one is built.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from guardian import conditions
from guardian.errors import DomainError
from orchestrator import capabilities, templates
from orchestrator.models import ExecutionPattern, StepRun
from orchestrator.pattern_graph import needs
from orchestrator.pattern_inputs import checked_inputs

SAMPLES = 50
# A stand-in for the facts that a real run pins when it starts.
UNPINNED = "known when the run starts"


def dry_run(
    *,
    pattern: ExecutionPattern,
    team_id: UUID,
    inputs: Mapping[str, Any],
    fixtures: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Follow the plan with results from `fixtures` (by `as`), else recorded ones, else examples.

    A step that needs a result nobody knows has `args` null and `would_run` null.
    """
    errors: list[dict[str, str]] = []
    values: dict[str, Any] = dict(inputs)
    try:
        values = checked_inputs(pattern.normal["inputs"], inputs)
    except DomainError as refused:
        errors += refused.data["errors"]
    steps = pattern.normal["steps"]
    names = {step["as"] for step in steps}
    errors += [
        {"path": f"fixtures.{name}", "code": "unknown_field", "message": "is no result's name"}
        for name in sorted(set(fixtures) - names)
    ]
    durations = {name: _durations(team_id, name) for name in {s["capability"] for s in steps}}
    plan = _plan(steps, values, fixtures, team_id, errors)
    running = {item["step"] for item in plan if item["would_run"] is not False}
    path = _critical_path(steps, running, durations)
    return {
        "valid": not errors,
        "errors": errors,
        "plan": plan,
        "critical_path": path,
        "forecast": _forecast(steps, running, path, durations),
    }


def _plan(
    steps: Iterable[Mapping[str, Any]],
    inputs: Mapping[str, Any],
    fixtures: Mapping[str, Mapping[str, Any]],
    team_id: UUID,
    errors: list[dict[str, str]],
) -> list[dict[str, Any]]:
    state: dict[str, Any] = {}
    scope = {"inputs": inputs, "state": state, "ctx": _Unpinned()}
    waiting = list(steps)
    wanted = needs(waiting)
    done: set[str] = set()
    plan: list[dict[str, Any]] = []
    while waiting:
        step = next(s for s in waiting if set(wanted[s["id"]]) <= done)
        waiting.remove(step)
        done.add(step["id"])
        item = _rehearsed(step, scope, errors)
        item["result_source"] = None
        if item["would_run"] is not False:
            source, result = _result(step, fixtures, team_id)
            item["result_source"] = source
            if result is not None:
                state[step["as"]] = result
        plan.append(item)
    return plan


class _Unpinned(dict[str, Any]):
    """Answers every key: a reference to ctx is known to be good, its value is not known yet."""

    def get(self, key: str, default: Any = None) -> Any:
        return UNPINNED


def _rehearsed(
    step: Mapping[str, Any], scope: Mapping[str, Any], errors: list[dict[str, str]]
) -> dict[str, Any]:
    item: dict[str, Any] = {
        "step": step["id"],
        "capability": step["capability"],
        "agent": step["agent"],
        "condition": step["condition"] or None,
        "args": None,
        "would_run": True,
    }
    if step["condition"]:
        try:
            item["would_run"] = conditions.evaluate(conditions.parse(step["condition"]), scope)
        except DomainError:
            item["would_run"] = None
    if item["would_run"] is False:
        return item
    try:
        item["args"] = templates.render(step["args"], scope)
    except DomainError:
        return item
    try:
        capabilities.find(step["capability"]).check_args(item["args"])
    except DomainError as refused:
        errors.append(
            {"path": f"steps.{step['id']}", "code": refused.code, "message": refused.detail}
        )
    return item


def _result(
    step: Mapping[str, Any], fixtures: Mapping[str, Mapping[str, Any]], team_id: UUID
) -> tuple[str, Mapping[str, Any] | None]:
    if step["as"] in fixtures:
        return "fixture", fixtures[step["as"]]
    recorded = (
        StepRun.objects.for_team(team_id)
        .filter(capability=step["capability"], state="succeeded")
        .order_by("-finished_at")
        .values_list("result", flat=True)
        .first()
    )
    if recorded is not None:
        return "recorded", recorded
    try:
        example = capabilities.find(step["capability"]).example
    except DomainError:
        return "unknown", None
    return ("example", example) if example else ("unknown", None)


def _durations(team_id: UUID, capability: str) -> list[int]:
    """Milliseconds of the newest calls, rising."""
    rows = (
        StepRun.objects.for_team(team_id)
        .filter(capability=capability, state="succeeded", metadata__has_key="duration_ms")
        .order_by("-finished_at")
        .values_list("metadata", flat=True)[:SAMPLES]
    )
    return sorted(int(metadata["duration_ms"]) for metadata in rows)


def percentile(rising: list[int], share: float) -> int:
    """The nearest-rank percentile of rising values; 0 for none."""
    return rising[max(0, math.ceil(share * len(rising)) - 1)] if rising else 0


def _critical_path(
    steps: Iterable[Mapping[str, Any]], running: set[str], durations: Mapping[str, list[int]]
) -> list[str]:
    """The chain of steps that decides how long the run takes."""
    rows = list(steps)
    capability = {step["id"]: step["capability"] for step in rows}
    wanted = needs(rows)
    best: dict[str, tuple[int, list[str]]] = {}

    def longest(step_id: str) -> tuple[int, list[str]]:
        if step_id not in best:
            before = max((longest(other) for other in wanted[step_id]), default=(0, []))
            own = percentile(durations[capability[step_id]], 0.5) if step_id in running else 0
            path = [*before[1], step_id] if step_id in running else before[1]
            best[step_id] = (before[0] + own, path)
        return best[step_id]

    return max((longest(step["id"]) for step in rows), key=lambda p: (p[0], len(p[1])))[1]


def _forecast(
    steps: Iterable[Mapping[str, Any]],
    running: set[str],
    path: list[str],
    durations: Mapping[str, list[int]],
) -> dict[str, Any]:
    """The time of the critical path; no capability costs money without a model."""
    capability = {step["id"]: step["capability"] for step in steps if step["id"] in running}
    called = set(capability.values())
    samples = sum(len(durations[name]) for name in called)
    measured = bool(called) and all(durations[name] for name in called)
    on_path = [durations[capability[step_id]] for step_id in path]
    return {
        "cost_usd": "0",
        "duration_ms": {
            "p50": sum(percentile(rising, 0.5) for rising in on_path),
            "p90": sum(percentile(rising, 0.9) for rising in on_path),
        },
        "samples": samples,
        "basis": "measured" if measured else "default" if samples else "none",
    }
