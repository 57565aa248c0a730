"""The board's socket: who is let in, what they are sent, what a cut costs them (nothing)."""

import asyncio
import json
import random
import subprocess
import sysconfig
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import connections
from django.test import Client
from launch.redis import find_redis, redis_child, redis_url

from config.routing import websockets
from guardian import draining, feed_reads, reader, relay
from guardian import services as guardian
from guardian.authority import service_actor
from guardian.errors import DomainError
from guardian.models import Membership
from phases import board, frames, hub, services
from phases.models import BoardColumn, Ticket, Workflow

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

FLOW = "software_development"


@pytest.fixture(autouse=True)
def flow(team, other_team):
    services.seed_team(team=team)
    services.seed_team(team=other_team)
    relay.run_once()


in_thread = partial(database_sync_to_async, thread_sensitive=False)


def open_ticket(actor, title="Retry storm") -> Ticket:
    return services.open_ticket(actor=actor, title=title, workflow=FLOW)


def fresh_board(team) -> dict[str, Any]:
    """GET /board, as JSON."""
    return json.loads(
        json.dumps(board.snapshot(Workflow.objects.get(team=team, key=FLOW)), default=str)
    )


def address(actor, workflow=FLOW, *, origin="http://testserver", token=None):
    headers = [(b"host", b"testserver"), (b"origin", origin.encode())]
    if token is not None:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    elif actor is not None:
        client = Client()
        client.force_login(actor.user)
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
        headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode()))
    return f"/ws/board?workflow={workflow}", headers


class Wire:
    """The socket's other end, message by message as an ASGI server would pass them."""

    def __init__(self, path, headers):
        where, _, query = path.partition("?")
        scope = {
            "type": "websocket",
            "path": where,
            "query_string": query.encode(),
            "headers": headers,
            "subprotocols": [],
            "client": ("127.0.0.1", 1),
        }
        self.app = ApplicationCommunicator(websockets, scope)

    async def connect(self) -> None:
        await self.app.send_input({"type": "websocket.connect"})
        assert (await self.app.receive_output(5))["type"] == "websocket.accept"

    async def say(self, text: str | dict[str, Any]) -> None:
        text = text if isinstance(text, str) else json.dumps(text)
        await self.app.send_input({"type": "websocket.receive", "text": text})

    async def hear(self, seconds: float) -> str:
        message = await self.app.receive_output(seconds)
        assert message["type"] == "websocket.send", message
        return message["text"]

    async def closed(self, seconds: float = 5) -> int:
        message = await self.app.receive_output(seconds)
        assert message["type"] == "websocket.close", message
        return message["code"]

    async def disconnect(self) -> None:
        await self.app.send_input({"type": "websocket.disconnect", "code": 1001})
        await self.app.wait(5)


class Page:
    """A client that follows the protocol: links frames by prev, keeps cards by version."""

    def __init__(self, actor, **options):
        self.address = None
        self.actor, self.options = actor, options
        self.seq = 0
        self.cards: dict[str, dict[str, Any]] = {}
        self.columns: dict[str, dict[str, Any]] = {}
        self.heard: list[dict[str, Any]] = []

    def load(self, snapshot: dict[str, Any]) -> None:
        self.seq = snapshot["seq"]
        self.columns = {c["key"]: c for c in snapshot["columns"]}
        self.cards = {card["id"]: card for c in snapshot["columns"] for card in c["cards"]}

    @asynccontextmanager
    async def connected(self):
        if self.address is None:
            self.address = await in_thread(address)(self.actor, **self.options)
        self.socket = Wire(*self.address)
        await self.socket.connect()
        try:
            yield self
        finally:
            await self.socket.disconnect()

    async def hear(self, kind: str, *, seconds: float = 5) -> dict[str, Any]:
        """Apply what comes until a message of this kind."""
        deadline = time.monotonic() + seconds
        while True:
            left = max(0.01, deadline - time.monotonic())
            message = json.loads(await self.socket.hear(left))
            self.apply(message)
            if message["type"] == kind:
                return message

    def apply(self, message: dict[str, Any]) -> None:
        self.heard.append(message)
        if message["type"] == "replay_done":
            self.seq = message["seq"]
        if message["type"] != "patch":
            return
        assert message["prev"] == self.seq, "a frame is missing"
        self.seq = message["seq"]
        for card in message["cards"]:
            held = self.cards.setdefault(card["id"], {"id": card["id"], "v": 0})
            if card["v"] >= held["v"]:
                held.update(card["set"], v=card["v"])
        for column in message["columns"]:
            self.columns[column["key"]].update(column)

    async def resume(self) -> None:
        await self.socket.say({"resume_from": self.seq})
        await self.hear("replay_done")

    def as_board(self) -> dict[str, Any]:
        return {
            key: {
                **{k: v for k, v in column.items() if k not in {"cards", "next"}},
                "cards": in_order(column, [c for c in self.cards.values() if c["column"] == key]),
            }
            for key, column in self.columns.items()
        }


