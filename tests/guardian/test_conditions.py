"""Conditions: what they mean, where they are wrong, and that no text can harm."""

import random
import time
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.conditions import evaluate, parse, references
from guardian.errors import ConditionInvalid, ConditionMissing, ConditionTypeError

pytestmark = pytest.mark.selfcheck

SCOPE = {
    "inputs": {"name": "Ada", "level": 3, "none": None, "flag": True, "price": Decimal("0.1")},
    "state": {
        "tests": {"total": 12, "failed": 0, "names": ["a", "b"]},
        "empty": {},
        "list": [],
        "text": "",
        "odd": {"length": 99, "a-b": 1, "0": "zero"},
        "ratio": 0.1,
        "rows": [{"id": 7}, {"id": None}],
    },
    "ctx": {"asof_date": "2026-01-31"},
}
M, T = ConditionMissing, ConditionTypeError

# Condition → what it says, or the error it names.
TRUTH_TABLE = [
    ("true", True),
    ("false", False),
    ("null", False),
    ("0", False),
    ("0.0", False),
    ('""', False),
    ("[]", False),
    ("1", True),
    ('"0"', True),
    ("[0]", True),
    ("state.empty", False),
    ("state.list", False),
    ("state.text", False),
    ("state.tests", True),
    ("inputs.flag", True),
    ("inputs.none", False),
    ("not inputs.none", True),
    ("not not inputs.flag", True),
    ("1 == 1.0", True),
    ("1 == true", False),
    ('1 == "1"', False),
    ("1 != true", True),
    ("null == null", True),
    ("null == false", False),
    ("inputs.none == null", True),
    ("inputs.price == 0.1", True),
    ("state.ratio == inputs.price", True),
    ('inputs.name == "Ada"', True),
    ("inputs.name == 'Ada'", True),
    ("[1, 2] == [1, 2.0]", True),
    ("[1, 2] == [2, 1]", False),
    ('state.tests.names == ["a", "b"]', True),
    ("state.tests.failed == 0 and state.tests.total >= 1", True),
    ("state.tests.total > 12 or inputs.level <= 3", True),
    ("false and state.nothing", False),
    ("true or state.nothing", True),
    ("true and state.nothing", M),
    ("true or false and false", True),
    ("(true or false) and false", False),
    ("not 1 == 2", True),
    ("(not 1) == 2", False),
    ("1 < 2", True),
    ('"a" < "b"', True),
    ('1 < "b"', T),
    ("true < 2", T),
    ("[1] < [2]", T),
    ("null < 2", False),
    ("2 >= null", False),
    ("inputs.level in [1, 2, 3]", True),
    ("inputs.level not in [1, 2, 3]", False),
    ('"d" in inputs.name', True),
    ('"failed" in state.tests', True),
    ("1 in 2", T),
    ("1 in null", False),
    ("state.nothing is null", True),
    ("state.nothing is not null", False),
    ("state.rows[1].id is null", True),
    ("state.rows[0].id == 7", True),
    ("state.rows.0.id == 7", True),
    ("state.rows[9].id == 7", M),
    ("state.tests.names.length == 2", True),
    ("{{state.odd.length}} == 99", True),
    ("state.odd.length == 3", True),
    ("{{state.odd}}.length == 3", True),
    ("inputs.level.length == 1", T),
    ("state.nothing.length is null", True),
    ("{{ state.nothing | default(5) }} > 4", True),
    ('{{inputs.none|default("x")}} == "x"', True),
    ("state.odd.a-b == 1", True),
    ('state.odd.0 == "zero"', True),
    ('ctx.asof_date < "2026-02-01"', True),
    ("state.text.upper", M),
    (r'"a\"b" == "a\u0022b"', True),
    (r"'it\'s' == " + '"it\'s"', True),
]


