"""Spans, where OTEL_EXPORTER_OTLP_ENDPOINT says who collects them; else nothing is even imported.

    with tracing.span("lemnos.delivery", event_seq=7):
        ...

The place in a trace is `guardian.context.traceparent()`, with or without spans: a span takes it as
its parent and stands in it while it is open, so what is emitted or deferred meanwhile carries on
from there, in whichever process. Attributes get the prefix `lemnos.`; those given to `carrying`
stand on all spans below it in this process.
"""

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.conf import settings

from guardian import context
from guardian.redaction import redact_text

PREFIX = "lemnos."
LONGEST = 200

_tracer: Any = None
_carried: ContextVar[dict[str, Any]] = ContextVar("lemnos_span_attributes", default={})  # noqa: B039  never changed in place


def is_on() -> bool:
    return _tracer is not None


def start(*, processor: Any = None) -> bool:
    """Begin to export spans; `processor` in place of the one for the endpoint. False: off.

    Raises ImportError where the endpoint is set and requirements-observability.txt is not there.
    """
    global _tracer  # noqa: PLW0603  one tracer per process
    if processor is None and not settings.OTLP_ENDPOINT:
        return False
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if processor is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        # The exporter reads the endpoint itself, as the standard has it: it adds /v1/traces.
        processor = BatchSpanProcessor(OTLPSpanExporter())
    provider = TracerProvider(
        resource=Resource.create(
            {"service.name": "lemnos", "deployment.environment.name": settings.ENVIRONMENT}
        )
    )
    provider.add_span_processor(processor)
    _tracer = provider.get_tracer("lemnos")
    return True


def stop() -> None:
    """No more spans; those that wait are not sent."""
    global _tracer  # noqa: PLW0603  as above
    _tracer = None


@contextmanager
def carrying(**attributes: Any) -> Iterator[None]:
    """These attributes on every span that begins in the block."""
    if _tracer is None:
        yield
        return
    before = _carried.set({**_carried.get(), **attributes})
    try:
        yield
    finally:
        _carried.reset(before)


@contextmanager
def span(
    name: str, *, quiet: tuple[type[BaseException], ...] = (), **attributes: Any
) -> Iterator[Any]:
    """A span below the current place; `quiet` are exceptions that are no errors of it."""
    if _tracer is None:
        yield None
        return
    from opentelemetry.trace import StatusCode

    told = {**_carried.get(), "request_id": context.request_id(), **attributes}
    made = _tracer.start_span(
        name, context=_parent(), attributes=_plain(told), record_exception=False
    )
    before = context.traceparent()
    context.set_traceparent(_place_of(made))
    try:
        yield made
    except quiet:
        raise
    except BaseException as error:
        # Its text may hold anything; the error log has it.
        made.set_attribute("error.type", getattr(error, "code", "") or type(error).__name__)
        made.set_status(StatusCode.ERROR)
        raise
    finally:
        context.set_traceparent(before)
        made.end()


def note(found: Any, **attributes: Any) -> None:
    """More about an open span, known only now."""
    if found is not None:
        found.set_attributes(_plain(attributes))


def failed(found: Any, kind: str) -> None:
    """That it went wrong though nothing was raised."""
    if found is not None:
        from opentelemetry.trace import StatusCode

        found.set_attribute("error.type", kind)
        found.set_status(StatusCode.ERROR)


def hashed(user_id: Any) -> str:
    """The same person is the same word in all spans and reports, and nobody learns who."""
    key = f"observability:{settings.SECRET_KEY}".encode()
    return hmac.new(key, str(user_id).encode(), hashlib.sha256).hexdigest()[:16]


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        PREFIX + name: value if isinstance(value, (bool, int, float)) else _text(value)
        for name, value in attributes.items()
        if value is not None and value != ""
    }


def _text(value: Any) -> str:
    return redact_text(str(value))[:LONGEST]


def _parent() -> Any:
    """Where we stand, as the library writes it; an empty context begins a trace of its own."""
    from opentelemetry.context import Context
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        TraceFlags,
        set_span_in_context,
    )

    place = context.traceparent()
    if not place:
        return Context()
    _, trace, parent, flags = place.split("-")
    return set_span_in_context(
        NonRecordingSpan(
            SpanContext(
                int(trace, 16),
                int(parent, 16),
                is_remote=True,
                trace_flags=TraceFlags(int(flags, 16)),
            )
        ),
        Context(),
    )


def _place_of(made: Any) -> str:
    found = made.get_span_context()
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"
