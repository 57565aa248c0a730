"""What a completed task hands in: its form, and what of it can be stored as evidence."""

import json
import math
import re
from typing import Any

from guardian.errors import Invalid
from phases.gate_kinds import BY_KEY, Kind

CONTENT_LIMIT_BYTES = 256 * 1024
PATH_LIMIT = 500
_TYPE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FORMS: dict[str, tuple[type, str]] = {
    "summary": (str, "must be a text"),
    "outputs": (dict, "must be an object"),
    "decisions": (list, "must be a list"),
    "risks": (list, "must be a list"),
    "notes": (list, "must be a list"),
    "artifacts": (list, "must be a list"),
}


# Who observed a piece of evidence is written by Lemnos; whoever sends it cannot say so.
WRITTEN_BY_LEMNOS = ("source", "observation", "verified_by", "verified", "sha256", "visit")
RESERVED_REMEDY = (
    "Ask the gate: POST /api/v1/tickets/{id}/validate-gate. It lets the checks run, and puts up its"
    " questions, which POST /api/v1/tickets/{id}/artifacts/{artifact_id}/verify answers."
)


def reserved_type(kind: str) -> str:
    """Why nobody hands in evidence of a type that stands for a gate's own requirement."""
    if kind == Kind.MANUAL:
        return "manual is a gate's question: a person answers it, nobody hands the answer in"
    return (
        f"{kind} is evidence of our own runs: Lemnos writes it, nobody hands it in or confirms it"
    )


def check_result(result: dict[str, Any]) -> None:
    """Refuse a result that nobody could read or store later. Raises Invalid naming the fields."""
    faults = [
        (name, words)
        for name, (form, words) in _FORMS.items()
        if name in result and not isinstance(result[name], form)
    ]
    artifacts = result.get("artifacts")
    for index, item in enumerate(artifacts if isinstance(artifacts, list) else []):
        fault = fault_in_artifact(item)
        if fault is not None:
            field, reason = fault
            faults.append((f"artifacts.{index}.{field}".rstrip("."), reason))
    if not faults and (reason := fault_in_json(result)):
        faults.append(("", reason))
    if faults:
        errors = [
            {"path": f"result.{path}".rstrip("."), "code": Invalid.code, "message": reason}
            for path, reason in faults
        ]
        raise Invalid(f"{errors[0]['path']}: {errors[0]['message']}", errors=errors)


def fault_in_artifact(item: object) -> tuple[str, str] | None:
    """Why an item of `result.artifacts` cannot be evidence: (its field, reason); None: it can."""
    if not isinstance(item, dict):
        return "", "must be an object with type, path and content"
    kind, path = item.get("type"), item.get("path", "")
    if fault := _fault_in_claim(item, kind):
        return fault
    if not isinstance(path, str) or len(path) > PATH_LIMIT:
        return "path", f"must be a text of at most {PATH_LIMIT} characters"
    if reason := fault_in_json(path):
        return "path", reason
    if reason := fault_in_content(item.get("content")):
        return "content", reason
    return None


def _fault_in_claim(item: dict[str, Any], kind: object) -> tuple[str, str] | None:
    """What somebody says of a piece that is not theirs to say, or a type that is none."""
    for name in WRITTEN_BY_LEMNOS:
        if name in item:
            return name, "is written by Lemnos, not by whoever hands evidence in"
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        return "type", "must be 1 to 64 letters, digits, - or _"
    return ("type", reserved_type(kind)) if kind in BY_KEY else None


def fault_in_content(content: Any) -> str:
    """Why this cannot be stored as an artifact's content; empty: it can."""
    if reason := fault_in_json(content):
        return reason
    if len(json.dumps(content, ensure_ascii=False).encode()) > CONTENT_LIMIT_BYTES:
        return "must be at most 256 KiB"
    return ""


def fault_in_json(value: Any) -> str:
    """Why PostgreSQL could not keep this JSON value; empty: it can."""
    waiting = [value]
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict):
            waiting.extend(here)
            waiting.extend(here.values())
        elif isinstance(here, (list, tuple)):
            waiting.extend(here)
        elif isinstance(here, str):
            if "\0" in here:
                return "must not contain the NUL character"
            try:
                here.encode()
            except UnicodeEncodeError:
                return "must not contain half a character (a lone surrogate)"
        elif isinstance(here, float) and not math.isfinite(here):
            return "must not contain NaN or Infinity"
    return ""
