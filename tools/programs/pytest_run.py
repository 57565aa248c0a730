"""pytest_run: run an archive's tests as it lies there; nothing is installed."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Tree

import source

MAX_REPORT = 8 * 1024 * 1024
MAX_FAILURES = 50
MISSING = re.compile(r"No module named '([A-Za-z0-9_.]{1,100})'")
EXITS = {
    2: "The test run was interrupted.", 3: "pytest broke down.",
    4: "pytest was called wrongly or its configuration is not usable here.",
    5: "The source has no tests.",
}  # fmt: skip


def read_report(path: Path) -> tuple[dict[str, int], list[dict[str, str]]]:
    """Totals and failures of a junit file; {} if it is missing or not plain."""
    if not path.is_file() or path.stat().st_size > MAX_REPORT:
        return {}, []
    text = path.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        return {}, []
    try:
        root = Tree.fromstring(text)  # noqa: S314 - no entities, and inside the sandbox
    except Tree.ParseError:
        return {}, []
    counts = {"total": 0, "passed": 0, "failed": 0, "errors": 0, "skipped": 0}
    failures: list[dict[str, str]] = []
    for case in root.iter("testcase"):
        counts["total"] += 1
        kinds = {child.tag: child for child in case}
        kind = next((k for k in ("error", "failure", "skipped") if k in kinds), "")
        counts[
            {"error": "errors", "failure": "failed", "skipped": "skipped"}.get(kind, "passed")
        ] += 1
        if kind in ("error", "failure") and len(failures) < MAX_FAILURES:
            failures.append(
                {
                    "test": f"{case.get('classname', '')}::{case.get('name', '')}"[:300],
                    "message": (kinds[kind].get("message") or "")[:500],
                }
            )
    return counts, failures


def main() -> None:
    asked = source.options()
    top, _ = source.open_source()
    top = top.resolve()
    out = Path(os.environ["SANDBOX_OUT"])
    log_path = Path("pytest.log").resolve()
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no", "--tb=short",
        f"--junitxml={out / 'junit.xml'}", *asked.get("pytest_args", []), *asked.get("select", []),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"{top}:{top / 'src'}"}
    started = time.monotonic()
    with log_path.open("wb") as log:
        code = subprocess.run(
            command, cwd=top, env=environment, stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT, check=False,
        ).returncode  # fmt: skip
    duration = time.monotonic() - started
    size = log_path.stat().st_size
    with log_path.open("rb") as log:
        log.seek(max(0, size - 48 * 1024))
        tail = log.read().decode("utf-8", "replace")
    sys.stderr.write(tail)
    counts, failures = read_report(out / "junit.xml")
    missing = sorted({name.split(".")[0] for name in MISSING.findall(tail)})[:20]
    result: dict[str, Any] = {
        "total": 0, "passed": 0, "failed": 0, "errors": 0, "skipped": 0, **counts,
        "exit_code": code, "duration_s": round(duration, 2), "missing_modules": missing,
        "failures": failures,
    }  # fmt: skip
    if not counts and "No module named pytest" in tail:
        # Of the image, not of the source: the run failed, no test did.
        raise SystemExit(
            "The sandbox image has no pytest; build it anew: script/sandbox-image build"
        )
    reason = EXITS.get(code, "" if code in (0, 1) else f"pytest ended with code {code}.")
    if code in (1, 2, 3, 4) and not counts.get("total") and tail.strip():
        reason = f"{reason} It said: {tail.strip().splitlines()[-1][:300]}"
    if missing:
        reason += f" Modules that are not installed in the sandbox: {', '.join(missing)}."
    source.answer({**result, "reason": reason.strip()})


with source.refusals_answered():
    main()
