"""The live feed: who hears what, what a cut costs (nothing), and what odd talk does (nothing)."""

import asyncio
import json
import random
import subprocess
import sysconfig
import time
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from django.conf import settings as django_settings
from django.test import Client
from django.utils import timezone
from launch.redis import find_redis, redis_child, redis_url

from config.asgi import application
from guardian import draining, feed, feed_reads, listeners, outbox, reader, relay, services
from guardian.authority import service_actor
from guardian.models import ApiToken, Event, Membership
from phases import services as phases

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

FLOW = "software_development"

in_thread = partial(database_sync_to_async, thread_sensitive=False)


def token_of(actor, scopes=("events:read",)) -> str:
    _, text = services.create_token(
        actor=service_actor(actor.team) if actor.kind == "agent" else actor,
        user=actor.user,
        name="t",
        scopes=list(scopes),
    )
    return text


def headers_of(actor, *, origin="http://testserver", token=None) -> list[tuple[bytes, bytes]]:
    headers = [(b"host", b"testserver")]
    if origin:
        headers.append((b"origin", origin.encode()))
    if token is not None:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    elif actor is not None:
        client = Client()
        client.force_login(actor.user)
        cookie = client.cookies[django_settings.SESSION_COOKIE_NAME].value
        headers.append((b"cookie", f"{django_settings.SESSION_COOKIE_NAME}={cookie}".encode()))
    relay.run_once()  # what the making of people and tokens told is numbered before anybody hears
    return headers


class Wire:
    """The socket's other end, message by message as an ASGI server would pass them."""

    def __init__(self, headers, *, path="/ws/events", query="", extensions=None):
        scope = {
            "type": "websocket", "path": path, "query_string": query.encode(), "headers": headers,
            "subprotocols": [], "client": ("127.0.0.1", 1), "extensions": extensions or {},
        }  # fmt: skip
        self.app = ApplicationCommunicator(application, scope)
        self.heard: list[dict[str, Any]] = []

    async def connect(self) -> None:
        await self.app.send_input({"type": "websocket.connect"})
        assert (await self.app.receive_output(5))["type"] == "websocket.accept"

    async def say(self, message: Any) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        await self.app.send_input({"type": "websocket.receive", "text": text})

    async def hear(self, kind: str, *, seconds: float = 5) -> dict[str, Any]:
        """The next message of this kind; what came before it is kept in `heard`."""
        deadline = time.monotonic() + seconds
        while True:
            got = await self.app.receive_output(max(0.01, deadline - time.monotonic()))
            assert got["type"] == "websocket.send", got
            message = json.loads(got["text"])
            self.heard.append(message)
            if message["type"] == kind:
                return message

    async def closed(self, seconds: float = 5) -> int:
        while True:
            got = await self.app.receive_output(seconds)
            if got["type"] == "websocket.close":
                self.reason = got.get("reason") or ""
                return got["code"]

    def seqs(self) -> list[int]:
        return [message["seq"] for message in self.heard if message["type"] == "event"]


@asynccontextmanager
async def listening(headers, *topics):
    wire = Wire(headers)
    await wire.connect()
    await wire.hear("hello")
    if topics:
        await wire.say({"subscribe": list(topics)})
    try:
        yield wire
    finally:
        await wire.app.send_input({"type": "websocket.disconnect", "code": 1001})
        await wire.app.wait(5)


class Stream:
    """A client of the SSE address."""

    def __init__(self, headers, *, query="", last=None, path="/api/v1/events/stream"):
        if last is not None:
            headers = [*headers, (b"last-event-id", str(last).encode())]
        scope = {
            "type": "http", "method": "GET", "path": path, "query_string": query.encode(),
            "headers": headers, "client": ("127.0.0.1", 1),
        }  # fmt: skip
        self.app = ApplicationCommunicator(application, scope)
        self.text, self.heard = "", []

    async def open(self) -> int:
        await self.app.send_input({"type": "http.request", "body": b"", "more_body": False})
        begin = await self.app.receive_output(5)
        self.headers = dict(begin["headers"])
        return begin["status"]

    async def hear(self, kind: str, seconds: float = 5) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            while "\n\n" in self.text:
                block, self.text = self.text.split("\n\n", 1)
                fields = dict(line.split(": ", 1) for line in block.splitlines())
                message = json.loads(fields["data"]) | {"event_id": fields.get("id")}
                self.heard.append(message)
                assert fields["event"] == message["type"]
                if message["type"] == kind:
                    return message
            got = await self.app.receive_output(max(0.01, deadline - time.monotonic()))
            self.text += got["body"].decode()

    async def leave(self) -> None:
        await self.app.send_input({"type": "http.disconnect"})
        await self.app.wait(5)


