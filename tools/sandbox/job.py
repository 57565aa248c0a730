"""What is asked of a sandbox and what it answers: plain values, shared by all levels."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

LEVELS = ("container", "bwrap+", "bwrap", "none")  # strongest first
MIB = 1024 * 1024
# First word of Job.argv when the interpreter of the level is meant.
PYTHON = "{python}"

ShouldStop = Callable[[], bool]


def never() -> bool:
    return False


def level_is_enough(level: str, needed: str) -> bool:
    """True if `level` is at least as strong as `needed`."""
    return LEVELS.index(level) <= LEVELS.index(needed)


@dataclass(frozen=True)
class Limits:
    """Hard limits of one run; callers may only lower a tool's."""

    max_execution_seconds: float = 60
    memory_mb: int = 512
    cpus: float = 0.5
    pids: int = 64
    tmp_mb: int = 100
    out_mb: int = 16
    output_kb: int = 1024

    def lowered(self, asked: dict[str, float]) -> "Limits":
        """These limits with every value in `asked` that is lower."""
        values = {
            name: type(getattr(self, name))(min(value, getattr(self, name)))
            for name, value in asked.items()
            if name in asdict(self)
        }
        return Limits(**{**asdict(self), **values})


@dataclass(frozen=True)
class Job:
    """One program with its input. `files` are laid into its working directory."""

    argv: list[str]
    stdin: bytes = b""
    files: dict[str, bytes] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    inodes: int = 4096


@dataclass
class Report:
    """What one run did, judged (X-3). Streams are bytes, times milliseconds."""

    result_class: str
    level: str
    flags: list[str] = field(default_factory=list)
    exit_code: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    files: dict[str, bytes] = field(default_factory=dict)
    refused: list[dict[str, str]] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)
    error: str = ""
