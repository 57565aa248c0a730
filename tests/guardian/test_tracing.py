"""Spans: off they cost nothing and change nothing, on they make one tree over all processes."""

import subprocess
import sys

import pytest
from django.db import transaction

from guardian import context, outbox, relay, tracing
from tests.guardian.spans import collected


class TestOff:
    def test_nothing_of_the_library_is_imported(self):
        program = (
            "import sys, django; django.setup()\n"
            "from guardian import tracing, reports\n"
            "with tracing.span('x', a=1) as seen: assert seen is None\n"
            "ours = ('opentelemetry.sdk.trace', 'sentry_sdk')\n"
            "print([m for m in sys.modules if m.startswith(ours)])"
        )

        said = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )

        assert said.stdout.strip() == "[]"

    def test_the_place_in_the_trace_stays_as_it_was(self):
        context.set_traceparent("00-" + "a" * 32 + "-" + "b" * 16 + "-01")

        with tracing.span("lemnos.job"):
            assert context.traceparent()[36:52] == "b" * 16

        context.set_traceparent("")


class TestOn:
    def test_a_span_stands_below_the_caller_and_what_is_in_it_below_the_span(self):
        context.set_traceparent("00-" + "a" * 32 + "-" + "b" * 16 + "-01")

        with collected() as spans, tracing.span("lemnos.job", queue="agents"):
            with tracing.span("lemnos.tool", tool="lint"):
                inner = context.traceparent()
            outer = context.traceparent()

        context.set_traceparent("")
        tool, job = spans()
        assert (tool.name, job.name) == ("lemnos.tool", "lemnos.job")
        assert inner[3:35] == outer[3:35] == "a" * 32
        assert job.parent.span_id == int("b" * 16, 16)
        assert tool.parent.span_id == job.context.span_id
        assert job.attributes["lemnos.queue"] == "agents"

    def test_an_error_is_named_and_its_text_is_not_told(self):
        with collected() as spans, pytest.raises(ValueError, match="hush"), tracing.span("x"):
            raise ValueError("hush")

        (span,) = spans()
        assert span.attributes["error.type"] == "ValueError"
        assert not span.status.is_ok
        assert "hush" not in span.to_json()

    def test_a_person_is_told_as_a_hash_and_a_token_not_at_all(self, lead):
        token = "lem_abcdefghijkl.0123456789abcdefghijklmno"
        with (
            collected() as spans,
            tracing.carrying(user=tracing.hashed(lead.id)),
            tracing.span("x", note=token),
        ):
            pass

        (span,) = spans()
        assert str(lead.id) not in span.to_json()
        assert len(span.attributes["lemnos.user"]) == 16
        assert "lem_" not in span.to_json()

    def test_a_request_its_events_and_their_deliveries_are_one_tree(self, api, lead, hear):
        def receiver(event):
            with transaction.atomic():
                outbox.emit("guardian.error.logged")

        with collected() as spans:
            hear("harbour.ship.arrived", receiver)
            answer = api(lead).post(
                "/api/v1/events/publish", {"type": "harbour.ship.arrived"}, format="json"
            )
            relay.run_once()

        found = spans()
        (request,) = [s for s in found if s.name == "lemnos.request"]
        told = [s for s in found if s.name == "lemnos.delivery"]
        mine = [s for s in told if s.context.trace_id == request.context.trace_id]
        assert answer["traceparent"][3:35] == f"{request.context.trace_id:032x}"
        assert request.parent is None
        assert mine
        assert all(s.parent.span_id == request.context.span_id for s in mine)
        assert any(s.name == "lemnos.relay" for s in found)
        assert all(s.attributes["lemnos.event_seq"] for s in told)