def tell(team, count=1, kind="phases.test.happened", **data):
    """Numbered events of a team, each in its own transaction."""
    made = []
    for number in range(count):
        with outbox_transaction():
            made.append(outbox.emit(kind, team_id=team.pk, n=number, **data))
    relay.run_once()
    rows = Event.objects.filter(pk__in=[event.pk for event in made]).order_by("seq")
    return list(rows.values_list("seq", flat=True))


def outbox_transaction():
    from django.db import transaction

    return transaction.atomic()


class TestDoor:
    @pytest.mark.parametrize(
        ("who", "options", "code"),
        [
            (None, {}, 4401),
            ("lead", {"origin": "http://evil.example"}, 4401),
            ("lead", {"origin": None}, 4401),
            ("lead", {"origin": "null"}, 4401),
            ("lead", {"origin": "file://testserver"}, 4401),
            ("lead", {"token": "lem_000000000000.nonsense"}, 4401),
        ],
    )
    def test_refuses_strangers_and_foreign_origins(self, who, options, code, request):
        headers = headers_of(request.getfixturevalue(who) if who else None, **options)

        async def scene():
            wire = Wire(headers)
            await wire.connect()
            return await wire.closed()

        assert asyncio.run(scene()) == code

    def test_no_host_and_no_origin_are_not_the_same_site(self, lead):
        headers = [field for field in headers_of(lead, origin=None) if field[0] != b"host"]

        async def scene():
            wire = Wire(headers)
            await wire.connect()
            return await wire.closed()

        assert asyncio.run(scene()) == 4401

    def test_refuses_topics_of_others_or_beyond_the_scopes(self, lead, viewer, team, other_team):
        phases.seed_team(team=team)
        phases.seed_team(team=other_team)
        foreign = phases.open_ticket(actor=service_actor(other_team), title="x", workflow=FLOW)
        narrow = token_of(lead, ["tickets:read"])

        async def scene(headers, topic):
            async with listening(headers, topic) as wire:
                return await wire.closed()

        for topic in (f"ticket:{foreign.pk}", "ticket:x", "board:nowhere", "no_such", "events:A"):
            assert asyncio.run(scene(headers_of(lead), topic)) == 4403, topic
        assert asyncio.run(scene(headers_of(lead, token=narrow), "events")) == 4403
        assert asyncio.run(scene(headers_of(viewer), "metrics")) == 4403

    @pytest.mark.parametrize("loss", ["membership", "token"])
    def test_closes_within_two_seconds_when_the_right_is_lost(self, lead, loss):
        headers = headers_of(lead, token=token_of(lead) if loss == "token" else None)

        def lose():
            if loss == "token":
                ApiToken.objects.filter(user=lead.user).update(revoked_at=timezone.now())
            else:
                Membership.objects.filter(user=lead.user).delete()

        async def scene():
            async with listening(headers) as wire:
                await in_thread(lose)()
                begun = time.monotonic()
                return await wire.closed(3), time.monotonic() - begun

        code, seconds = asyncio.run(scene())
        assert code == 4403
        assert seconds < 2.5  # a busy machine's half second beyond the row's two

    def test_closes_with_1012_when_the_process_is_asked_to_end(self, lead, monkeypatch):
        headers = headers_of(lead)

        async def scene():
            async with listening(headers) as wire:
                monkeypatch.setattr(draining, "is_draining", lambda: True)
                return await wire.closed()

        assert asyncio.run(scene()) == 1012


