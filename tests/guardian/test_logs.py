"""Lines of the log: what each of them says, and what none of them says."""

import io
import json
import logging

import pytest
import structlog

from guardian import logs
from guardian.redaction import REDACTED, redact_report, redact_text


@pytest.fixture
def lines(settings):
    """What is written from here on, line by line as JSON."""
    before = logging.getLogger().handlers[:]
    logs.configure({"level": "INFO", "format": "json"})
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(io.StringIO())
    yield lambda: [json.loads(line) for line in handler.stream.getvalue().splitlines()]
    logging.getLogger().handlers[:] = before


class TestALine:
    def test_of_a_request_says_who_asked_and_in_which_trace(self, lines, api, lead, agent):
        trace = "c" * 32
        api(lead).get("/api/v1/nowhere")
        api(agent).post(
            "/api/v1/locks/acquire",
            {},
            format="json",
            headers={"X-Request-ID": "req-9", "traceparent": f"00-{trace}-{'d' * 16}-01"},
        )

        (line,) = [line for line in lines() if line.get("request_id") == "req-9"]
        assert line["level"] == "warning"
        assert {"timestamp", "event", "logger"} <= set(line)
        assert line["trace_id"] == trace
        assert line["team"] == str(agent.team_id)
        assert line["actor"] == str(agent.id)

    def test_of_a_library_is_in_the_same_form_with_its_traceback(self, lines):
        try:
            int("postgres://u:hush@db/x")
        except ValueError:
            logging.getLogger("somewhere.else").exception("it broke for %s", "whsec_" + "A" * 32)

        (line,) = lines()
        assert line["logger"] == "somewhere.else"
        assert line["event"] == f"it broke for {REDACTED}"
        assert "ValueError" in line["exception"]
        assert "hush" not in json.dumps(line)

    def test_below_the_level_is_not_written_whoever_says_it(self, lines):
        logging.getLogger().setLevel(logging.ERROR)

        for name in ("django", "django.request", "somewhere.else"):
            logging.getLogger(name).warning("it is late")

        assert lines() == []

    def test_the_next_request_knows_nothing_of_the_last(self, lines, api, lead):
        api(lead).get("/api/v1/tickets")
        api().get("/api/v1/tickets")

        structlog.get_logger("t").warning("after")

        assert "actor" not in lines()[-1]


OWN = "an-own-secret-of-the-installation"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw= ends", "MfKQ9r8"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("{'Authorization': 'Bearer abcdefgh12345678'}", "abcdefgh12345678"),
        ("Cookie: sessionid=abc; csrftoken=def", "abc"),
        ("set-cookie: sessionid=abc; Path=/", "abc"),
        ("GET /x?api_key=s3cr3t&y=1", "s3cr3t"),
        ("password=hunter22 for ada", "hunter22"),
        ("bearer abcdefgh12345678 it is", "abcdefgh12345678"),
        (f"key {OWN} used", OWN),
    ],
)
def test_what_a_report_never_holds(text, hidden):
    assert hidden not in redact_report(text, [OWN])


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece", ["Cookie", "cookie:", "authorization='", "bearer ", "whsec_", "="]
)
def test_a_million_letters_cost_no_more_than_their_length(piece):
    redact_report(piece * (1_000_000 // len(piece)))


@pytest.mark.parametrize("text", ["the token is old", "a cookie jar", "x=1", "key: value"])
def test_ordinary_words_stay(text):
    assert redact_text(text) == text
