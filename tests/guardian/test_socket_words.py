"""What a socket or stream says when it refuses: which words, in which few bytes."""

import asyncio
import json

import pytest

from phases import services as phases
from tests.guardian.test_feed import Stream, Wire, headers_of, listening, token_of

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

TOPICS = "agents, board:<workflow>, events, events:<kind>, metrics, ticket:<id>"


def refused(headers, **options) -> tuple[int, str]:
    async def scene():
        wire = Wire(headers, **options)
        await wire.connect()
        return await wire.closed(), wire.reason

    return asyncio.run(scene())


def ended(headers, said) -> tuple[int, str]:
    async def scene():
        async with listening(headers) as wire:
            await wire.say(said)
            return await wire.closed(), wire.reason

    return asyncio.run(scene())


class TestSocket:
    def test_says_that_no_token_was_sent_or_that_it_is_unknown(self, lead):
        code, reason = refused(headers_of(None, origin=None))
        assert (code, "No token was sent" in reason) == (4401, True)

        code, reason = refused(headers_of(lead, token="lem_000000000000.nonsense"))
        assert (code, bool(reason)) == (4401, True)
        assert "No token" not in reason

    def test_names_the_topics_to_who_asks_for_none_of_them(self, lead):
        code, reason = ended(headers_of(lead), {"subscribe": ["zzz"]})

        assert (code, TOPICS in reason) == (4403, True)

    def test_names_the_scope_that_a_topic_needs(self, viewer):
        code, reason = ended(headers_of(viewer), {"subscribe": ["metrics"]})

        assert (code, "system:read" in reason) == (4403, True)

    @pytest.mark.parametrize("said", ["{", {"hello": 1}, {"resume_from": -1}])
    def test_shows_what_it_understands_to_who_says_something_else(self, lead, said):
        code, reason = ended(headers_of(lead), said)

        assert (code, "resume_from" in reason) == (1008, True)

    def test_swallows_no_parameter_of_its_address(self, lead):
        code, reason = refused(headers_of(lead), query="topics=zz")

        assert (code, "topics" in reason) == (1008, True)

    def test_names_the_boards_where_none_was_named(self, lead, team):
        phases.seed_team(team=team)

        code, reason = refused(headers_of(lead), path="/ws/board")

        assert (code, "?workflow=" in reason, "default" in reason) == (4403, True, True)

    @pytest.mark.parametrize("said", ["x" * 70_000, {"subscribe": ["z" * 200]}, {"ä" * 200: 1}])
    def test_no_reason_is_longer_than_a_close_frame_can_carry(self, lead, said):
        _, reason = ended(headers_of(lead), said)

        assert 0 < len(reason.encode()) <= 123


@pytest.mark.parametrize("path", ["/ws", "/ws/nothing", "/board"])
def test_an_address_without_a_socket_is_not_found(path):
    async def scene():
        wire = Wire([(b"host", b"testserver")], path=path,
                    extensions={"websocket.http.response": {}})  # fmt: skip
        await wire.app.send_input({"type": "websocket.connect"})
        return await wire.app.receive_output(5), await wire.app.receive_output(5)

    begin, body = asyncio.run(scene())

    assert (begin["type"], begin["status"]) == ("websocket.http.response.start", 404)
    assert json.loads(body["body"])["code"] == "not_found"


class TestStream:
    def test_says_that_no_token_was_sent(self):
        async def scene():
            stream = Stream([(b"host", b"testserver")])
            status = await stream.open()
            return status, json.loads((await stream.app.receive_output(5))["body"])

        status, body = asyncio.run(scene())

        assert status == 401
        assert "No token was sent" in body["detail"]
        assert "site" not in body["remedy"]["text"]

    def test_names_the_topics_to_who_asks_for_none_of_them(self, lead):
        headers = headers_of(lead, token=token_of(lead))

        async def scene():
            stream = Stream(headers, query="topics=zzz")
            status = await stream.open()
            return status, json.loads((await stream.app.receive_output(5))["body"])

        status, body = asyncio.run(scene())

        assert (status, TOPICS in body["detail"]) == (403, True)
        assert "administrator" not in body["remedy"]["text"]