ORDER = {"CRITICAL": 1, "HIGH": 2, "MEDIUM": 3, "LOW": 4}


def in_order(column: dict[str, Any], cards: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if column["newest_first"]:
        return sorted(cards, key=lambda c: (c["rank"], c["id"]), reverse=True)
    return sorted(cards, key=lambda c: (ORDER[c["priority"]], c["rank"], c["id"]))


def comparable(snapshot: dict[str, Any]) -> dict[str, Any]:
    return {c["key"]: {k: v for k, v in c.items() if k != "next"} for c in snapshot["columns"]}


async def close_code(path, headers) -> int | None:
    socket = Wire(path, headers)
    await socket.connect()
    return await socket.closed()


class TestDoor:
    @pytest.mark.parametrize(
        ("who", "options", "code"),
        [
            (None, {}, 4401),
            ("lead", {"origin": "http://evil.example"}, 4401),
            ("lead", {"token": "lem_000000000000.nonsense"}, 4401),
            ("lead", {"workflow": "no_such_board"}, 4403),
            ("lead", {"workflow": "island_only"}, 4403),
            ("lead", {"workflow": "%00"}, 4403),
        ],
    )
    def test_refuses_strangers_and_foreign_boards(self, who, options, code, request, other_team):
        Workflow.objects.filter(team=other_team, key="default").update(key="island_only")
        actor = request.getfixturevalue(who) if who else None

        assert asyncio.run(close_code(*address(actor, **options))) == code

    def test_lets_a_token_in_by_its_header(self, agent):
        _, text = guardian.create_token(
            actor=service_actor(agent.team), user=agent.user, name="t", scopes=["tickets:read"]
        )

        async def scene():
            async with Page(agent, token=text).connected() as page:
                return await page.hear("hello")

        assert asyncio.run(scene())["heartbeat"] == 20

    def test_closes_within_two_seconds_when_the_right_is_lost(self, lead):
        async def scene():
            async with Page(lead).connected() as page:
                await page.hear("hello")
                await in_thread(Membership.objects.filter(user=lead.user).delete)()
                return await page.socket.closed(3)

        assert asyncio.run(scene()) == 4403

    def test_says_come_back_when_the_process_ends(self, lead, monkeypatch):
        async def scene():
            async with Page(lead).connected() as page:
                await page.hear("hello")
                monkeypatch.setattr(draining, "is_draining", lambda: True)
                return await page.socket.closed(3)

        assert asyncio.run(scene()) == 1012

    def test_closes_what_it_cannot_understand(self, lead):
        async def scene(text):
            async with Page(lead).connected() as page:
                await page.hear("hello")
                await page.socket.say(text)
                return await page.socket.closed()

        for text in ("{", "[1]", "{}", '{"resume_from": -1}', '{"resume_from": true}', "[" * 5000):
            assert asyncio.run(scene(text)) == 1003
        assert asyncio.run(scene('{"a": "' + "x" * 70_000 + '"}')) == 1009

    def test_survives_whatever_is_said_to_it(self, lead, team):
        """500 odd messages over many sockets; afterwards the hub still tells the news."""
        ticket = open_ticket(lead)
        relay.run_once()
        dice = random.Random(11)  # noqa: S311  a fixed course of events

        async def scene():
            page = Page(lead)
            codes = set()
            said = 0
            while said < 500:
                async with page.connected():
                    await page.hear("hello")
                    for _ in range(dice.randrange(1, 15)):
                        said += 1
                        await page.socket.say(odd_message(dice, str(ticket.pk)))
                    while not await page.socket.app.receive_nothing(0.1):
                        message = await page.socket.app.receive_output(1)
                        codes |= {message["code"]} if "code" in message else set()
            async with page.connected():
                page.seq = (await page.hear("hello"))["seq"]
                await in_thread(services.update_ticket)(
                    actor=lead, ticket_id=ticket.pk, version=None, changes={"title": "Alive"}
                )
                await in_thread(relay.run_once)()
                await page.hear("patch")
            return codes

        assert asyncio.run(scene()) <= {1003, 1008}


def odd_message(dice, ticket: str) -> str:
    """Half a message of the protocol with something else in it, or no message at all."""
    odd: list[Any] = [None, True, -1, 0, 3, 2**70, 1e308, "", "x" * 300, "\u0000", ticket]
    odd += [[], {}, [[]], {"a": {}}]
    shapes = [
        {"resume_from": dice.choice(odd)},
        {"view": dice.choice(odd)},
        {"view": {"ticket": dice.choice(odd), "editing": dice.choice(odd)}},
        {"type": dice.choice(odd)},
        {"type": "pong", "view": dice.choice(odd)},
        dice.choice(odd),
    ]
    text = json.dumps(dice.choice(shapes))
    return text if dice.random() < 0.8 else text[: dice.randrange(len(text) + 1)]


class TestPatches:
    def test_a_new_ticket_and_its_claim_appear(self, lead, agent, team):
        def work():
            ticket = open_ticket(lead)
            relay.run_once()
            services.claim_tasks(actor=agent, capabilities=["analysis"])
            relay.run_once()
            return ticket

        async def scene():
            page = Page(lead)
            page.load(await in_thread(fresh_board)(team))
            async with page.connected():
                await page.hear("hello")
                await page.resume()
                ticket = await in_thread(work)()
                while not page.cards.get(str(ticket.pk), {}).get("holder"):
                    await page.hear("patch")
                while page.cards[str(ticket.pk)]["status"] != "in_progress":
                    await page.hear("patch")
                return page

        page = asyncio.run(scene())
        assert page.as_board() == comparable(fresh_board(team))
        assert page.seq == max(m["seq"] for m in page.heard if m["type"] == "patch")

    def test_a_page_follows_a_reopening(self, lead, team):
        def work():
            ticket = services.open_ticket(
                actor=lead, title="Look", workflow=FLOW, phase="PHASE_BACKLOG"
            )
            services.cancel_ticket(actor=lead, ticket_id=ticket.pk, reason="not needed")
            relay.run_once()
            return ticket

        def go_on(ticket):
            services.reopen_ticket(actor=lead, ticket_id=ticket.pk, reason="needed after all")
            relay.run_once()

        async def scene():
            ticket = await in_thread(work)()
            page = Page(lead)
            page.load(await in_thread(fresh_board)(team))
            async with page.connected():
                await page.hear("hello")
                await page.resume()
                await in_thread(go_on)(ticket)
                while page.cards[str(ticket.pk)]["status"] != "pending":
                    await page.hear("patch")
                return page

        page = asyncio.run(scene())
        assert page.as_board() == comparable(fresh_board(team))

    def test_says_only_what_changed(self, lead, team):
        ticket = open_ticket(lead)
        relay.run_once()

        async def scene():
            page = Page(lead)
            page.load(await in_thread(fresh_board)(team))
            async with page.connected():
                await page.hear("hello")
                await page.resume()
                await in_thread(services.update_ticket)(
                    actor=lead, ticket_id=ticket.pk, version=1, changes={"title": "Calmer"}
                )
                await in_thread(relay.run_once)()
                return await page.hear("patch")

        frame = asyncio.run(scene())
        assert frame["cards"] == [{"id": str(ticket.pk), "v": 2, "set": {"title": "Calmer"}}]
        assert frame["columns"] == []

    def test_never_shows_another_team_anything(self, lead, outsider, team):
        def work():
            open_ticket(outsider, "Island secret")
            open_ticket(lead, "Own")
            relay.run_once()

        async def scene():
            page = Page(lead)
            page.load(await in_thread(fresh_board)(team))
            async with page.connected():
                await page.hear("hello")
                await page.resume()
                await in_thread(work)()
                await page.hear("patch")
                assert await page.socket.app.receive_nothing(0.5)
            return page

        page = asyncio.run(scene())
        assert [card["title"] for card in page.cards.values()] == ["Own"]
        assert "Island" not in json.dumps(page.heard)

    def test_tells_what_holders_say_with_their_heartbeats(self, lead, agent, team):
        open_ticket(lead)
        claimed = services.claim_tasks(actor=agent, capabilities=["analysis"])[0].task
        services.extend_lease(actor=agent, task_id=claimed.pk, fence=1, note="reading")
        relay.run_once()

        async def scene():
            page = Page(lead)
            page.load(await in_thread(fresh_board)(team))
            async with page.connected():
                await page.hear("hello")
                await page.resume()
                await in_thread(services.extend_lease)(
                    actor=agent, task_id=claimed.pk, fence=1, progress=0.6, note="writing"
                )
                while page.cards[str(claimed.ticket_id)]["holder"]["note"] != "writing":
                    await page.hear("patch", seconds=8)
            return page

        page = asyncio.run(scene())
        assert page.as_board() == comparable(fresh_board(team))

    def test_reads_each_event_once_for_boards_and_feeds_together(self, lead, team, monkeypatch):
        ticket = open_ticket(lead)
        relay.run_once()
        read: list[int] = []
        news = feed_reads.news

        def noted(after, teams):
            upto, notices = news(after, teams)
            read.extend(notice.seq for notice in notices)
            return upto, notices

        monkeypatch.setattr(feed_reads, "news", noted)

        def rename():
            services.update_ticket(
                actor=lead, ticket_id=ticket.pk, version=None, changes={"title": "Heard by both"}
            )
            relay.run_once()

        async def scene():
            feed = Page(lead)
            feed.address = ("/ws/events", (await in_thread(address)(lead))[1])
            async with Page(lead).connected() as page, feed.connected():
                for joined in (page, feed):
                    joined.seq = (await joined.hear("hello"))["seq"]
                await in_thread(rename)()
                await page.hear("patch")
                return (await feed.hear("event"))["seq"]

        assert asyncio.run(scene()) in read
        assert len(read) == len(set(read))

    def test_shows_who_has_a_ticket_open(self, lead, viewer, team):
        ticket = open_ticket(lead)
        relay.run_once()

        async def scene():
            async with Page(lead).connected() as first, Page(viewer).connected() as second:
                await second.hear("hello")
                await first.socket.say({"view": {"ticket": str(ticket.pk), "editing": True}})
                opened = await second.hear("presence")
                await first.socket.disconnect()
                return opened, await second.hear("presence")

        opened, left = asyncio.run(scene())
        assert opened["ticket"] == left["ticket"] == str(ticket.pk)
        assert opened["who"] == [{"name": "lena", "kind": "human", "editing": True}]
        assert left["who"] == []


class TestResume:
    def test_a_page_cut_off_during_200_moves_equals_the_board(
        self, lead, admin, agent, outsider, team
    ):
        """Other things happen meanwhile: claims, new tickets, another team's work."""
        tickets = [open_ticket(lead, f"Ticket {n}").pk for n in range(12)]
        relay.run_once()
        done = threading.Event()
        dice = random.Random(7)  # noqa: S311  a fixed course of events

        def work():
            for number in range(200):
                _move(dice, admin, tickets)
                if number % 20 == 0:
                    services.claim_tasks(actor=agent, capabilities=["analysis", "code", "design"])
                    open_ticket(outsider, "Foreign noise")
                    tickets.append(open_ticket(lead, f"Later {number}").pk)
                relay.run_once()
            done.set()
            connections.close_all()

        async def scene():
            page = Page(lead)
            page.load(await in_thread(fresh_board)(team))
            worker = threading.Thread(target=work)
            worker.start()
            while not done.is_set():
                async with page.connected():
                    await page.hear("hello")
                    await page.resume()
                    for _ in range(dice.randrange(1, 5)):
                        if not done.is_set():
                            await page.hear("patch", seconds=10)
            await asyncio.to_thread(worker.join)
            async with page.connected():
                await page.hear("hello")
                await page.resume()
            return page

        page = asyncio.run(scene())
        assert page.as_board() == comparable(fresh_board(team))
        assert sum(m["type"] == "hello" for m in page.heard) >= 3
        assert "Foreign" not in json.dumps(page.heard)

    def test_a_page_that_is_too_far_behind_is_sent_to_the_board(self, lead, team, monkeypatch):
        monkeypatch.setattr(frames, "REPLAY_LIMIT", 5)
        page = Page(lead)
        page.load(fresh_board(team))
        for number in range(4):
            open_ticket(lead, f"T{number}")
        relay.run_once()

        async def scene():
            async with page.connected():
                await page.hear("hello")
                await page.socket.say({"resume_from": page.seq})
                first = await page.hear("snapshot_required")
                await page.socket.say({"resume_from": 10_000_000})
                return first, await page.hear("snapshot_required")

        assert [m["reason"] for m in asyncio.run(scene())] == ["too_old", "too_old"]

    def test_a_page_whose_board_was_edited_is_sent_to_the_board(self, lead, admin, team):
        """A limit, a name or a phase is no card's news: the page reads the columns afresh."""
        column = BoardColumn.objects.get(workflow__team=team, workflow__key=FLOW, key="building")

        page = Page(lead)
        page.load(fresh_board(team))

        async def scene():
            async with page.connected():
                await page.hear("hello")
                await page.resume()
                await database_sync_to_async(edit)()
                return await page.hear("snapshot_required")

        def edit() -> None:
            changes = {"wip_limit": 4}
            services.change_column(actor=admin, column_id=column.pk, version=None, changes=changes)
            relay.run_once()

        assert asyncio.run(scene())["reason"] == "too_old"

    def test_big_news_come_in_linked_frames_of_at_most_64_kib(self, lead, team):
        page = Page(lead)
        page.load(fresh_board(team))
        for number in range(140):
            open_ticket(lead, f"{number} " + "long title " * 40)
        relay.run_once()

        async def scene():
            async with page.connected():
                await page.hear("hello")
                await page.resume()

        asyncio.run(scene())
        patches = [m for m in page.heard if m["type"] == "patch"]
        assert len(patches) > 1
        assert all(len(frames.encode(m).encode()) <= frames.FRAME_BYTES for m in patches)
        assert len(page.cards) == 140
        assert page.columns["analyzing"]["total"] == 140

    def test_a_socket_that_does_not_read_is_told_to_start_afresh(self):
        async def scene():
            socket = hub.Socket(visitor=None, stream=None)
            for number in range(hub.QUEUE_FRAMES + 40):
                socket.offer(str(number))
            first = await socket.next()
            socket.offer("not for one who lost track")
            return first, list(socket._live)

        assert asyncio.run(scene()) == (hub.OVERFLOW, [])

    def test_a_page_that_resumes_again_and_again_is_held_one_replay(self):
        async def scene():
            socket = hub.Socket(visitor=None, stream=None)
            for number in range(50):
                socket.hold()
                socket.release([f"patch of {number}", f"end of {number}"])
            return [await socket.next(), await socket.next(), *socket._first]

        assert asyncio.run(scene()) == ["patch of 49", "end of 49"]

    def test_a_sleeper_delays_nobody(self, lead, viewer, team):
        ticket = open_ticket(lead)
        relay.run_once()

        async def scene():
            async with Page(viewer).connected(), Page(lead).connected() as page:
                await page.hear("hello")
                page.seq = (await in_thread(fresh_board)(team))["seq"]
                await page.resume()
                for number in range(3):
                    await in_thread(services.update_ticket)(
                        actor=lead,
                        ticket_id=ticket.pk,
                        version=None,
                        changes={"title": f"Title {number}"},
                    )
                    await in_thread(relay.run_once)()
                    await page.hear("patch", seconds=2)

        asyncio.run(scene())


class TestWithoutTheDatabase:
    def test_sends_a_page_away_and_tells_the_news_when_it_is_back(self, lead, team, outage):
        ticket = open_ticket(lead)
        relay.run_once()

        def rename(title):
            services.update_ticket(
                actor=lead, ticket_id=ticket.pk, version=None, changes={"title": title}
            )
            relay.run_once()

        async def scene():
            async with Page(lead).connected() as staying, Page(lead).connected() as asking:
                staying.seq = (await staying.hear("hello"))["seq"]
                await asking.hear("hello")
                await in_thread(rename)("Before")
                await staying.hear("patch")
                with outage():
                    await asking.socket.say({"resume_from": 0})
                    code = await closed_with(asking)
                    late = await close_code(*asking.address)
                    await asyncio.sleep(1.5)
                await in_thread(rename)("After")
                await staying.hear("patch", seconds=10)
            return code, late, hub.hub()._sockets

        assert asyncio.run(scene()) == (1012, 1012, {})


async def closed_with(page) -> int:
    while True:
        message = await page.socket.app.receive_output(5)
        if message["type"] == "websocket.close":
            return message["code"]


@pytest.fixture
def outage():
    """`with outage():` no new connection reaches the database."""

    @contextmanager
    def away():
        address = connections.settings["default"]
        before = address["HOST"]
        address["HOST"] = "/nowhere"
        try:
            yield
        finally:
            address["HOST"] = before

    return away


def test_redis_wakes_the_hub_long_before_its_next_look(lead, team, tmp_path, settings, monkeypatch):
    """And when Redis dies, the look each second goes on."""
    program = find_redis(Path(sysconfig.get_path("purelib")))
    if program is None:
        pytest.skip("no redis-server (apt-get install redis-server)")
    command = redis_child(program, None, tmp_path, tmp_path / "log").command
    redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    settings.REDIS_URL = redis_url(tmp_path)
    until((tmp_path / "redis.sock").exists)
    announcer = relay.Announcer()
    ticket = open_ticket(lead)
    relay.run_once()

    def rename(title):
        services.update_ticket(
            actor=lead, ticket_id=ticket.pk, version=None, changes={"title": title}
        )
        relay.run_once()
        announcer.announce(relay.head()[0])

    async def scene():
        async with Page(lead).connected() as page:
            hello = await page.hear("hello")
            page.seq = hello["seq"]
            # Longer than any test: only a hint can bring the first frame.
            monkeypatch.setattr(reader, "POLL_SECONDS", 60)
            await asyncio.sleep(1.2)  # the look that was under way ends
            await in_thread(rename)("By hint")
            await page.hear("patch", seconds=3)
            monkeypatch.setattr(reader, "POLL_SECONDS", 1)
            await in_thread(rename)("The last hint")
            await page.hear("patch", seconds=3)
            redis.kill()
            await in_thread(rename)("Without Redis")
            await page.hear("patch", seconds=4)

    try:
        asyncio.run(scene())
    finally:
        redis.kill()
        redis.wait(5)


@pytest.mark.parametrize("everywhere", [False, True])
def test_tells_live_and_after_a_cut_that_new_work_is_stopped(admin, lead, everywhere):
    def switch(on):
        guardian.set_kill_switch(actor=admin, on=on, reason="it burns", everywhere=everywhere)
        relay.run_once()

    async def scene():
        async with Page(lead).connected() as page:
            page.seq = (await page.hear("hello"))["seq"]
            await in_thread(switch)(on=True)
            told = await page.hear("stopped", seconds=8)
            assert (told["stopped"]["by"], told["stopped"]["reason"]) == ("ada", "it burns")
            await in_thread(switch)(on=False)
            assert (await page.hear("stopped", seconds=8))["stopped"] is None
        await in_thread(switch)(on=True)
        async with page.connected():
            await page.hear("hello")
            await page.resume()
            assert page.heard[-1]["stopped"]["everywhere"] is everywhere

    asyncio.run(scene())


def until(condition, seconds=5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_costs_the_same_number_of_queries_for_any_number_of_cards(
    lead, team, django_assert_max_num_queries
):
    start = feed_reads.head()
    for number in range(30):
        open_ticket(lead, f"T{number}")
    relay.run_once()

    with django_assert_max_num_queries(8):
        frames.news(feed_reads.news(start, [team.pk])[1])


def _move(dice, actor, tickets) -> None:
    ticket = Ticket.objects.select_related("phase").get(pk=dice.choice(tickets))
    columns = list(BoardColumn.objects.filter(workflow=ticket.workflow).order_by("position"))
    target = dice.choice(columns)
    reason = "to see it move about"
    try:
        services.move_card(
            actor=actor,
            ticket_id=ticket.pk,
            column=target.key,
            version=None,
            override=True,
            force=True,
            position=dice.randrange(5),
            reason=reason,
        )
    except DomainError:
        return  # a refused move is part of the life of a board
