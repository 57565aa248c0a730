"""Name the outcome of a run from its evidence, first that holds (X-3)."""

from dataclasses import dataclass, field

DISK_FULL = b"No space left on device"


@dataclass
class Evidence:
    """Facts of one run: own decision, kernel counters, exit code, in this order of belief."""

    blocked: str = ""
    handler_error: str = ""
    infra_error: str = ""
    decision: str = ""  # cancelled, timeout or output_truncated; stored before the kill
    oom_kill: int = 0
    engine_oom: bool = False
    pids_max_hits: int = 0
    exit_code: int | None = None
    stderr: bytes = b""
    contract_error: str = ""
    limits_hit: list[str] = field(default_factory=list)


def signalled(code: int) -> bool:
    return code < 0 or 129 <= code <= 159


def classify(seen: Evidence) -> tuple[str, list[str]]:
    """(result class, every limit that was hit)."""
    code = seen.exit_code
    checks = [
        ("blocked", bool(seen.blocked)),
        ("handler_error", bool(seen.handler_error)),
        ("infra_error", bool(seen.infra_error)),
        (seen.decision, bool(seen.decision)),
        ("oom_killed", seen.oom_kill > 0 or seen.engine_oom),
        ("pids_exceeded", seen.pids_max_hits > 0),
        ("disk_full", code not in (0, None) and DISK_FULL in seen.stderr),
        ("killed_self", code is not None and signalled(code)),
        ("failed", code != 0),
        ("invalid_output", bool(seen.contract_error)),
    ]
    limits = {"timeout", "output_truncated", "oom_killed", "pids_exceeded", "disk_full"}
    flags = [name for name, holds in checks if holds and name in limits]
    return next((name for name, holds in checks if holds), "ok"), flags
