"""Templates: values go in whole, data is never read as a template."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import TemplateInvalid, TemplateMissing, TemplateTooLarge
from orchestrator.templates import references, render

pytestmark = pytest.mark.selfcheck

SCOPE = {
    "inputs": {"name": "Ada", "n": 3, "none": None, "evil": "{{state.secret}} }} {{", "ok": True},
    "state": {
        "tests": {"total": 12, "names": ["a", "b"], "0": "zero"},
        "secret": "hidden",
        "cost": Decimal("0.10"),
        "rows": [{"id": 7}],
    },
    "ctx": {"pricing_pack_id": "PP_2026-01-31"},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{{inputs.n}}", 3),
        ("{{ inputs . n }}", 3),
        ("n={{inputs.n}}", "n=3"),
        ("{{inputs.n}}{{inputs.n}}", "33"),
        ("{{inputs.ok}}", True),
        ("is {{inputs.ok}}", "is true"),
        ("{{state.tests.names}}", ["a", "b"]),
        ("{{state.tests.names[1]}}", "b"),
        ("{{state.tests.names.1}}", "b"),
        ("{{state.tests.0}}", "zero"),
        ("{{state.rows[0].id}}", 7),
        ("{{state.cost}}", Decimal("0.10")),
        ("{{state.cost}} USD", "0.10 USD"),
        ("as {{state.rows}}", 'as [{"id":7}]'),
        ("{{ctx.pricing_pack_id}}", "PP_2026-01-31"),
        ("{{inputs.none | default(5)}}", 5),
        ("{{inputs.gone|default(\"x }} y\")}}", "x }} y"),
        ("{{inputs.gone|default(null)}}", None),
        ("{{inputs.gone|default(-1.50)}}", Decimal("-1.50")),
        ("{{inputs.n | default(5)}}", 3),
        (r"\{{inputs.n}}", "{{inputs.n}}"),
        (r"a \{{ b {{inputs.n}} }}", "a {{ b 3 }}"),
        ("}} { { alone", "}} { { alone"),
    ],
)  # fmt: skip
def test_a_template_gives_its_value(text, expected):
    found = render(text, SCOPE)

    assert found == expected
    assert type(found) is type(expected)


def test_values_that_hold_braces_come_out_unchanged():
    assert render("{{inputs.evil}}", SCOPE) == SCOPE["inputs"]["evil"]
    assert render("<{{inputs.evil}}>", SCOPE) == "<{{state.secret}} }} {{>"


@given(st.text())
def test_any_text_passes_through_a_template_unchanged(value):
    assert render({"a": "{{inputs.v}}", "b": "{{inputs.v}}!"}, {"inputs": {"v": value}}) == {
        "a": value,
        "b": value + "!",
    }


def test_lists_and_objects_are_rendered_and_their_keys_stay_plain():
    args = {"{{inputs.n}}": ["{{inputs.n}}", {"deep": "{{inputs.name}}"}], "number": 1}

    assert render(args, SCOPE) == {"{{inputs.n}}": [3, {"deep": "Ada"}], "number": 1}


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("{{inputs.__class__}}", 9),
        ("{{inputs.n.__class__.__mro__}}", 11),
        ("{{env.HOME}}", 3),
        ("{{}}", 3),
        ("{{inputs.n", 11),
        ("{{inputs.n + 1}}", 12),
        ("{{inputs['n']}}", 9),
        ("{{inputs.n|upper}}", 11),
        ("{{inputs.n|default(x)}}", 20),
        ("{{inputs" + ".a" * 11 + "}}", 31),
        ("ab {{ 1 }}", 7),
    ],
)
def test_what_is_no_reference_is_refused_with_its_column(text, column):
    with pytest.raises(TemplateInvalid) as refused:
        render(text, SCOPE)

    assert refused.value.data["column"] == column


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{{inputs.gone}}", "inputs.gone"),
        ("{{inputs.none}}", "inputs.none"),
        ("x {{state.rows[3].id}}", "state.rows[3].id"),
        ("{{state.tests.total.real}}", "state.tests.total.real"),
        ("{{inputs.name.upper}}", "inputs.name.upper"),
    ],
)
def test_what_is_missing_is_named(text, path):
    with pytest.raises(TemplateMissing) as refused:
        render(text, SCOPE)

    assert refused.value.data["reference"] == path


def test_the_limits_hold():
    with pytest.raises(TemplateInvalid, match="64 templates"):
        render("{{inputs.n}}" * 65, SCOPE)
    with pytest.raises(TemplateInvalid, match="8192 bytes"):
        render("{{inputs.n}}" + "x" * 8192, SCOPE)
    with pytest.raises(TemplateTooLarge, match="65536 bytes"):
        render("{{inputs.v}}!", {"inputs": {"v": "x" * 65536}})
    with pytest.raises(TemplateTooLarge, match="262144"):
        render(["{{inputs.v}}"] * 5, {"inputs": {"v": "x" * 60000}})

    assert len(render("{{inputs.v}}", {"inputs": {"v": "x" * 200_000}})) == 200_000


def test_a_value_names_its_references():
    found = references({"a": ["{{state.x.y}} and {{inputs.z}}"], "b": 3})

    assert [reference.path for reference in found] == ["state.x.y", "inputs.z"]
