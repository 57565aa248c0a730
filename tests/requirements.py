"""Programs of the machine that some tests need: asked for aloud, counted, never skipped silently.

A test marked `docker`, `browser` or `bwrap`, or a fixture that calls `require`, skips with a reason
where the program is missing; LEMNOS_REQUIRE=docker,browser turns that into a failure.
"""

import os
import shutil
import subprocess
from collections import Counter
from functools import cache

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_missing: Counter[str] = Counter()


def require(name: str) -> None:
    """Go on only where `docker`, `browser` or `bwrap` works."""
    reason = why_not(name)
    if reason is None:
        return
    if name in os.environ.get("LEMNOS_REQUIRE", "").replace(",", " ").split():
        pytest.fail(f"LEMNOS_REQUIRE names {name}: {reason}", pytrace=False)
    _missing[f"{name}: {reason}"] += 1
    pytest.skip(f"{name}: {reason}")


@cache
def why_not(name: str) -> str | None:
    """Why the requirement is not met, or None."""
    return {"docker": _docker, "browser": _browser, "bwrap": _bwrap}[name]()


def _docker() -> str | None:
    from tools.sandbox import docker

    try:
        client = docker.connect(timeout=5)
        client.ping()
        client.close()
    except docker.FAILURES:
        return "no Docker engine answers (script/engine start)"
    return None


def _browser() -> str | None:
    found = any(shutil.which(browser) for browser in BROWSERS)
    return None if found else "no Chromium (apt-get install chromium)"


def _bwrap() -> str | None:
    if shutil.which("bwrap") is None:
        return "no bubblewrap (apt-get install bubblewrap)"
    tried = subprocess.run(
        ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"], check=False, capture_output=True
    )
    return None if tried.returncode == 0 else "bubblewrap may not make namespaces here"


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in ("docker", "browser", "bwrap"):
        if item.get_closest_marker(name) is not None:
            require(name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _missing:
        terminalreporter.section("requirements not met")
        for reason, count in sorted(_missing.items()):
            terminalreporter.line(f"{count} skipped, {reason}")
