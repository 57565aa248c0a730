"""Handlers by name: how a tool's input becomes a job, and what its code may touch.

A tool row names a handler; the code is here or in `programs/`, never a dotted path from a row.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from guardian.errors import Invalid
from tools.sandbox.job import MIB, PYTHON, Job
from tools.self_source import pack_texts, self_archive

PROGRAMS = Path(__file__).parent / "programs"
ARCHIVE_MODULE = Path(__file__).parent / "sandbox" / "archive.py"

OpenFile = Callable[[str], bytes]
FORBIDDEN_ENV = ("LD_", "PYTHON", "PATH")


@dataclass(frozen=True)
class Call:
    """One call of a handler: the checked input, its origin, and a way to read the team's files."""

    input: dict[str, Any]
    origin: str
    open_file: OpenFile
    facts: Callable[[str], dict[str, Any]]


@dataclass(frozen=True)
class Handler:
    """How one built-in runs. `touches` decides the isolation: what happens to foreign input.

    `commands`: whoever calls says what is run, so even Lemnos's own source makes it no safer.
    """

    name: str
    touches: Literal["commands", "runs", "reads_reviewed", "reads"]
    build: Callable[[Call], Job]
    sources: tuple[Path, ...] = field(default=())
    json_output: bool = True


def program(name: str, *helpers: str) -> dict[str, bytes]:
    """The files a program needs beside it."""
    files = {f"{name}.py": (PROGRAMS / f"{name}.py").read_bytes()}
    files["source.py"] = (PROGRAMS / "source.py").read_bytes()
    files["archive.py"] = ARCHIVE_MODULE.read_bytes()
    return files


def run_program(name: str, options: dict[str, Any], **extra: Any) -> Job:
    files = {**program(name), **extra.pop("files", {})}
    return Job(
        argv=[PYTHON, "-E", "-s", f"{name}.py"],
        stdin=json.dumps(options).encode(),
        files=files,
        inodes=32768,
        **extra,
    )


def packed_source(call: Call) -> bytes:
    """The archive the call is about: the server's own, an uploaded one, or given texts.

    Raises Invalid, FileMissing.
    """
    if call.origin == "self":
        return self_archive()
    if "archive_id" in call.input:
        return call.open_file(str(call.input["archive_id"]))
    if "files" in call.input:
        return pack_texts(call.input["files"])
    raise Invalid(path="archive_id", reason="give archive_id or files")


def build_count_lines(call: Call) -> Job:
    if "text" in call.input:
        return run_program("count_lines", {"text": call.input["text"]})
    return run_program("count_lines", {}, files={"source.bin": packed_source(call)})


def build_inventory(call: Call) -> Job:
    return run_program("inventory", {}, files={"source.bin": packed_source(call)})


def build_pytest(call: Call) -> Job:
    options: dict[str, Any] = {"select": call.input.get("select", [])}
    if call.origin == "self":
        options["pytest_args"] = ["-m", "selfcheck"]
    return run_program(
        "pytest_run", options, files={"source.bin": packed_source(call)}, outputs=["junit.xml"]
    )


def build_source_command(call: Call) -> Job:
    """The command runs beside the source; what is wrong with it is the program's to say."""
    options = {"argv": call.input["argv"], "count_tests": call.input.get("count_tests", False)}
    return run_program("source_command", options, files={"source.bin": packed_source(call)})


def build_source_look(call: Call) -> Job:
    options: dict[str, Any] = {n: call.input[n] for n in ("path", "text") if n in call.input}
    return run_program("source_look", options, files={"source.bin": packed_source(call)})


def build_lint(call: Call) -> Job:
    options = {"select": call.input.get("select", []), "own_config": call.origin == "self"}
    return run_program("lint_run", options, files={"source.bin": packed_source(call)})


def build_read_artifact(call: Call) -> Job:
    asked = call.input
    offset, length = asked.get("offset", 0), asked.get("length", 65536)
    content = call.open_file(str(asked["artifact_id"]))[offset : offset + length]
    options = {"facts": call.facts(str(asked["artifact_id"]))}
    return run_program("read_artifact", options, files={"artifact.bin": content})


def build_write_artifact(call: Call) -> Job:
    if ("content" in call.input) == ("content_base64" in call.input):
        raise Invalid(path="content", reason="give either content or content_base64")
    return run_program("write_artifact", call.input, outputs=["content"])


def checked_environment(asked: dict[str, str]) -> dict[str, str]:
    for name in asked:
        if name.upper().startswith(FORBIDDEN_ENV):
            raise Invalid(path=f"environment.{name}", reason="this name may not be set")
    return asked


def build_run_python(call: Call) -> Job:
    files = {name: text.encode() for name, text in call.input.get("files", {}).items()}
    return Job(
        argv=[PYTHON, "-E", "-s", "main.py"],
        stdin=json.dumps(call.input.get("stdin_json")).encode(),
        files={**_checked_names(files), "main.py": call.input["code"].encode()},
        env=checked_environment(call.input.get("environment", {})),
        outputs=call.input.get("outputs", []),
    )


def build_run_command(call: Call) -> Job:
    files = {name: text.encode() for name, text in call.input.get("files", {}).items()}
    return Job(
        argv=list(call.input["argv"]),
        stdin=json.dumps(call.input.get("stdin_json")).encode(),
        files=_checked_names(files),
        env=checked_environment(call.input.get("environment", {})),
        outputs=call.input.get("outputs", []),
    )


def _checked_names(files: dict[str, bytes]) -> dict[str, bytes]:
    for name in files:
        parts = Path(name).parts
        if not parts or Path(name).is_absolute() or ".." in parts or len(name) > 200:
            raise Invalid(path="files", reason=f"{name[:50]!r} is not a plain relative name")
    if sum(map(len, files.values())) > MIB:
        raise Invalid(path="files", reason="more than 1 MiB together")
    return files


HANDLERS: dict[str, Handler] = {
    handler.name: handler
    for handler in (
        Handler("count_lines", "reads", build_count_lines),
        Handler("source_inventory", "reads", build_inventory),
        Handler("read_artifact", "reads", build_read_artifact),
        Handler("write_artifact", "reads", build_write_artifact),
        Handler("source_look", "reads", build_source_look),
        Handler("lint_run", "reads_reviewed", build_lint),
        Handler("source_command", "commands", build_source_command),
        Handler("pytest_run", "runs", build_pytest),
        Handler("run_python", "runs", build_run_python, json_output=False),
        Handler("run_command", "runs", build_run_command, json_output=False),
    )
}


@cache
def code_hash(name: str) -> str:
    """sha256 over what would run: this registry, the program and its helpers."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    paths = [ARCHIVE_MODULE, *sorted(PROGRAMS.glob("*.py"))]
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    digest.update(name.encode())
    return digest.hexdigest()
