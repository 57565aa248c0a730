"""What a phase found out: taken from its completed tasks, and told in a few points."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from phases.models import Phase, Task, Ticket

TASK_SUMMARY, PHASE_SUMMARY = 500, 500
POINTS, SUMMARY_CHARACTERS = 20, 2_000
# Of a kind, of one phase: so that one talkative phase leaves room for the others.
SAME_KIND = 3
LISTS = ("decisions", "risks", "notes")
_SAYS = ("text", "summary", "decision", "risk", "title", "name", "description")


def harvest(ticket: Ticket, phase: Phase) -> dict[str, Any]:
    """{tasks, decisions, risks, notes, artifacts, summary, visit, until} of a phase.

    In the order in which its tasks were completed; empty where none was.
    """
    done = Task.objects.of_now(ticket).filter(phase=phase, status=Task.Status.COMPLETED)
    tasks = list(
        done.only("task_type", "result", "visit", "completed_at").order_by("completed_at", "id")
    )
    if not tasks:
        return {}
    results = [task.result if isinstance(task.result, dict) else {} for task in tasks]
    found: dict[str, Any] = {
        "tasks": [
            {
                "id": str(task.pk),
                "type": task.task_type,
                "summary": str(result.get("summary", ""))[:TASK_SUMMARY],
                "outputs": result.get("outputs", {}),
            }
            for task, result in zip(tasks, results, strict=True)
        ]
    }
    for name in LISTS:
        found[name] = once_each(item for result in results for item in _list(result, name))
    found["artifacts"] = once_each(
        # The bytes are evidence, and kept there.
        {key: item[key] for key in ("type", "path") if key in item}
        for result in results
        for item in _list(result, "artifacts")
        if isinstance(item, dict)
    )
    said = once_each(task["summary"].strip() for task in found["tasks"])
    found["summary"] = cut("; ".join(filter(None, said)), PHASE_SUMMARY)
    last = tasks[-1].completed_at
    visit = max(task.visit for task in tasks)
    return {**found, "visit": visit, "until": last.isoformat() if last else None}


def _list(result: Mapping[str, Any], name: str) -> list[Any]:
    items = result.get(name)
    return items if isinstance(items, list) else []


def once_each(items: Iterable[Any]) -> list[Any]:
    """Each once, in their order; objects and lists are the same where their JSON is."""
    return list({json.dumps(i, sort_keys=True, ensure_ascii=False): i for i in items}.values())


def cut(text: str, limit: int) -> str:
    """One line of at most `limit` characters, cut behind a word where there is one."""
    flat = " ".join(text.split())
    if len(flat) <= limit:
        return flat
    head, space, _ = flat[:limit].rpartition(" ")
    return f"{(head if space else flat[: limit - 1]).rstrip()}…"[:limit]


def points(name: str, found: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """(rank, what is told of a phase): its summary, decisions, risks, the task it began with."""
    if found.get("summary"):
        yield 0, f"{name}: {found['summary']}"
    for rank, (kind, word) in enumerate((("decisions", "Decided"), ("risks", "Risk")), start=1):
        for item in found.get(kind, [])[:SAME_KIND]:
            yield rank, f"{word}: {_said(item)}"
    tasks = [task for task in found.get("tasks", []) if task.get("summary")]
    if len(tasks) > 1:  # with one it is what the summary says
        yield 3, f"Lead task {tasks[0]['type']}: {tasks[0]['summary']}"


def _said(item: Any) -> str:
    if isinstance(item, dict):
        item = next((item[key] for key in _SAYS if isinstance(item.get(key), str)), item)
    return item if isinstance(item, str) else json.dumps(item, ensure_ascii=False, sort_keys=True)


def summary_of(phases: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """At most 20 points and 2,000 characters, a line each, of phases in their order.

    Where there is more, the summaries of all phases go first, and of each kind the newest.
    """
    said = [
        (rank, place, text)
        for place, (name, found) in enumerate(phases)
        for rank, text in points(name, found)
    ]
    chosen = sorted(range(len(said)), key=lambda n: (said[n][0], -said[n][1], n))[:POINTS]
    if not chosen:
        return ""
    room = SUMMARY_CHARACTERS // len(chosen) - len("- \n")
    return "\n".join(f"- {cut(said[n][2], room)}" for n in sorted(chosen))
