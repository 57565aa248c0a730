"""Secrets are masked in whatever is written down, and cheaply: each log line is looked through."""

import json

import pytest

from guardian.redaction import REDACTED, redact, redact_json, redact_text

pytestmark = pytest.mark.selfcheck


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgres://u:pw@h/db", f"postgres://u:{REDACTED}@h/db"),
        ("at 1postgres://u:p:w@h", f"at 1postgres://u:{REDACTED}@h"),
        ("redis://:pw@h and http://a:b@c", f"redis://:{REDACTED}@h and http://a:{REDACTED}@c"),
        ("lem_abcdefghijkl.0123456789abcdefghijklmno said", f"{REDACTED} said"),
        ("PASSWORD=hunter2 DB_PASSWORD=x", f"PASSWORD={REDACTED} DB_PASSWORD={REDACTED}"),
        ("OPENAI_API_KEY=sk-1234", f"OPENAI_API_KEY={REDACTED}"),
        ("AWS_SECRET_ACCESS_KEY=a/b+c", f"AWS_SECRET_ACCESS_KEY={REDACTED}"),
        (
            "?client_secret=a&refresh_token=b&page=2",
            f"?client_secret={REDACTED}&refresh_token={REDACTED}&page=2",
        ),
        ("login(password='a b', token=\"c\")", f"login(password={REDACTED}, token={REDACTED})"),
        ("BEARER abcdefghijkl", f"BEARER {REDACTED}"),
        ('sent {"password": "a b", "n": 1}', f'sent {{"password": "{REDACTED}", "n": 1}}'),
        ("sent {'api_key': 'a'}", f"sent {{'api_key': '{REDACTED}'}}"),
        ("fence_token=17, token=17", "fence_token=17, token=17"),
        ("password: must be longer", "password: must be longer"),
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


@pytest.mark.parametrize(
    "name",
    [
        "password", "PassWord", "userPassword", "pwd", "passcode", "api_key", "apiKey", "API-KEY",
        "api key", "private key", "clientSecret", "accessToken", "refresh-token", "Token ",
        "Set-Cookie", "credentials", "jwt", "proxy-authorization", "\u017fecret",
    ],
)  # fmt: skip
def test_a_telling_name_is_known_in_every_spelling_and_depth(name):
    said = {"list": [[{"deeper": {name: {"any": "shape"}}}]]}
    encode = json.JSONEncoder(ensure_ascii=False).encode

    masked, text = redact_json(said, encode)

    assert masked == {"list": [[{"deeper": {name: REDACTED}}]]}
    assert json.loads(text) == masked


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece",
    [
        "password",
        "token=1 ",
        '":',
        "secret':",
        "pwd",
        "k",
        "k.",
        "://",
        "://k",
        "://k:",
        ":",
        "k:",
        "lem_",
        "@",
    ],
)
def test_a_million_letters_cost_no_more_than_their_length(piece):
    text = piece * (1_000_000 // len(piece))

    assert redact_text(text) == text
