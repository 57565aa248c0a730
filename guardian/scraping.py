"""What one look at /metrics finds: the counters of this host, and states read from the database.

An app registers what it can read:

    @reads(agents=("status",))
    def agents() -> Found:
        return {"agents": {("idle",): 3}}

A reader that fails or takes longer than 2 s is left out of this scrape, and the log says so: a
wrong zero would be worse than a gap. Answers are kept for 5 s, so that nobody can ask often.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from django.db import DatabaseError, connection, transaction
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.samples import Sample

from guardian import metrics

log = structlog.get_logger(__name__)

Found = dict[str, dict[tuple[str, ...], float]]
Reader = Callable[[], Found]

MOST_MILLISECONDS = 2000
KEPT_SECONDS = 5.0

_readers: dict[str, tuple[Reader, dict[str, tuple[str, ...]]]] = {}
_kept: dict[str, tuple[float, Found]] = {}
_reading = threading.Lock()


def reads(**families: tuple[str, ...]) -> Callable[[Reader], Reader]:
    """Register a reader of these families, each with the names of its labels."""

    def register(reader: Reader) -> Reader:
        _readers[f"{reader.__module__}.{reader.__name__}"] = (reader, families)
        return reader

    return register


def rows_of(statement: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def forget() -> None:
    """The next scrape reads anew."""
    _kept.clear()


def scrape() -> bytes:
    """Everything, in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Capped(_counters()))
    registry.register(_Capped(_states()))
    return generate_latest(registry)


def _counters() -> Iterable[Metric]:
    """Of all processes of this host where they share a directory, else of this one."""
    if metrics.DIRECTORY is None:
        return metrics.REGISTRY.collect()
    _bury(metrics.DIRECTORY.glob("gauge_live*_*.db"))
    files = MultiProcessCollector(None, path=str(metrics.DIRECTORY))  # type: ignore[no-untyped-call]  # no types
    found: Iterable[Metric] = files.collect()  # type: ignore[no-untyped-call]  # as above
    return found


def _bury(files: Iterable[Any]) -> None:
    """What a process had open ended with it; what it counted stays."""
    for file in files:
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            with suppress(FileNotFoundError):  # another scrape was quicker
                mark_process_dead(pid, path=str(metrics.DIRECTORY))  # type: ignore[no-untyped-call]  # no types
        except PermissionError:
            pass  # it lives, as somebody else


def _states() -> Iterator[Metric]:
    for name in sorted(_readers):
        found = _read(name)
        for family, labels in _readers[name][1].items():
            if family not in found:
                continue
            made = GaugeMetricFamily(metrics.PREFIX + family, _HELP[family], labels=labels)
            for values, number in sorted(found[family].items()):
                made.add_metric(values, float(number))
            yield made


def _read(name: str) -> Found:
    """One asks at a time; who waited gets what the one before found."""
    with _reading:
        at, found = _kept.get(name, (float("-inf"), {}))
        if time.monotonic() - at < KEPT_SECONDS:
            return found
        try:
            with transaction.atomic():
                rows_of(f"SELECT set_config('statement_timeout', '{MOST_MILLISECONDS}', true)")
                found = _readers[name][0]()
        except DatabaseError as error:
            log.warning("metrics_not_read", reader=name, error=type(error).__name__)
            found = {}
        _kept[name] = (time.monotonic(), found)
        return found


@dataclass(frozen=True)
class _Capped:
    """Of each label the first 200 values by name; the rest is summed up as `other`.

    Every process keeps to 200 of its own choice, so together they may know more.
    """

    families: Iterable[Metric]

    def collect(self) -> Iterator[Metric]:
        for family in self.families:
            yield _capped(family)

    def describe(self) -> Iterator[Metric]:
        return iter(())


def _capped(family: Metric) -> Metric:
    known: dict[str, set[str]] = {}
    for sample in family.samples:
        for label, value in sample.labels.items():
            known.setdefault(label, set()).add(value)
    known.pop("le", None)
    kept = {
        label: set(sorted(values - {metrics.OTHER})[: metrics.MOST_VALUES])
        for label, values in known.items()
        if len(values - {metrics.OTHER}) > metrics.MOST_VALUES
    }
    if not kept:
        return family
    summed: dict[tuple[str, tuple[tuple[str, str], ...]], Sample] = {}
    for sample in family.samples:
        labels = _within(sample.labels, kept)
        key = (sample.name, tuple(labels.items()))
        before = summed[key].value if key in summed else 0.0
        summed[key] = Sample(sample.name, labels, before + sample.value)
    made = Metric(family.name, family.documentation, family.type)
    made.samples = list(summed.values())
    return made


def _within(labels: Mapping[str, str], kept: Mapping[str, set[str]]) -> dict[str, str]:
    return {
        label: value if label not in kept or value in kept[label] else metrics.OTHER
        for label, value in labels.items()
    }


_HELP = {
    "agents": "Agent instances by status",
    "budget_used_ratio": "Spent and reserved over the limit, of the fullest budget",
    "deliveries": "Deliveries that are not done",
    "jobs": "Background jobs that are not done",
    "lock_waiters": "Requests that wait for a lock",
    "locks": "Locks held now",
    "pack_fresh": "1 where a fresh price pack is there",
    "relay_head_seq": "The newest number of an event",
    "relay_lag_seconds": "Age of the oldest event without a number",
    "sandbox_active": "Tool runs at work",
    "tasks": "Tasks by status",
    "wip_ratio": "Admitted over the limit, of the fullest column with this key",
}
