"""The rules of a gate: what a piece of evidence must hold, and in words what it lacks.

They read the stored content alone; who observed it is for `gates` to weigh.
"""

import operator
import shlex
from typing import Any

from phases.models import PhaseGateArtifact


def faults(rules: dict[str, Any], artifact: PhaseGateArtifact) -> list[str]:
    """What breaks the rules. Why there is not one test says all that its count could say."""
    found = {name: _check(name, value, artifact) for name, value in rules.items()}
    content = artifact.artifact_content
    none_ran = isinstance(content, dict) and content.get("total") == 0
    if found.get("all_passed") and none_ran and "min" in found:
        counted = {name: least for name, least in rules["min"].items() if name != "total"}
        found["min"] = _check("min", counted, artifact)
    return [text for texts in found.values() for text in texts]


def clause(sentence: str) -> str:
    """A sentence as part of another one; names and abbreviations keep their capitals."""
    text = sentence.rstrip(".")
    return text[0].lower() + text[1:] if text.startswith(("The ", "It ", "Modules ")) else text


def _check(name: str, value: Any, artifact: PhaseGateArtifact) -> list[str]:
    content = artifact.artifact_content
    if name in {"min_length", "sections"}:
        return _check_text(name, value, content if isinstance(content, str) else "")
    facts = content if isinstance(content, dict) else {}
    if name == "present":
        wanted = value if isinstance(value, list) else []
        return [f"{key} is missing" for key in wanted if key not in facts]
    if name == "all_passed":
        return _check_all_passed(facts)
    compare = {
        "min": lambda is_, want: is_ >= want,
        "max": lambda is_, want: is_ <= want,
        "equals": lambda is_, want: is_ == want,
    }[name]
    limit = {"min": "at least", "max": "at most", "equals": "exactly"}[name]
    return [
        f"{words(key)} is {facts.get(key, 'missing')}, {limit} {want} is needed"
        for key, want in value.items()
        if not _holds(compare, facts.get(key), want)
    ]


_OPERATIONS: dict[str, tuple[Any, str]] = {
    ">=": (operator.ge, "at least"),
    ">": (operator.gt, "more than"),
    "<=": (operator.le, "at most"),
    "<": (operator.lt, "less than"),
    "==": (operator.eq, "exactly"),
    "!=": (operator.ne, "anything but"),
}


def fault_in_figure(content: Any, path: str, op: str, wanted: float) -> str:
    """Why a figure, some steps into the content, is not as wanted; empty: it is."""
    here = content
    for step in path.split("."):
        here = here.get(step) if isinstance(here, dict) else None
    compare, limit = _OPERATIONS[op]
    name = words(path.replace(".", " "))
    if isinstance(here, bool) or not isinstance(here, (int, float)):
        return f"{name} is no number, {limit} {wanted} is needed"
    return "" if compare(here, wanted) else f"{name} is {here}, {limit} {wanted} is needed"


def said_of_check(kind: str, parameters: dict[str, Any]) -> str:
    """What a check tries, as the subject of a sentence."""
    if kind == "file_exists":
        return f"Whether {parameters['path']} exists"
    if kind == "file_contains":
        return f"Whether {parameters['path']} contains “{parameters['text'][:80]}”"
    return f"“{shlex.join(parameters['argv'])[:200]}”"


def _holds(compare: Any, is_: Any, want: Any) -> bool:
    if isinstance(want, bool) or isinstance(is_, bool):
        return is_ is want
    if isinstance(want, (int, float)) and not isinstance(is_, (int, float)):
        return False
    return bool(compare(is_, want))


def _check_text(name: str, value: Any, text: str) -> list[str]:
    if name == "min_length":
        return [] if len(text) >= value else [f"it has {len(text)} characters, {value} are needed"]
    headings = {
        line.strip().lstrip("#").strip().rstrip(":").lower().replace(" ", "_")
        for line in text.splitlines()
        if line.strip()
    }
    return [
        f"the section {section} is missing"
        for section in value
        if section.lower().replace(" ", "_") not in headings
    ]


def _check_all_passed(facts: dict[str, Any]) -> list[str]:
    failed, broken = facts.get("failed"), facts.get("errors", 0)
    if not isinstance(failed, int) or not isinstance(broken, int):
        return ["it does not say how many tests failed"]
    why = str(facts.get("reason") or "")
    if failed or broken:
        total = facts.get("total", "?")
        counts = [f"{failed} of {total} tests failed"] * bool(failed)
        counts += [f"{broken} of {total} could not run"] * bool(broken)
        return [" and ".join(counts), *_first_failures(facts), *([why] if why else [])]
    if facts.get("exit_code") not in {0, None}:
        # All that was counted passed, yet the run itself says that something went wrong.
        return [why or f"the test run ended with exit code {facts['exit_code']}"]
    return _check_any_passed(facts, why)


def _check_any_passed(facts: dict[str, Any], why: str) -> list[str]:
    """Tests that were all skipped or never found prove nothing, however clean the run."""
    passed, skipped = facts.get("passed"), facts.get("skipped")
    if isinstance(passed, int) and passed >= 1:
        return []
    if passed is None:
        return ["it does not say how many tests passed"]
    if isinstance(skipped, int) and skipped >= 1 and skipped == facts.get("total"):
        said = "the only test was skipped" if skipped == 1 else f"all {skipped} tests were skipped"
        return [said, *([why] if why else [])]
    return [why or "no test passed"]


def _first_failures(facts: dict[str, Any]) -> list[str]:
    """The first three by name, so that the card says where to look."""
    found = facts.get("failures")
    names = [
        str(item.get("test", "")).strip(":")[:120]
        for item in (found if isinstance(found, list) else [])
        if isinstance(item, dict)
    ]
    return [f"first of them: {', '.join(names[:3])}"] if names else []


def words(kind: str) -> str:
    """A machine's name as people write it."""
    return kind.replace("_", " ")
