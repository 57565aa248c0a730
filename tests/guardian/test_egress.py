"""Outgoing calls: no form of address makes Lemnos speak to machines only Lemnos can reach."""

import contextlib
import ipaddress
import socket
import sys
import threading
import time
from functools import partial
from typing import Any

import pytest

from guardian import addresses, egress, targets
from guardian.checks import egress_networks_can_be_read
from guardian.errors import DomainError, EgressFailed, EgressRefused
from tests.guardian import traps

NAMES = {
    "localhost": ["127.0.0.1", "::1"],
    "service.localhost": ["127.0.0.1"],
    "127.0.0.1.nip.example": ["127.0.0.1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "sixtofour.example": ["2002:7f00:1::1"],
    "zone.example": ["fe80::1%lo"],
    "loop6.example": ["::1"],
    "unspecified.example": ["0.0.0.0"],  # noqa: S104  an answer, nothing is bound
    "unspecified6.example": ["::"],
    # One public answer does not excuse the other.
    "mixed.example": ["8.8.8.8", "127.0.0.1"],
    "mixed6.example": ["2606:4700::1111", "::1"],
    "xn--bcher-kva.example": ["127.0.0.1"],
    "metadata.example": ["169.254.169.254"],
}
# Sixty ways to write this machine or one beside it; {p} is the trap's port.
FORMS = (
    """
http://127.0.0.1:{p}/
http://127.1:{p}/
http://127.0.1:{p}/
http://2130706433:{p}/
http://0x7f000001:{p}/
http://0x7f.0.0.1:{p}/
http://0x7f.0x0.0x0.0x1:{p}/
http://0X7F000001:{p}/
http://017700000001:{p}/
http://0177.0.0.1:{p}/
http://0177.0.0.01:{p}/
http://127.0.0.1.:{p}/
http://127.000.000.001:{p}/
http://00127.0.0.1:{p}/
http://127.0.0.256:{p}/
http://127.255.255.254:{p}/
http://0.0.0.0:{p}/
http://0:{p}/
http://00:{p}/
http://[::1]:{p}/
http://[::]:{p}/
http://[0:0:0:0:0:0:0:1]:{p}/
http://[0000:0000:0000:0000:0000:0000:0000:0001]:{p}/
http://[::ffff:127.0.0.1]:{p}/
http://[::ffff:7f00:1]:{p}/
http://[0:0:0:0:0:ffff:127.0.0.1]:{p}/
http://[::127.0.0.1]:{p}/
http://[64:ff9b::127.0.0.1]:{p}/
http://[64:ff9b:1::127.0.0.1]:{p}/
http://[2002:7f00:1::]:{p}/
http://[2001:0:7f00:1::]:{p}/
http://[2606:4700::5efe:7f00:1]:{p}/
http://[fe80::1%25lo]:{p}/
http://[::1%25lo]:{p}/
http://[::1%lo]:{p}/
http://[fec0::1]:{p}/
http://[fd00::1]:{p}/
http://[v1.127.0.0.1]:{p}/
http://user@127.0.0.1:{p}/
http://user:word@127.0.0.1:{p}/
http://8.8.8.8@127.0.0.1:{p}/
http://8.8.8.8:80@127.0.0.1:{p}/
http://8.8.8.8\\@127.0.0.1:{p}/
http://192.0.2.1#@127.0.0.1:{p}/
http://127。0。0。1:{p}/
http://127．0．0．1:{p}/
http://127｡0｡0｡1:{p}/
http://１２７.0.0.1:{p}/
http://①②⑦.⓪.⓪.①:{p}/
http://localhost:{p}/
http://LOCALHOST:{p}/
http://localhost.:{p}/
http://ｌｏｃａｌｈｏｓｔ:{p}/
http://loc%61lhost:{p}/
http://service.localhost:{p}/
http://bücher.example:{p}/
http://127.0.0.1.nip.example:{p}/
http://mapped.example:{p}/
http://nat64.example:{p}/
http://sixtofour.example:{p}/
http://zone.example:{p}/
http://loop6.example:{p}/
http://unspecified.example:{p}/
http://unspecified6.example:{p}/
http://mixed.example:{p}/
http://mixed6.example:{p}/
http://metadata.example:{p}/
http://169.254.169.254:{p}/
http:\\\\127.0.0.1:{p}/
http:/127.0.0.1:{p}/
http:127.0.0.1:{p}/
//127.0.0.1:{p}/
http://\t127.0.0.1:{p}/
http://127.0.0.1\r\n:{p}/
http://127.0.0.1:{p}@8.8.8.8/../
ftp://127.0.0.1:{p}/
gopher://127.0.0.1:{p}/
file:///etc/passwd
unix:///tmp/.s.PGSQL.5432
javascript:alert(1)
""".replace("\\t", "\t")
    .replace("\\r", "\r")
    .replace("\\n", "\n")
)


def forms(port: int) -> list[str]:
    text = FORMS.replace("http://\t", "http://<tab>").replace("\r\n:", "<crlf>:")
    lines = [line for line in text.splitlines() if line]
    return [
        line.replace("<tab>", "\t").replace("<crlf>", "\r\n").replace("{p}", str(port))
        for line in lines
    ]


class Watch:
    """Every address this process tries to connect to; only loopback is let through."""

    def __init__(self) -> None:
        self.on = False
        self.tried: list[tuple[str, int]] = []
        self._thread = threading.get_ident()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or event != "socket.connect" or threading.get_ident() != self._thread:
            return
        host, port = arguments[1][:2]
        self.tried.append((host, port))
        if not addresses.plain(ipaddress.ip_address(host)).is_loopback:
            raise ConnectionRefusedError(111, "Connection refused")


_watch = Watch()


@pytest.fixture
def tried():
    _watch.on, _watch.tried = True, []
    yield _watch.tried
    _watch.on = False


@pytest.fixture
def plain_http(settings):
    settings.WEBHOOK_HTTP = True
    return settings


@pytest.fixture
def trap(monkeypatch, plain_http):
    """Its port counts as the usual one, so that the address alone decides."""
    with traps.trap() as made:
        monkeypatch.setitem(targets.USUAL_PORTS, "http", made.port)
        yield made


def call(url: str, **more) -> egress.Answer:
    known = {"resolve": lambda host, _: NAMES.get(host, []), "total_seconds": 5.0, **more}
    return egress.send(method="POST", url=url, body=b"{}", **known)


def refusals(port: int) -> dict[str, DomainError | None]:
    found: dict[str, DomainError | None] = {}
    for url in forms(port):
        try:
            call(url)
        except DomainError as refusal:
            found[url] = refusal
        else:
            found[url] = None
    return found


class TestForms:
    def test_no_form_of_address_reaches_the_trap(self, trap, tried):
        found = refusals(trap.port)

        assert len(found) >= 60
        assert trap.caught == 0
        assert tried == []
        assert {
            url for url, refusal in found.items() if not isinstance(refusal, EgressRefused)
        } <= {f"http://8.8.8.8#@127.0.0.1:{trap.port}/"}

    def test_without_its_judge_of_addresses_many_forms_do_reach_the_trap(
        self, trap, tried, monkeypatch
    ):
        monkeypatch.setattr(targets, "is_public", lambda _: True)

        refusals(trap.port)

        assert trap.caught >= 10

    def test_says_why_and_what_helps_without_the_path(self, plain_http):
        with pytest.raises(EgressRefused) as refused:
            call("http://127.0.0.1/hooks/very-secret?key=also-secret")

        said = f"{refused.value} {refused.value.remedy_text} {refused.value.data}"
        assert "no public address" in said
        assert "LEMNOS_EGRESS_ALLOW" in said
        assert "secret" not in said

    @pytest.mark.parametrize("port", [1, 22, 5432, 6379, 8443, 0])
    def test_other_ports_are_closed(self, port, tried):
        with pytest.raises(EgressRefused, match="not allowed"):
            call(f"https://example.com:{port}/")

        assert tried == []

    def test_plain_http_needs_its_switch(self, settings):
        settings.WEBHOOK_HTTP = False

        with pytest.raises(EgressRefused, match="Plain http") as refused:
            call("http://example.com/")

        assert "LEMNOS_WEBHOOK_HTTP=1" in refused.value.remedy_text


class TestResolving:
    def test_asks_once_and_connects_to_what_was_judged(self, trap, tried):
        answers = iter([["8.8.8.8"], ["127.0.0.1"], ["127.0.0.1"]])

        with pytest.raises(EgressFailed, match="cannot be reached"):
            call(f"http://rebinding.example:{trap.port}/", resolve=lambda *_: next(answers))

        assert tried == [("8.8.8.8", trap.port)]
        assert next(answers) == ["127.0.0.1"]  # the second answer was still to be had
        assert trap.caught == 0

    def test_a_name_without_address_may_have_one_later(self, plain_http):
        with pytest.raises(EgressFailed, match="has no address"):
            call("http://nothing.example/")

    def test_a_name_service_that_hangs_is_not_waited_for(self, plain_http):
        hanging = threading.Event()
        began = time.monotonic()

        with pytest.raises(EgressFailed, match="could not be resolved"):
            call(
                "http://slow.example/",
                resolve=lambda *_: hanging.wait(30) and [],
                total_seconds=0.3,
            )

        hanging.set()
        assert time.monotonic() - began < 10

    @pytest.mark.parametrize(
        ("text", "public"),
        [
            ("8.8.8.8", True),
            ("2606:4700::1111", True),
            ("64:ff9b::808:808", True),
            ("::ffff:8.8.8.8", True),
            ("100.64.0.1", False),
            ("192.0.2.1", False),
            ("224.0.0.1", False),
            ("255.255.255.255", False),
            ("64:ff9b::a00:1", False),
            ("2001::1", False),
            ("2001:db8::1", False),
            ("ff02::1", False),
            ("fec0::1", False),
            ("::8.8.8.8", False),
            ("2606:4700::200:5efe:808:808", False),
        ],
    )
    def test_knows_what_is_public(self, text, public):
        assert addresses.is_public(ipaddress.ip_address(text)) is public


class TestProxiesAndRedirects:
    def test_neither_is_followed(self, monkeypatch, plain_http):
        with traps.trap() as trap, traps.listener() as server:
            away = f"http://127.0.0.1:{trap.port}/"
            plain_http.EGRESS_ALLOW = [f"127.0.0.1:{server.port}"]
            for name in ("http_proxy", "https_proxy", "all_proxy"):
                monkeypatch.setenv(name, away)
                monkeypatch.setenv(name.upper(), away)
            answers = []
            for status in (301, 302, 303, 307, 308):
                server.reply = partial(lambda code, _: (code, {"Location": away}, b""), status)
                answers.append(call(f"http://127.0.0.1:{server.port}/").status)

            assert answers == [301, 302, 303, 307, 308]
            assert trap.caught == 0


class TestAllowances:
    def test_an_allowed_network_is_reached_at_the_port_it_names_alone(self, plain_http):
        with traps.listener() as server:
            url = f"http://127.0.0.1:{server.port}/x?y=z"
            plain_http.EGRESS_ALLOW = ["127.0.0.0/8"]
            with pytest.raises(EgressRefused, match="Port"):
                call(url)
            plain_http.EGRESS_ALLOW = [f"127.0.0.0/8:{server.port}"]

            answer = call(url, headers={"X-Test": "1"})

            assert answer.status == 204
            heard = server.heard[0]
            assert (heard.method, heard.path, heard.body) == ("POST", "/x?y=z", b"{}")
            assert heard.headers["host"] == f"127.0.0.1:{server.port}"
            with pytest.raises(EgressRefused):
                call("http://127.0.0.1/")

    def test_an_open_port_of_one_network_opens_it_nowhere_else(self, plain_http, tried):
        plain_http.EGRESS_ALLOW = ["10.1.2.3:8443"]

        with pytest.raises(EgressRefused, match="at port 8443"):
            call("https://mixed.example:8443/")
        with pytest.raises(EgressRefused, match="at port 8443"):
            call("https://8.8.8.8:8443/")

        assert tried == []

    @pytest.mark.parametrize("entry", ["nonsense", "10.0.0.0/33", "10.0.0.1:99999", "10.0.0.1:x"])
    def test_a_wrong_entry_is_refused_at_the_start(self, entry, settings):
        settings.EGRESS_ALLOW = ["10.0.0.0/8", entry]

        found = egress_networks_can_be_read()

        assert [error.id for error in found] == ["guardian.E005"]
        assert entry in found[0].msg

    def test_entries_of_every_form_are_read(self):
        entries = addresses.allowances(["10.0.0.1", "10.0.0.0/8:8443", "[fd00::/8]:1", "fd00::/8"])

        assert [(str(e.network), e.port) for e in entries] == [
            ("10.0.0.1/32", None),
            ("10.0.0.0/8", 8443),
            ("fd00::/8", 1),
            ("fd00::/8", None),
        ]


class TestTls:
    def test_shows_the_name_and_believes_only_its_certificate(self, tmp_path, settings):
        made = traps.authority(tmp_path, "hooks.example")
        shown: list[str | None] = []
        made.server.sni_callback = lambda _socket, name, _context: shown.append(name)
        with traps.listener(made.server) as server:
            settings.EGRESS_ALLOW = [f"127.0.0.1:{server.port}"]
            here = {"resolve": lambda *_: ["127.0.0.1"]}
            url = f"https://hooks.example:{server.port}/in"

            answer = call(url, tls=made.client, **here)

            assert answer.status == 204
            assert shown == ["hooks.example"]
            assert server.heard[0].headers["host"] == f"hooks.example:{server.port}"
            with pytest.raises(EgressFailed, match="not trusted") as stranger:
                call(url, **here)
            with pytest.raises(EgressFailed, match="not trusted") as other:
                call(f"https://other.example:{server.port}/", tls=made.client, **here)
            assert (stranger.value.data, other.value.data) == ({"why": "tls"}, {"why": "tls"})
            assert len(server.heard) == 1


class TestLimits:
    def test_an_answer_is_cut_where_it_becomes_too_long(self, plain_http):
        with traps.listener(reply=lambda _: (200, {}, b"x" * 100_000)) as server:
            plain_http.EGRESS_ALLOW = [f"127.0.0.1:{server.port}"]

            answer = call(f"http://127.0.0.1:{server.port}/", answer_bytes=1000)

            assert (answer.body, answer.cut) == (b"x" * 1000, True)

    def test_nothing_is_unpacked(self, plain_http):
        reply = (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b no gzip at all")
        with traps.listener(reply=lambda _: reply) as server:
            plain_http.EGRESS_ALLOW = [f"127.0.0.1:{server.port}"]

            answer = call(f"http://127.0.0.1:{server.port}/")

            assert answer.body == reply[2]
            assert server.heard[0].headers["accept-encoding"] == "identity"

    @pytest.mark.parametrize("trickle", [b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\n\r\nx", b""])
    def test_an_answer_that_trickles_ends_in_time(self, plain_http, trickle):
        """Each byte comes well within any pause; only the whole is too slow."""
        stop = threading.Event()

        def speak(listener: socket.socket) -> None:
            caller, _ = listener.accept()
            with caller:
                try:
                    caller.sendall(trickle)
                    while not stop.wait(0.05):
                        caller.sendall(b"0" if trickle else b"")
                except OSError:
                    return

        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            plain_http.EGRESS_ALLOW = [f"127.0.0.1:{port}"]
            speaker = threading.Thread(target=speak, args=(listener,))
            speaker.start()

            with pytest.raises(EgressFailed, match=r"no full answer in 2 s") as failed:
                call(f"http://127.0.0.1:{port}/", total_seconds=2)

            stop.set()
            speaker.join(5)
        assert failed.value.data == {"why": "time"}

    def test_connecting_has_a_shorter_time_of_its_own(self, plain_http):
        """A listener whose queue is full lets a caller wait without an answer."""
        assert (egress.CONNECT_SECONDS, egress.TOTAL_SECONDS) == (3.0, 15.0)
        with contextlib.ExitStack() as held:
            listener = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            where = listener.getsockname()
            plain_http.EGRESS_ALLOW = [f"127.0.0.1:{where[1]}"]
            for _ in range(3):
                waiting = held.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(where)

            with pytest.raises(EgressFailed, match="did not accept") as failed:
                call(f"http://127.0.0.1:{where[1]}/", connect_seconds=0.3, total_seconds=30.0)

        assert failed.value.data == {"why": "time"}

    def test_something_that_is_no_http_is_named_so(self, plain_http):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            plain_http.EGRESS_ALLOW = [f"127.0.0.1:{port}"]

            def speak() -> None:
                caller, _ = listener.accept()
                with caller:
                    caller.recv(65536)
                    caller.sendall(b"220 smtp.example ESMTP\r\n")

            speaker = threading.Thread(target=speak)
            speaker.start()
            with pytest.raises(EgressFailed, match="no HTTP"):
                call(f"http://127.0.0.1:{port}/")
            speaker.join(5)