class TestTopics:
    def test_hello_then_events_with_all_their_members(self, lead, team):
        headers = headers_of(lead)

        async def scene():
            async with listening(headers) as wire:
                [seq] = await in_thread(tell)(team)
                return wire.heard[0], seq, await wire.hear("event")

        hello, seq, event = asyncio.run(scene())
        assert hello == {"type": "hello", "seq": seq - 1, "heartbeat": 25}
        row = Event.objects.get(seq=seq)
        assert event == {
            "type": "event", "seq": seq, "id": str(row.pk), "kind": "phases.test.happened",
            "alias": "test.happened", "priority": 3, "subject": None, "data": {"n": 0},
            "at": row.created_at.isoformat(),
        }  # fmt: skip

    def test_each_topic_takes_its_own(self, lead, team, other_team):
        phases.seed_team(team=team)
        ticket = phases.open_ticket(actor=lead, title="x", workflow=FLOW)
        relay.run_once()
        headers = headers_of(lead)
        wanted = {
            "events:test.happened": {"phases.test.happened"},
            "events:phases.test.*": {"phases.test.happened", "phases.test.ended"},
            "events:test.*": {"phases.test.happened", "phases.test.ended"},
            f"ticket:{ticket.pk}": {"phases.test.ended", "phases.ticket.updated"},
            "agents": {"orchestrator.agent.noticed"},
        }

        def happen():
            tell(team)
            tell(other_team)
            tell(team, kind="phases.test.ended", ticket_id=str(ticket.pk))
            tell(team, kind="orchestrator.agent.noticed")
            phases.update_ticket(
                actor=lead, ticket_id=ticket.pk, version=None, changes={"title": "y"}
            )
            tell(team, kind="phases.last.word", ticket_id=str(ticket.pk))

        async def scene(topic):
            async with listening(headers, topic, "events:last.word") as wire:
                await wire.say({"subscribe": [topic, "events:last.word"]})
                await wire.say({"resume_from": feed.feed().head})
                await in_thread(happen)()
                while (await wire.hear("event"))["kind"] != "phases.last.word":
                    pass
                return {m["kind"] for m in wire.heard if m["type"] == "event"}

        for topic, kinds in wanted.items():
            assert asyncio.run(scene(topic)) - {"phases.last.word"} == kinds, topic

    def test_a_board_is_told_as_patches(self, lead, team):
        phases.seed_team(team=team)
        ticket = phases.open_ticket(actor=lead, title="x", workflow=FLOW)
        relay.run_once()
        headers = headers_of(lead)

        def rename():
            phases.update_ticket(
                actor=lead, ticket_id=ticket.pk, version=None, changes={"title": "y"}
            )
            relay.run_once()

        async def scene():
            async with listening(headers, f"board:{FLOW}") as wire:
                await wire.say({"resume_from": feed.feed().head})
                await in_thread(rename)()
                return await wire.hear("patch")

        patch = asyncio.run(scene())
        assert patch["topic"] == f"board:{FLOW}"
        assert patch["cards"][0]["set"]["title"] == "y"

    def test_metrics_tell_how_the_relay_does(self, lead, monkeypatch):
        monkeypatch.setattr(feed, "METRICS_SECONDS", 0.05)
        headers = headers_of(lead)

        async def scene():
            async with listening(headers, "metrics") as wire:
                return await wire.hear("patch")

        values = asyncio.run(scene())["values"]
        assert set(values) == {"relay_head_seq", "unstamped", "pending", "parked"}

    def test_pings_with_the_number_reached(self, lead, monkeypatch):
        monkeypatch.setattr(feed, "HEARTBEAT_SECONDS", 0.05)
        headers = headers_of(lead)

        async def scene():
            async with listening(headers) as wire:
                return wire.heard[0]["seq"], (await wire.hear("ping"))["seq"]

        begin, ping = asyncio.run(scene())
        assert ping >= begin


