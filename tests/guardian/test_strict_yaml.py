"""YAML from strangers is refused before it can harm."""

import pytest

from guardian.strict_yaml import Place, YamlInvalid, load, read

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
        ("? {a: 1}\n: {b: 2}", "plain texts"),
        ("a: !!python/object:os.system x", "tags such as"),
        ("a: !x {b: 1}", "tags such as"),
        ("<<: {a: 1}", "merge keys"),
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
            "path": "b.c",
            "code": "duplicate_key",
            "message": "the key 'c' stands twice",
            "line": 4,
            "column": 3,
        }
    ]


def test_plain_values_are_read():
    assert load("a: [1, {b: text}]\nc: true") == {"a": [1, {"b": "text"}], "c": True}
    assert load("[" * 20 + "]" * 20)


def test_every_fault_is_told_in_the_order_of_the_text():
    with pytest.raises(YamlInvalid) as refused:
        load("a: &x 1\nb: *x\nc: {d: 1, d: 2}\ne: !!set {f}\ng: 0x_")

    found = [(e["code"], e["line"], e["column"]) for e in refused.value.data["errors"]]
    assert found == [
        ("alias", 1, 4),
        ("alias", 2, 4),
        ("duplicate_key", 3, 11),
        ("tag", 4, 4),
        ("yaml_invalid", 5, 4),
    ]


def test_values_are_read_as_json_has_them_with_their_places():
    found = read("when: 2026-01-02\n1: {yes: no}\nlist:\n  - a\n  - {b: 1.5}")

    assert found.value == {"when": "2026-01-02", "1": {"yes": False}, "list": ["a", {"b": 1.5}]}
    assert found.values["list", 1, "b"] == Place(5, 9)
    assert found.keys["1", "yes"] == Place(2, 5)
    assert found.fault(["list", 1, "c"], "missing", "needed")["line"] == 5


@pytest.mark.parametrize(
    "text", ["a: .inf", "a: .nan", 'a: "\\0"', "a: " + "9" * 5000, "a: 1.0e+999"]
)
def test_what_json_cannot_hold_is_a_fault_of_its_value(text):
    assert [fault["path"] for fault in read(text).faults] == ["a"]
