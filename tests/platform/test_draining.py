"""A web process that is asked to end says so before it closes its door."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.platform.conftest import free_port

ROOT = Path(__file__).resolve().parent.parent.parent


def ask(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  our own address
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def until_alive(url: str, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, "the web process ended by itself"
        try:
            if ask(url)[0] == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the web process never answered")


@pytest.mark.slow
def test_is_not_ready_first_and_ends_then():
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "config.asgi:application", "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, "LEMNOS_SECRET_KEY": "of-this-test-only" * 4, "REDIS_URL": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until_alive(f"http://127.0.0.1:{port}/livez", process)

        process.send_signal(signal.SIGTERM)
        while '"shutting_down"' not in (said := ask(f"http://127.0.0.1:{port}/readyz"))[1]:
            assert said[0] == 503 or "ready" in said[1]

        assert said[0] == 503
        assert process.wait(timeout=20) in {0, -signal.SIGTERM}
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