class TestResume:
    @pytest.fixture(params=["without", "with", "killed"])
    def redis(self, request, tmp_path, settings):
        """No Redis, one that works, and one that dies in between: what to do then."""
        if request.param == "without":
            settings.REDIS_URL = ""
            yield lambda: None
            return
        program = find_redis(Path(sysconfig.get_path("purelib")))
        if program is None:
            pytest.skip("no redis-server (apt-get install redis-server)")
        command = redis_child(program, None, tmp_path, tmp_path / "log").command
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        settings.REDIS_URL = redis_url(tmp_path)
        deadline = time.monotonic() + 10
        while not (tmp_path / "redis.sock").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield process.kill if request.param == "killed" else lambda: None
        process.kill()
        process.wait(5)

    def test_two_hundred_events_and_three_cuts_come_once_each(self, lead, team, other_team, redis):
        headers = headers_of(lead)
        announcer = relay.Announcer()

        def happen():
            made = []
            for _ in range(10):
                made += tell(team, 5)
                tell(other_team, 1)
                announcer.announce(relay.head()[0])
            return made

        async def scene():
            told: list[int] = []
            heard: list[int] = []
            last = None
            for part in range(4):
                async with listening(headers) as wire:
                    if last is not None:
                        await wire.say({"resume_from": last})
                    work = asyncio.create_task(in_thread(happen)())
                    if part == 2:
                        redis()
                    # Cut off in the middle of what comes, but the last time.
                    while part < 3 and len(wire.seqs()) < 20:
                        await wire.hear("event", seconds=10)
                    told += await work
                    while part == 3 and len(heard) + len(wire.seqs()) < len(set(told)):
                        await wire.hear("event", seconds=10)
                    heard += wire.seqs()
                    last = heard[-1]
            return told, heard

        told, heard = asyncio.run(scene())
        assert len(told) == 200
        assert heard == sorted(heard)
        assert [seq for seq in heard if seq in set(told)] == told
        assert len(heard) == len(set(heard))

    def test_what_another_process_told_before_this_one_read_it_comes_once(
        self, lead, team, settings, monkeypatch
    ):
        settings.REDIS_URL = ""
        monkeypatch.setattr(reader, "POLL_SECONDS", 3.0)
        headers = headers_of(lead)

        async def scene():
            async with listening(headers) as wire:
                elsewhere = await in_thread(tell)(team, 2)
                assert feed.feed().head < elsewhere[0]  # without Redis it looks now and then
                await wire.say({"resume_from": elsewhere[-1]})
                [later] = await in_thread(tell)(team)
                while later not in wire.seqs():
                    await wire.hear("event")
                return later, wire.seqs()

        later, heard = asyncio.run(scene())
        assert heard == [later]

    def test_who_is_too_far_behind_is_told_to_look_anew_and_goes_on(self, lead, team, monkeypatch):
        monkeypatch.setattr(feed_reads, "REPLAY_LIMIT", 5)
        tell(team, 10)
        newest, _ = relay.head()
        headers = headers_of(lead)

        async def scene(after):
            async with listening(headers) as wire:
                await wire.say({"resume_from": after})
                word = await wire.hear("snapshot_required")
                [seq] = await in_thread(tell)(team)
                return word, seq, await wire.hear("event")

        for after in (newest - 9, newest + 1000):
            word, seq, event = asyncio.run(scene(after))
            assert word["seq"] == seq - 1
            assert event["seq"] == seq

    def test_what_was_archived_is_a_snapshot(self, lead, team, settings, tmp_path):
        settings.DATA_DIR = tmp_path
        settings.EVENT_RETENTION_DAYS = 1
        tell(team, 3)
        assert services.archive_old_events(now=timezone.now() + timedelta(days=2))
        relay.run_once()
        headers = headers_of(lead)

        async def scene():
            async with listening(headers) as wire:
                await wire.say({"resume_from": 1})
                return await wire.hear("snapshot_required")

        assert asyncio.run(scene())["seq"] == relay.head()[0]

    def test_a_long_replay_comes_in_pages_and_meets_the_live_events(self, lead, team, monkeypatch):
        monkeypatch.setattr(listeners, "PAGE", 7)
        begin, _ = relay.head()
        headers = headers_of(lead)

        async def scene():
            async with listening(headers) as wire:
                told = await in_thread(tell)(team, 30)
                await wire.say({"resume_from": begin})
                told += await in_thread(tell)(team, 5)
                while not wire.seqs() or wire.seqs()[-1] < told[-1]:
                    await wire.hear("event")
                return told, wire.seqs()

        told, heard = asyncio.run(scene())
        # Live ones may have come before the wish to resume; from there on each comes once.
        assert heard[-len(told) :] == told


