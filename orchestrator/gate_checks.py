"""A gate's checks as runs of tools: what is called, and what its answer proves.

Phases knows what is asked, tools what is run; neither knows the other.
"""

from typing import Any

from phases.services import WantedCheck
from tools.models import ToolExecution

SECONDS = 300
# These runs say something of what was run. Of the others only the host or a person is to blame.
CONCLUSIVE = {
    "ok", "failed", "timeout", "output_truncated", "oom_killed", "pids_exceeded", "disk_full",
    "killed_self", "invalid_output",
}  # fmt: skip


def call_for(check: WantedCheck) -> tuple[str, dict[str, Any], float | None]:
    """(tool, its input beside the source, seconds) of a check."""
    asked = check.parameters
    if check.kind in {"file_exists", "file_contains"}:
        return (
            "source_look",
            {name: asked[name] for name in ("path", "text") if name in asked},
            None,
        )
    value = {"argv": asked["argv"], "count_tests": check.kind == "tests_pass"}
    return "source_command", value, float(asked.get("timeout_seconds", SECONDS))


def proves_something(execution: ToolExecution) -> bool:
    """Whether a run that ended was one of the source, and not the failure of a host."""
    return execution.has_ended and execution.result_class in CONCLUSIVE


def content_of(execution: ToolExecution, check: dict[str, Any]) -> dict[str, Any]:
    """The evidence as stored; `check` is what the run was asked for: key, kind, inputs."""
    found = execution.output_data if isinstance(execution.output_data, dict) else {}
    about = {"inputs": check["inputs"], **execution.input_data}
    about.pop("archive_id", None)
    about.pop("count_tests", None)
    if execution.result_class != "ok":
        log = str(execution.stderr)[-16_384:]
        return {**about, "passed": False, "reason": _sentence(execution.error_message), "log": log}
    if execution.tool.name == "source_look":
        reason = _why_not_there(execution.input_data, found)
        return {**about, "passed": not reason, "reason": reason, "size": found.get("size")}
    reason = _why_not_succeeded(found)
    kept = ("exit_code", "duration_s", "tests", "log", "log_bytes")
    values = {name: found[name] for name in kept if name in found}
    return {**about, "passed": not reason, "reason": reason, **values}


def _why_not_there(asked: dict[str, Any], found: dict[str, Any]) -> str:
    if found.get("exists") is not True:
        return f"There is no {asked['path']} in the source."
    if "text" in asked and found.get("contains") is not True:
        return f"{asked['path']} does not contain “{asked['text'][:200]}”."
    return ""


def _why_not_succeeded(found: dict[str, Any]) -> str:
    """Why a command is no success; tests that were counted must have passed, at least one."""
    code = found.get("exit_code")
    lines = [line for line in str(found.get("log", "")).splitlines() if line.strip()]
    said = f" It said: {lines[-1].strip()[:300]}" if lines else ""
    if found.get("reason"):
        return _sentence(str(found["reason"]))
    if code != 0:
        return f"it ended with exit code {code}.{said}"
    tests = found.get("tests")
    if not isinstance(tests, dict):
        return ""
    if tests.get("failed") or tests.get("errors"):
        return f"{tests['failed']} of {tests['total']} tests failed, {tests['errors']} broke."
    return "" if tests.get("passed") else "no test passed."


def _sentence(text: str) -> str:
    text = text.strip() or "it did not say why"
    return text if text.endswith((".", "!", "?")) else f"{text}."
