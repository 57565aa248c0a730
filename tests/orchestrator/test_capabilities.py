"""The map of capabilities: one owner each, contracts on both sides."""

from dataclasses import FrozenInstanceError
from datetime import UTC, date, datetime
from uuid import uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured
from pydantic import BaseModel

from orchestrator import capabilities
from orchestrator.capabilities import Answer, as_answer, capability
from orchestrator.errors import (
    CapabilityInputInvalid,
    CapabilityNotFound,
    CapabilityResultInvalid,
)
from orchestrator.request_context import RequestCtx

pytestmark = pytest.mark.selfcheck

TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}


def make_ctx(**values):
    return RequestCtx(
        **{
            "pricing_pack_id": "PP_2026-01-31",
            "ledger_commit_hash": "0" * 64,
            "trace_id": "t1",
            "ledger_seq": 4,
            "request_id": "r1",
            "user_id": uuid4(),
            "team_id": uuid4(),
            "timestamp": datetime(2026, 1, 31, 12, tzinfo=UTC),
            "asof_date": date(2026, 1, 31),
            **values,
        }
    )


@pytest.fixture
def echo():
    @capability("unit.echo", agent="tester", inputs=TEXT, outputs=TEXT, ttl_seconds=60)
    def function(ctx, step, args):
        return args

    yield function
    capabilities.forget("unit.echo")


def test_a_second_owner_stops_the_start(echo):
    with pytest.raises(ImproperlyConfigured, match=r"unit\.echo.*two owners"):

        @capability("unit.echo", agent="other", inputs=TEXT, outputs=TEXT)
        def another(ctx, step, args):
            return args


def test_an_unknown_name_is_refused_with_those_that_there_are(echo):
    with pytest.raises(CapabilityNotFound) as refused:
        capabilities.find("unit.nothing")

    assert refused.value.status == 404
    assert "unit.echo" in refused.value.data["available"]


def test_arguments_outside_the_contract_are_refused_with_their_path(echo):
    found = capabilities.find("unit.echo")

    for args, path in [({"text": 3}, "args.text"), ({}, "args"), ({"text": "", "x": 1}, "args")]:
        with pytest.raises(CapabilityInputInvalid) as refused:
            found.check_args(args)
        assert refused.value.data["errors"][0]["path"] == path
    found.check_args({"text": "x"})


def test_an_answer_outside_the_contract_is_refused(echo):
    with pytest.raises(CapabilityResultInvalid, match=r"unit\.echo answered result\.text"):
        capabilities.find("unit.echo").check_result({"text": 3})
    with pytest.raises(CapabilityResultInvalid, match="answered list"):
        as_answer([], "unit.echo")


def test_a_pydantic_model_is_a_contract_too():
    class Question(BaseModel):
        model_config = {"extra": "forbid"}
        text: str
        times: int = 1

    @capability("unit.asked", agent="tester", inputs=Question, outputs=TEXT)
    def function(ctx, step, args):
        return args

    with pytest.raises(CapabilityInputInvalid):
        capabilities.find("unit.asked").check_args({"text": "x", "times": "y"})
    capabilities.find("unit.asked").check_args({"text": "x"})
    capabilities.forget("unit.asked")


def test_an_example_that_breaks_the_contract_stops_the_start():
    with pytest.raises(CapabilityResultInvalid):

        @capability("unit.bad", agent="tester", inputs=TEXT, outputs=TEXT, example={"text": 1})
        def function(ctx, step, args):
            return args


def test_every_answer_carries_all_metadata(echo):
    found = capabilities.find("unit.echo")

    plain = found.metadata(make_ctx(), as_answer({}, "unit.echo"), duration_ms=5)
    known = found.metadata(
        make_ctx(),
        Answer({}, source="fred", asof="2026-01-01", ttl_seconds=5, confidence=0.5),
        duration_ms=5,
    )

    assert plain == {
        "agent_name": "tester",
        "capability": "unit.echo",
        "duration_ms": 5,
        "source": "lemnos",
        "asof": "2026-01-31",
        "ttl_seconds": 60,
        "confidence": 1.0,
    }
    assert known["source"] == "fred"
    assert (known["asof"], known["ttl_seconds"], known["confidence"]) == ("2026-01-01", 5, 0.5)


def test_a_request_context_is_frozen_and_needs_a_trace():
    ctx = make_ctx()

    with pytest.raises(FrozenInstanceError):
        ctx.trace_id = "other"
    with pytest.raises(ValueError, match="trace_id"):
        make_ctx(trace_id="")


def test_a_request_context_survives_storage():
    ctx = make_ctx(scopes=("a:read",), authority=3)

    assert RequestCtx.from_json(ctx.as_json()) == ctx
