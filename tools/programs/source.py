"""Shared by the programs: options in, unpacked source, one JSON object out. Stdlib only."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import archive  # laid beside the programs by the runner

PACKED, UNPACKED = Path("source.bin"), Path("source")


def options() -> dict[str, Any]:
    """The tool's input, one JSON object on standard input."""
    value = json.load(sys.stdin)
    if not isinstance(value, dict):
        raise SystemExit("the input is not an object")
    return value


def answer(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def refusals_answered() -> Iterator[None]:
    """An archive that is refused is an answer with its code, not a crash of the tool."""
    try:
        yield
    except archive.ArchiveRefused as refused:
        answer({"refused": {"code": refused.code, "message": str(refused)}})


def open_source() -> tuple[Path, dict[str, Any]]:
    """(single top folder of the unpacked archive, what unpacking reported)."""
    report = archive.unpack(PACKED, UNPACKED)
    return archive.single_top(UNPACKED), report
