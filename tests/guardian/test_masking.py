"""Masking on the way into the event table looks away only where there is nothing to mask."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from guardian.redaction import redact, redact_json

_PIECES = st.lists(
    st.sampled_from(
        [
            "pass", "word", "wd", "phrase", "secret", "\u017fecret", "Authorization", "COOKIE",
            "\u212aey", "api", "_", "-", "key", "private", "token", "pepper", "csrf", "session",
            "session_id", "id", "=", "lem_abcdefghijkl.", "0123456789abcdefghijklmno", "whsec_", "://",
            "u:p@h", ":", "@", "Bearer ", "bearer\t", '"', "\\", "/", " ", "plain", "x" * 20,
        ]
    ),
    max_size=2,
).map("".join)  # fmt: skip
_INNER = st.recursive(
    st.none() | st.booleans() | st.integers() | _PIECES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_PIECES, inner, max_size=3),
    max_leaves=3,
)
_SAID = st.dictionaries(_PIECES, _INNER | _PIECES, min_size=1, max_size=2)


@settings(max_examples=1000)
@given(said=_SAID)
def test_what_is_skipped_for_holding_no_sign_of_a_secret_holds_none(said):
    masked, text = redact_json(said, json.JSONEncoder(ensure_ascii=False).encode)

    assert masked == redact(said)
    assert json.loads(text) == masked
