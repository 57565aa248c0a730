"""Secrets are masked in whatever is written down, and cheaply: each log line is looked through."""

import pytest

from guardian.redaction import REDACTED, redact, redact_text

pytestmark = pytest.mark.selfcheck


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgres://u:pw@h/db", f"postgres://u:{REDACTED}@h/db"),
        ("at 1postgres://u:p:w@h", f"at 1postgres://u:{REDACTED}@h"),
        ("redis://:pw@h and http://a:b@c", f"redis://:{REDACTED}@h and http://a:{REDACTED}@c"),
        ("lem_abcdefghijkl.0123456789abcdefghijklmno said", f"{REDACTED} said"),
        ("https://host:8000/path", "https://host:8000/path"),
        ("mail me: a@b", "mail me: a@b"),
    ],
)
def test_a_password_within_a_text_is_masked(text, masked):
    assert redact_text(text) == masked


def test_values_under_telling_names_are_masked_and_a_fence_is_not():
    said = {"api_key": "x", "lease": {"token": 7}, "list": [{"cookie": "y"}], "note": "z"}

    assert redact(said) == {
        "api_key": REDACTED,
        "lease": {"token": 7},
        "list": [{"cookie": REDACTED}],
        "note": "z",
    }


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["k", "k.", "://", "://k", "://k:", ":", "k:", "lem_", "@"])
def test_a_million_letters_cost_no_more_than_their_length(piece):
    text = piece * (1_000_000 // len(piece))

    assert redact_text(text) == text
