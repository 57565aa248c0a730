"""source_command: run one command in an archive's top folder; a failing one is an answer."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Tree

import source

MAX_REPORT = 8 * 1024 * 1024
KEPT = 16 * 1024


def counts(path: Path) -> dict[str, int] | None:
    """What a junit file counts; None where there is none that is plain."""
    if not path.is_file() or path.stat().st_size > MAX_REPORT:
        return None
    text = path.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        return None
    try:
        root = Tree.fromstring(text)  # noqa: S314 - no entities, and inside the sandbox
    except Tree.ParseError:
        return None
    found = {"total": 0, "passed": 0, "failed": 0, "errors": 0, "skipped": 0}
    names = {"error": "errors", "failure": "failed", "skipped": "skipped"}
    for case in root.iter("testcase"):
        found["total"] += 1
        found[next((names[child.tag] for child in case if child.tag in names), "passed")] += 1
    return found


def run(argv: list[str], top: Path, environment: dict[str, str], log: Path) -> tuple[int, str]:
    """(exit code as a shell tells it, why it did not begin)."""
    with log.open("wb") as out:
        try:
            code = subprocess.run(
                argv, cwd=top, env=environment, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, check=False,
            ).returncode  # fmt: skip
        except FileNotFoundError:
            return 127, f"There is no program {argv[0][:200]} in the sandbox."
        except (OSError, ValueError) as error:
            return 126, f"{argv[0][:200]} could not be started: {error}"[:500]
    return (code if code >= 0 else 128 - code), ""


def main() -> None:
    asked = source.options()
    top, _ = source.open_source()
    top = top.resolve()
    out = Path(os.environ["SANDBOX_OUT"])
    log = Path("command.log").resolve()
    environment = {
        **os.environ,
        # The interpreter of the level, and what is installed beside it, by their plain names.
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        "PYTHONPATH": f"{top}:{top / 'src'}",
    }
    if asked.get("count_tests"):
        environment["PYTEST_ADDOPTS"] = f"-p no:cacheprovider --junitxml={out / 'junit.xml'}"
    started = time.monotonic()
    code, why = run(asked["argv"], top, environment, log)
    size = log.stat().st_size
    with log.open("rb") as file:
        file.seek(max(0, size - KEPT))
        tail = file.read().decode("utf-8", "replace")
    result: dict[str, Any] = {
        "exit_code": code, "reason": why, "duration_s": round(time.monotonic() - started, 2),
        "log": tail, "log_bytes": size,
    }  # fmt: skip
    if asked.get("count_tests"):
        result["tests"] = counts(out / "junit.xml")
    source.answer(result)


with source.refusals_answered():
    main()
