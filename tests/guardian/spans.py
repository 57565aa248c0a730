"""Spans kept in memory for a test."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from guardian import tracing


@contextmanager
def collected() -> Iterator[Callable[[], list[Any]]]:
    """Spans are on in the block; the function tells those that ended, in the order of their end."""
    kept = InMemorySpanExporter()
    tracing.start(processor=SimpleSpanProcessor(kept))
    try:
        yield lambda: list(kept.get_finished_spans())
    finally:
        tracing.stop()