class TestManners:
    def test_a_burst_overtakes_nobody_who_is_awake(self, lead, team, monkeypatch):
        monkeypatch.setattr(listeners, "QUEUE_FRAMES", 20)
        headers = headers_of(lead)

        async def scene():
            async with listening(headers) as awake:
                told = await in_thread(tell)(team, 90)
                for _ in told:
                    await awake.hear("event")
                return told, awake.seqs()

        told, heard = asyncio.run(scene())
        assert heard == told

    def test_a_burst_of_events_takes_no_patch_away(self, lead, team, monkeypatch, settings):
        settings.REDIS_URL = ""
        monkeypatch.setattr(listeners, "QUEUE_FRAMES", 20)
        phases.seed_team(team=team)
        ticket = phases.open_ticket(actor=lead, title="x", workflow=FLOW)
        relay.run_once()
        headers = headers_of(lead)

        def burst():
            phases.update_ticket(
                actor=lead, ticket_id=ticket.pk, version=None, changes={"title": "y"}
            )
            return tell(team, 60)

        async def scene():
            async with listening(headers, "events", f"board:{FLOW}") as wire:
                await wire.say({"resume_from": feed.feed().head})
                told = await in_thread(burst)()
                patch = await wire.hear("patch")
                while wire.seqs()[-1] < told[-1]:
                    await wire.hear("event")
                return patch, told, wire.seqs()

        patch, told, heard = asyncio.run(scene())
        assert patch["cards"][0]["set"]["title"] == "y"
        assert heard[-len(told) :] == told
        assert len(heard) == len(set(heard))

    def test_a_sleeper_is_cut_off_and_delays_none(self, lead, agent, team, monkeypatch):
        monkeypatch.setattr(listeners, "QUEUE_FRAMES", 20)
        monkeypatch.setattr(listeners, "PATIENCE_SECONDS", 0.1)
        headers, others = headers_of(lead), headers_of(agent, token=token_of(agent))

        async def scene():
            async with listening(headers) as awake:
                sleeper = listeners.Listener(*await in_thread(visitor)(others))
                await feed.feed().join(sleeper)
                told = await in_thread(tell)(team, 30)
                for _ in told:
                    await awake.hear("event")
                assert await sleeper.frames(feed.feed()) == []
                await feed.feed().leave(sleeper)
                return told, awake.seqs(), sleeper.close_code

        told, heard, code = asyncio.run(scene())
        assert heard == told
        assert code == 1013

    @pytest.mark.parametrize(
        ("said", "code"),
        [
            ("{", 1008), ("[1]", 1008), ("{}", 1008), ('{"resume_from": -1}', 1008),
            ('{"resume_from": true}', 1008), ('{"subscribe": "events"}', 1008),
            ('{"subscribe": [1]}', 1008), ('{"subscribe": ["\\ud800"]}', 1008),
            ('{"a": "' + "x" * 70_000 + '"}', 1009),
        ],
    )  # fmt: skip
    def test_closes_what_it_cannot_understand(self, lead, said, code):
        headers = headers_of(lead)

        async def scene():
            async with listening(headers) as wire:
                await wire.say(said)
                return await wire.closed()

        assert asyncio.run(scene()) == code

    def test_says_nothing_more_behind_its_end(self, lead, team):
        headers = headers_of(lead)

        async def scene():
            async with listening(headers) as wire:
                await wire.say("nonsense")
                code = await wire.closed()
                await in_thread(tell)(team)
                return code, await wire.app.receive_nothing(2.5)

        assert asyncio.run(scene()) == (1008, True)

    def test_closes_who_talks_too_much(self, lead):
        headers = headers_of(lead)

        async def scene():
            async with listening(headers) as wire:
                for _ in range(21):
                    await wire.say({"type": "pong"})
                return await wire.closed()

        assert asyncio.run(scene()) == 1008

    def test_odd_frames_harm_nobody(self, lead, team):
        """Most are refused; the feed tells the news all the while and afterwards."""
        headers = headers_of(lead, token=token_of(lead, ["events:read", "tickets:read"]))
        dice = random.Random(11)  # noqa: S311  a fixed course of events

        async def scene():
            codes = set()
            said = 0
            async with listening(headers) as calm:
                while said < ODD_FRAMES:
                    wire = Wire(headers)
                    await wire.connect()
                    for _ in range(15):
                        said += 1
                        await wire.say(odd_message(dice))
                    await wire.app.send_input({"type": "websocket.disconnect", "code": 1001})
                    await wire.app.wait(10)
                    while not wire.app.output_queue.empty():
                        got = wire.app.output_queue.get_nowait()
                        codes |= {got["code"]} if "code" in got else set()
                told = await in_thread(tell)(team, 3)
                for _ in told:
                    await calm.hear("event", seconds=10)
                return codes, told, calm.seqs()

        codes, told, heard = asyncio.run(scene())
        assert codes <= {1008, 1009, 4403}
        assert heard[-3:] == told


