"""A stream counts as one request of its caller, as any other request does."""

import json

import pytest
from asgiref.sync import async_to_sync

from guardian import limits
from tests.guardian.test_feed import Stream, headers_of, token_of

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def few(settings, monkeypatch) -> None:
    settings.RATE_LIMITS = {"token": 2, "session": 2, "anonymous": 1}
    settings.REDIS_URL = ""
    monkeypatch.setattr(limits, "_local", limits.LocalCounts())
    monkeypatch.setattr(limits, "clock", lambda: 1_800_000_000.0)


async def opened(headers) -> tuple[int, dict[bytes, bytes]]:
    stream = Stream(headers)
    status = await stream.open()
    told = stream.headers
    if status == 200:
        await stream.leave()
    else:
        body = json.loads((await stream.app.receive_output(5))["body"])
        assert body["code"] in {"rate_limited", "unauthorized"}
    return status, told


@pytest.mark.parametrize("with_token", [True, False])
def test_the_third_stream_in_a_minute_waits(lead, with_token):
    headers = headers_of(lead, token=token_of(lead) if with_token else None)

    found = [async_to_sync(opened)(headers) for _ in range(3)]

    assert [status for status, _ in found] == [200, 200, 429]
    word = b'"token"' if with_token else b'"session"'
    assert found[0][1][b"ratelimit"].startswith(word + b";r=1;")
    assert int(found[2][1][b"retry-after"]) >= 1


def test_inventing_tokens_brings_no_new_allowance(db):
    tokens = [f"lem_{'a' * 11}{n}.{'b' * 43}" for n in range(3)]

    found = [async_to_sync(opened)(headers_of(None, token=text))[0] for text in tokens]

    assert found == [401, 429, 429]