@pytest.mark.parametrize(("text", "expected"), TRUTH_TABLE, ids=[row[0] for row in TRUTH_TABLE])
def test_the_truth_table(text, expected):
    tree = parse(text)

    if isinstance(expected, bool):
        assert evaluate(tree, SCOPE) is expected
    else:
        with pytest.raises(expected):
            evaluate(tree, SCOPE)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 1),
        ("1 ==", 5),
        ("1 < 2 < 3", 7),
        ("a b", 3),
        ("(1", 3),
        ("[1 2]", 4),
        ("state.__class__", 6),
        ("inputs.x.__class__.__mro__", 9),
        ("{{inputs.__class__}} == 1", 9),
        ("{{env.x}}", 3),
        ("{{inputs.x | default(y)}}", 22),
        ("1 = 1", 3),
        ("f(1)", 2),
        ("1; 2", 2),
        ("x is 3", 6),
        ("007 == 7", 2),
        ('"\\q"', 1),
        ('"open', 1),
        ("not", 4),
        ("a" + ".b" * 11, 24),
    ],
)
def test_a_text_that_is_no_condition_is_refused_with_its_column(text, column):
    roots = frozenset({"inputs", "state", "ctx"}) if "{{" in text else None

    with pytest.raises(ConditionInvalid) as refused:
        parse(text, roots=roots)

    assert refused.value.data["column"] == column


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1" * 501, "500 characters"),
        (" and ".join(["1"] * 64), "64 parts"),
        ("(" * 17 + "1" + ")" * 17, "16 levels"),
        ("not " * 17 + "1", "16 levels"),
        ("[" * 17 + "]" * 17, "16 levels"),
    ],
)
def test_length_parts_and_depth_are_limited(text, message):
    with pytest.raises(ConditionInvalid, match=message):
        parse(text)


def test_up_to_the_limits_everything_is_read():
    assert evaluate(parse(" and ".join(["1"] * 63)), {})
    assert evaluate(parse("(" * 16 + "1" + ")" * 16), {})
    assert evaluate(parse("not " * 16 + "1"), {})


def test_roots_are_limited_where_the_caller_says_so():
    with pytest.raises(ConditionInvalid, match="'env' is none of"):
        parse("env.x == 1", roots=frozenset({"state"}))

    assert parse("env.x == 1")


def test_a_tree_names_its_references():
    tree = parse("not (state.a.b == {{inputs.c|default(1)}} or [ctx.d, 2] is null)")

    assert [found.path for found in references(tree)] == ["state.a.b", "inputs.c", "ctx.d"]


def test_reading_data_never_reaches_an_attribute():
    class Trap(dict[str, int]):
        @property
        def secret(self):
            raise AssertionError("an attribute was read")

    with pytest.raises(ConditionMissing):
        evaluate(parse("state.secret == 1"), {"state": Trap()})


def judged(text):
    """Seconds it takes to read and answer; only the three named errors may come out."""
    began = time.perf_counter()
    with suppress(ConditionInvalid, ConditionMissing, ConditionTypeError):
        evaluate(parse(text), SCOPE)
    return time.perf_counter() - began


PIECES = [
    "and", "or", "not", "in", "is", "null", "true", "false", "(", ")", "[", "]", ",", "==", "!=",
    "<", ">=", "state.tests", "state.rows[0]", "{{inputs.level}}", "{{", "}}", "|", "default(1)",
    ".length", "'x'", '"y"', '"', "'", "\\", "1", "-2.5e3", "1e999", "\x00", "é", "\ud800", ".",
    "__", "lambda", "import os", "state.list", "inputs.none",
]  # fmt: skip


def test_ten_thousand_random_texts_end_with_a_value_or_a_named_error_in_time():
    dice = random.Random(7)  # noqa: S311  no secret

    slowest = max(
        judged(" ".join(dice.choices(PIECES, k=dice.randint(1, 40)))) for _ in range(10_000)
    )

    assert slowest < 0.5  # 50 ms on a quiet machine


@given(st.text(max_size=520))
def test_any_text_ends_with_a_value_or_a_named_error(text):
    judged(text)


@pytest.mark.parametrize(
    "text",
    ["(" * 500, "not " * 125, "[" * 250 + "]" * 250, '"' + "\\" * 498, "1e" * 250, "a." * 250],
)
def test_a_nasty_text_is_judged_in_fifty_milliseconds(text):
    assert min(judged(text) for _ in range(3)) < 0.05