ODD_FRAMES = 1_500  # ten thousand were tried once; the suite is to stay short


def visitor(headers):
    from guardian.feed_topics import topics_of
    from guardian.sockets import visitor_of

    found = visitor_of({"headers": headers, "client": ("127.0.0.1", 1)})
    return found, topics_of(found.actor, ["events"])


def odd_message(dice) -> str:
    """Half a message of the protocol with something else in it, or no message at all."""
    odd: list[Any] = [None, True, -1, 0, 3, 2**70, 1e308, "", "x" * 300, "\u0000", "\ud800"]
    odd += [[], {}, [[]], {"a": {}}, ["events"], ["ticket:x"], ["board:\u0000"], ["events:*"]]
    shapes = [
        {"resume_from": dice.choice(odd)},
        {"subscribe": dice.choice(odd)},
        {"subscribe": [dice.choice(odd)]},
        {"subscribe": dice.choice(odd), "resume_from": dice.choice(odd)},
        {"type": dice.choice(odd)},
        dice.choice(odd),
    ]
    text = json.dumps(dice.choice(shapes))
    return text if dice.random() < 0.8 else text[: dice.randrange(len(text) + 1)]


class TestStream:
    @pytest.mark.parametrize("path", ["/api/v1/events/stream", "/api/events/stream"])
    def test_tells_events_with_their_number_and_resumes_behind_it(self, lead, team, path):
        headers = headers_of(lead, token=token_of(lead), origin=None)
        made = tell(team, 3)

        async def scene():
            stream = Stream(headers, last=made[0], path=path, query="topics=events:test.*")
            assert await stream.open() == 200
            assert stream.headers[b"content-type"].startswith(b"text/event-stream")
            await stream.hear("hello")
            missed = [await stream.hear("event") for _ in range(2)]
            [seq] = await in_thread(tell)(team)
            live = await stream.hear("event")
            await stream.leave()
            return missed, seq, live

        missed, seq, live = asyncio.run(scene())
        assert [event["seq"] for event in missed] == made[1:]
        assert (live["seq"], live["event_id"]) == (seq, str(seq))

    @pytest.mark.parametrize(
        ("options", "extra", "query", "last", "status", "code"),
        [
            ({"token": "lem_000000000000.nonsense"}, [], "", None, 401, "unauthorized"),
            ({"origin": "http://evil.example"}, [], "", None, 401, "unauthorized"),
            ({"origin": None}, [], "", None, 401, "unauthorized"),
            ({"origin": None}, [(b"sec-fetch-site", b"cross-site")], "", None, 401, "unauthorized"),
            ({}, [], "topics=metrics,no_such", None, 403, "forbidden"),
            ({}, [], "colour=red", None, 400, "bad_filter"),
            ({}, [], "", "x", 400, "bad_filter"),
            ({}, [], "", 2**70, 400, "bad_filter"),
        ],
    )
    def test_refuses_with_a_problem(self, lead, options, extra, query, last, status, code):
        headers = headers_of(lead, **options) + extra

        async def scene():
            stream = Stream(headers, query=query, last=last)
            assert await stream.open() == status
            body = await stream.app.receive_output(5)
            await stream.app.wait(5)
            return stream.headers, json.loads(body["body"])

        sent, body = asyncio.run(scene())
        assert sent[b"content-type"] == b"application/problem+json"
        assert (body["status"], body["code"]) == (status, code)
        assert body["remedy"]["text"]

    def test_a_page_of_the_own_site_is_let_in_without_an_origin(self, lead):
        headers = [*headers_of(lead, origin=None), (b"sec-fetch-site", b"same-origin")]

        async def scene():
            stream = Stream(headers)
            assert await stream.open() == 200
            hello = await stream.hear("hello")
            await stream.leave()
            return hello

        assert asyncio.run(scene())["heartbeat"] == 25

    def test_ends_when_the_right_is_lost(self, lead):
        headers = headers_of(lead)

        async def scene():
            stream = Stream(headers)
            await stream.open()
            await in_thread(Membership.objects.filter(user=lead.user).delete)()
            return await stream.hear("close", seconds=3)

        assert asyncio.run(scene())["code"] == 4403
