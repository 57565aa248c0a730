"""The runner's half of X-5: names and sizes again, stdout as JSON."""

import json
import re
from typing import Any

NAME = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}\Z")
MAX_FILES, MAX_FILE, MAX_TOTAL = 64, 1024 * 1024, 8 * 1024 * 1024


def accept_file(
    name: bytes, content: bytes, files: dict[str, bytes], refused: list[dict[str, str]]
) -> None:
    """Keep a file the supervisor sent if it still obeys the rules; else list why not."""
    total = sum(map(len, files.values()))
    if not NAME.match(name):
        why = "name not allowed"
    elif len(content) > MAX_FILE or total + len(content) > MAX_TOTAL:
        why = "too large"
    elif len(files) >= MAX_FILES:
        why = f"more than {MAX_FILES} files"
    else:
        files[name.decode()] = content
        return
    refused.append({"name": name.decode("utf-8", "replace")[:300], "why": why})


def parse_output(stdout: bytes, *, required: bool) -> tuple[dict[str, Any], str]:
    """(output object, contract error). Text that is no JSON object becomes {"stdout": text}."""
    try:
        value = json.loads(stdout)
    except (ValueError, RecursionError):  # no JSON, or nested so deep that nobody can read it
        value = None
    if isinstance(value, dict):
        return value, ""
    if required:
        return {}, "The tool's output is not one JSON object."
    return {"stdout": stdout.decode("utf-8", "replace").replace("\0", "\ufffd")}, ""
