"""Counters and timings of this host, under the names that docs/recipes/observe.md lists.

    metrics.EVENTS.count(app="phases", priority="normal")
    metrics.DELIVERY_SECONDS.observe(0.012, handler="phases.advance")
    with metrics.TASK_CLAIM_SECONDS.timed():
        ...

Whoever counts imports this module and no library. Labels are words of the program, never ids of
rows; of each label this process keeps 200 values, what comes later is counted as `other`.

Where `PROMETHEUS_MULTIPROC_DIR` names a directory, all processes of a host write there and one
scrape sums them; the launcher sets it. Without it a process counts for itself.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import transaction

_PLACE = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
# The library chooses once, when it is imported, and would then fail at the first count.
if _PLACE and not os.access(_PLACE, os.W_OK | os.X_OK):
    del os.environ["PROMETHEUS_MULTIPROC_DIR"]
    _PLACE = ""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram  # noqa: E402  see above

PREFIX = "lemnos_"
MOST_VALUES = 200
OTHER = "other"
REGISTRY = CollectorRegistry()
DIRECTORY: Path | None = Path(_PLACE) if _PLACE else None

QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SLOW = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
WAITS = (0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)


class _Capped:
    """What a family's labels are worth here: 200 values for each, then `other`."""

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        self.name, self.labels = name, tuple(labels)
        self._known: list[set[str]] = [set() for _ in labels]
        self._lock = threading.Lock()

    def values(self, given: dict[str, Any]) -> tuple[str, ...]:
        if set(given) != set(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, not {tuple(given)}")
        return tuple(
            self._kept(known, str(given[label]))
            for known, label in zip(self._known, self.labels, strict=True)
        )

    def _kept(self, known: set[str], value: str) -> str:
        if value in known:
            return value
        with self._lock:
            if len(known) >= MOST_VALUES:
                return OTHER
            known.add(value)
        return value


class Count(_Capped):
    """A number that only grows."""

    def __init__(self, name: str, help_text: str, *labels: str) -> None:
        super().__init__(name, labels)
        self._made = Counter(PREFIX + name, help_text, labels, registry=REGISTRY)

    def count(self, amount: float = 1, **labels: Any) -> None:
        values = self.values(labels)
        (self._made.labels(*values) if values else self._made).inc(amount)

    def on_commit(self, amount: float = 1, **labels: Any) -> None:
        """Count once the change is there; one that is rolled back was never made."""
        after_commit(lambda: self.count(amount, **labels))


class Timing(_Capped):
    """How long something took, in seconds."""

    def __init__(
        self, name: str, help_text: str, *labels: str, buckets: Sequence[float] = QUICK
    ) -> None:
        super().__init__(name, labels)
        self._made = Histogram(PREFIX + name, help_text, labels, buckets=buckets, registry=REGISTRY)

    def observe(self, seconds: float, **labels: Any) -> None:
        values = self.values(labels)
        (self._made.labels(*values) if values else self._made).observe(max(0.0, seconds))

    def on_commit(self, seconds: float, **labels: Any) -> None:
        after_commit(lambda: self.observe(seconds, **labels))

    @contextmanager
    def timed(self, **labels: Any) -> Iterator[None]:
        """Time the block, however it ends."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.observe(time.perf_counter() - began, **labels)


class Level(_Capped):
    """How many there are now in the live processes of this host."""

    def __init__(self, name: str, help_text: str) -> None:
        super().__init__(name, ())
        self._made = Gauge(PREFIX + name, help_text, multiprocess_mode="livesum", registry=REGISTRY)

    def change(self, by: int) -> None:
        self._made.inc(by)


def after_commit(act: Callable[[], None]) -> None:
    transaction.on_commit(act, robust=True)


HTTP_REQUEST_SECONDS = Timing(
    "http_request_seconds", "Requests by the route's template", "route", "method", "status_class"
)
PATTERN_RUNS = Count("pattern_runs_total", "Pattern runs that ended", "pattern_id", "status")
PATTERN_STEP_SECONDS = Timing(
    "pattern_step_seconds", "Calls of pattern steps", "pattern_id", "step", "capability",
    buckets=SLOW,
)  # fmt: skip
PACK_BUILD_SECONDS = Timing("pack_build_seconds", "Building a price pack", "policy", buckets=SLOW)
AGENT_CALLS = Count("agent_calls_total", "Calls of capabilities")
AGENT_CALL_SECONDS = Timing(
    "agent_call_seconds", "Calls of capabilities by agent", "agent_name", "capability", "status",
    buckets=SLOW,
)  # fmt: skip
TOOL_EXECUTIONS = Count("tool_executions_total", "Tool runs that ended", "tool", "result")
SANDBOX_START_SECONDS = Timing("sandbox_start_seconds", "From asking for a sandbox to its start")
TASK_CLAIM_SECONDS = Timing("task_claim_seconds", "Answering a claim")
TASK_WAIT_SECONDS = Timing("task_wait_seconds", "From ready to claimed", "priority", buckets=WAITS)
LEASES_LOST = Count("leases_lost_total", "Leases of tasks that ran out")
GATE_RESULTS = Count("gate_results_total", "Answers of gates", "phase", "result")
EVENTS = Count("events_total", "Events numbered by the relay", "app", "priority")
DELIVERY_SECONDS = Timing("delivery_seconds", "Receivers at work", "handler")
LOCK_WAIT_SECONDS = Timing("lock_wait_seconds", "From the line to the lock", buckets=WAITS)
WS_CLIENTS = Level("ws_clients", "Open sockets of the board and the feed")
WS_DROPPED = Count("ws_dropped_total", "Sockets closed by the server", "reason")
WEBHOOK_ATTEMPTS = Count("webhook_attempts_total", "Attempts to tell a webhook", "result")
JOB_SECONDS = Timing("job_seconds", "Background jobs", "queue", "task", buckets=SLOW)
MEMORY_SEARCH_SECONDS = Timing("memory_search_seconds", "Searches of the memory", "mode")
GUARDIAN_ACTIONS = Count("guardian_actions_total", "Actions of the guardian executed", "kind")
COST_USD = Count("cost_usd_total", "US dollars charged", "provider", "model")

# The close codes of sockets (RFC 6455, and our own from 4400 on) in words.
_REASONS = {
    1003: "not_understood",
    1008: "policy",
    1009: "too_big",
    1012: "restart",
    1013: "too_slow",
    4401: "unauthorized",
    4403: "forbidden",
}


def socket_dropped(code: int | None) -> None:
    WS_DROPPED.count(reason=_REASONS.get(code or 0, OTHER))
