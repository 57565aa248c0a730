"""YAML from strangers is refused before it can harm."""

import pytest

from guardian.strict_yaml import YamlInvalid, load

pytestmark = pytest.mark.selfcheck


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 200_000, "deeper"),
        ("{a: " * 50_000, "deeper"),
        ("- " * 5_000, "deeper"),
        ("a: &x 1\nb: *x", "line 1: anchors"),
        ("b: *x", "anchors"),
        ("a: 1\na: 2", "twice"),
        ("? [a]\n: 1", "plain texts"),
        ("a: !!python/object:os.system x", "constructor"),
        ("a: [", "expected node content"),
        ("a: 1\n---\nb: 2", "document"),
        ("a: 2026-99-99", "month"),
        ("\x07", "control characters"),
    ],
    ids=lambda value: value[:12],
)
def test_what_could_harm_is_refused(text, message):
    with pytest.raises(YamlInvalid, match=message):
        load(text)


def test_a_fault_names_its_place():
    with pytest.raises(YamlInvalid) as refused:
        load("a: 1\nb:\n  c: 1\n  c: 2")

    assert refused.value.data["errors"] == [
        {
            "path": "",
            "code": "yaml_invalid",
            "message": "the key 'c' stands twice",
            "line": 4,
            "column": 3,
        }
    ]


def test_plain_values_are_read():
    assert load("a: [1, {b: text}]\nc: true") == {"a": [1, {"b": "text"}], "c": True}
    assert load("[" * 20 + "]" * 20)
