"""The one outgoing HTTP client: whatever Lemnos calls outside goes through `send`.

A URL may come from anybody, so it must not make Lemnos speak to machines only Lemnos can reach.
The name is resolved once, every address it has is judged, and the connection goes to an address
that was judged: there is no second look-up an answer could change in. docs/decisions/0023.
"""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import certifi
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from guardian.addresses import Address
from guardian.errors import EgressFailed
from guardian.targets import Target, check_address, check_url

CONNECT_SECONDS = 3.0
TOTAL_SECONDS = 15.0
ANSWER_BYTES = 256 * 1024
AGENT = "Lemnos/1"

Resolver = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side said; a redirect is an answer like any other and is not followed."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    cut: bool  # there was more than `answer_bytes`
    duration_ms: float


def send(
    *,
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    answer_bytes: int = ANSWER_BYTES,
    connect_seconds: float = CONNECT_SECONDS,
    total_seconds: float = TOTAL_SECONDS,
    resolve: Resolver | None = None,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """Send one request and read its answer: no redirects, no proxies, no retries, no cookies.

    `resolve` and `tls` are for tests: a name service and authorities of their own.
    Raises EgressRefused (asking again is useless), EgressFailed (later it may work).
    """
    target = check_url(url)
    deadline = _Deadline(total_seconds)
    with deadline:
        addresses = _resolved(target, resolve or system_resolver, deadline)
        connection = _connection(target, tls, total_seconds)
        connection.pinned = _Pinned(addresses, deadline, connect_seconds)
        try:
            started = time.perf_counter()
            sent = {"User-Agent": AGENT, "Accept-Encoding": "identity", **(headers or {})}
            connection.request(
                method, target.path, body or None, sent, preload_content=False, decode_content=False
            )
            # Closed by hand: an answer that is not read to its end keeps the socket.
            with contextlib.closing(connection.getresponse()) as response:
                read = response.read(answer_bytes + 1, decode_content=False)
            if deadline.over:  # a socket shut down in mid-answer looks like its end
                raise TimeoutError
            return Answer(
                status=response.status,
                headers=dict(response.headers),
                body=read[:answer_bytes],
                cut=len(read) > answer_bytes,
                duration_ms=(time.perf_counter() - started) * 1000,
            )
        except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            raise _failure(target, error, deadline) from error
        finally:
            connection.close()


def system_resolver(host: str, port: int) -> list[str]:
    """Every address of a name, as this machine's resolver knows them. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _resolved(target: Target, resolve: Resolver, deadline: "_Deadline") -> list[Address]:
    """All addresses of the host, each of them judged. Raises EgressRefused, EgressFailed."""
    if target.literal is not None:
        return [target.literal]
    try:
        texts = deadline.bounded(lambda: resolve(target.host, target.port))
        # A zone in an answer names an interface of this machine: never public.
        addresses = [ipaddress.ip_address(text) for text in texts]
    except (OSError, ValueError) as error:
        raise EgressFailed(f"{target.host} could not be resolved.", why="name") from error
    if not addresses:
        raise EgressFailed(f"{target.host} has no address.", why="name")
    for address in addresses:
        check_address(target, address)
    return addresses


class _Deadline:
    """Ends an exchange in time, even one that trickles: at its hour the socket is shut down."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.over = False
        self._end = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._watched: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._strike)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            if self._watched is not None:
                self._watched.close()
            self._watched = None

    def left(self) -> float:
        """Seconds. Raises TimeoutError."""
        left = self._end - time.monotonic()
        if left <= 0:
            self.over = True
            raise TimeoutError
        return left

    def watch(self, opened: socket.socket) -> None:
        with self._lock:
            # A copy: TLS takes the original over, and shutting a copy down ends both.
            self._watched = opened.dup()

    def _strike(self) -> None:
        with self._lock:
            self.over = True
            if self._watched is not None:
                with contextlib.suppress(OSError):  # the other side was faster
                    self._watched.shutdown(socket.SHUT_RDWR)

    def bounded(self, ask: Callable[[], Sequence[str]]) -> Sequence[str]:
        """A look-up that has no timeout of its own. Raises what it raises, TimeoutError."""
        answers: list[Sequence[str]] = []
        failures: list[OSError | ValueError] = []

        def run() -> None:
            try:
                answers.append(ask())
            except (OSError, ValueError) as error:
                failures.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(self.left())
        if failures:
            raise failures[0]
        if not answers:
            raise TimeoutError
        return answers[0]


class _Pinned:
    """Where a connection really goes: the judged addresses, in turn, within the time to connect."""

    def __init__(self, addresses: Sequence[Address], deadline: _Deadline, seconds: float) -> None:
        self.addresses = addresses
        self.deadline = deadline
        self.seconds = seconds

    def open(self, port: int) -> socket.socket:
        """Raises OSError."""
        end = time.monotonic() + min(self.seconds, self.deadline.left())
        failure: OSError = TimeoutError()
        for address in self.addresses:
            left = end - time.monotonic()
            if left <= 0:
                break
            family = socket.AF_INET if address.version == 4 else socket.AF_INET6
            opened = socket.socket(family, socket.SOCK_STREAM)
            try:
                opened.settimeout(left)
                opened.connect((str(address), port))
            except OSError as error:
                opened.close()
                failure = error
                continue
            self.deadline.watch(opened)
            opened.settimeout(self.deadline.left())
            return opened
        raise failure


class _PinnedHTTP(HTTPConnection):
    """urllib3's connection, but for where it leads."""

    pinned: _Pinned

    def _new_conn(self) -> socket.socket:
        return self.pinned.open(int(self.port or 0))


class _PinnedHTTPS(HTTPSConnection):
    """The same with TLS; name check and SNI keep to the host of the URL."""

    pinned: _Pinned

    def _new_conn(self) -> socket.socket:
        return self.pinned.open(int(self.port or 0))


def _connection(
    target: Target, tls: ssl.SSLContext | None, seconds: float
) -> _PinnedHTTP | _PinnedHTTPS:
    if target.scheme == "http":
        return _PinnedHTTP(target.host, target.port, timeout=seconds)
    context = tls or _authorities()
    return _PinnedHTTPS(target.host, target.port, timeout=seconds, ssl_context=context)


@lru_cache(maxsize=1)
def _authorities() -> ssl.SSLContext:
    """Those of the system; on a machine that has none, Mozilla's as certifi brings them."""
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not paths.cafile and not (paths.capath and any(Path(paths.capath).iterdir())):
        context.load_verify_locations(certifi.where())
    return context


def _failure(target: Target, error: Exception, deadline: _Deadline) -> EgressFailed:
    """What went wrong, in words without path and query."""
    if deadline.over:
        return EgressFailed(f"{target} gave no full answer in {deadline.seconds:g} s.", why="time")
    cause: BaseException = error
    while isinstance(cause, HTTPError) and cause.__context__ is not None:
        cause = cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return EgressFailed(f"{target} is not trusted: {cause.verify_message}.", why="tls")
    if isinstance(cause, ssl.SSLError):
        return EgressFailed(f"{target} does not speak TLS as it should: {cause.reason}.", why="tls")
    if isinstance(cause, TimeoutError):
        return EgressFailed(f"{target} did not accept the connection in time.", why="time")
    if isinstance(cause, OSError) and cause.strerror:
        return EgressFailed(f"{target} cannot be reached: {cause.strerror}.", why="connect")
    return EgressFailed(f"{target} answered with something that is no HTTP.", why="protocol")
