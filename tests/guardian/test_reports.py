"""Crashes told to Sentry: its real library and an ingest beside the test; no secrets reach it."""

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.test import Client
from django.urls import path
from rest_framework.views import APIView

from config import urls
from guardian import reports, tracing
from guardian.services import log_error

SECRET = "lem_abcdefghijkl.0123456789abcdefghijklmnopqrstuvwxyz"


class Ingest(BaseHTTPRequestHandler):
    """As much of a Sentry as its library needs."""

    heard: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        lines = body.decode().splitlines()
        for head, item in zip(lines[1::2], lines[2::2], strict=False):
            if json.loads(head).get("type") == "event":
                self.server.heard.append(json.loads(item))  # type: ignore[attr-defined]  # set here
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def heard(settings) -> Iterator[list[dict[str, Any]]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ingest)
    server.heard = []  # type: ignore[attr-defined]  # set here
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    settings.SENTRY_DSN = f"http://publickey@127.0.0.1:{server.server_address[1]}/7"
    settings.ENVIRONMENT = "harbour-test"
    reports.start()
    yield server.heard  # type: ignore[attr-defined]  # set here
    reports.stop()
    server.shutdown()
    server.server_close()
    thread.join(5)


class Falls(APIView):
    """A view with a fault."""

    scopes = {"get": "tickets:read"}

    def get(self, request):
        password = "in-a-variable"  # noqa: F841  must not be told
        raise RuntimeError(f"no way for {SECRET} at postgres://u:hushhush@db/x")


class Urls:
    urlpatterns = [path("api/v1/falls", Falls.as_view()), *urls.urlpatterns]
    handler404, handler500 = urls.handler404, urls.handler500


def test_a_crash_of_a_request_arrives_once_without_secrets(heard, settings, api, lead):
    settings.ROOT_URLCONF = Urls
    client = api(lead)

    answer = client.get(
        "/api/v1/falls", headers={"X-Request-ID": "req-7", "Cookie": "sessionid=cookie-canary"}
    )
    reports.stop()

    assert answer.status_code == 500
    (event,) = heard
    text = json.dumps(event)
    assert event["exception"]["values"][0]["type"] == "RuntimeError"
    assert event["environment"] == "harbour-test"
    assert event["release"].startswith("lemnos@")
    assert event["tags"]["request_id"] == "req-7"
    assert event["tags"]["team"] == str(lead.team_id)
    assert event["user"] == {"id": tracing.hashed(lead.id)}
    token = client._credentials["HTTP_AUTHORIZATION"].partition(" ")[2]
    for secret in (SECRET, "hushhush", "in-a-variable", "cookie-canary", token, str(lead.id)):
        assert secret not in text, secret


def test_an_error_that_is_kept_is_told_too(heard, team):
    log_error(error=ValueError("broken"), component="memory.embed", team_id=team.pk)
    reports.stop()

    (event,) = heard
    assert event["tags"]["event"] == "memory.embed"


def test_without_an_address_nothing_is_told(settings, db):
    settings.SENTRY_DSN = ""

    assert reports.start() is False
    assert Client().get("/livez").status_code == 200
