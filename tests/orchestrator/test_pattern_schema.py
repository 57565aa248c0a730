"""Pattern files: two dialects, one plan; each rule broken once is named with its path."""

import copy
import json

import pytest
import yaml

from orchestrator import capabilities
from orchestrator.capabilities import capability
from orchestrator.errors import PatternInputsInvalid, PatternInvalid
from orchestrator.pattern_graph import needs
from orchestrator.pattern_inputs import checked_inputs
from orchestrator.pattern_schema import digest, normalise, read

pytestmark = pytest.mark.selfcheck

ANY = {"type": "object"}


@pytest.fixture(autouse=True)
def known():
    @capability(
        "unit.count",
        agent="counter",
        inputs={
            "required": ["items"],
            "properties": {"items": {"type": "array"}, "limit": {"type": "integer", "maximum": 9}},
        },
        outputs=ANY,
    )
    def count(ctx, step, args):
        return {}

    @capability("unit.free", agent="tester", inputs={"additionalProperties": True}, outputs=ANY)
    def free(ctx, step, args):
        return {}

    yield
    capabilities.forget("unit.count")
    capabilities.forget("unit.free")


FLOW = {
    "id": "demo",
    "name": "Demo",
    "inputs": {"items": {"type": "array", "required": True}, "level": {"type": "integer"}},
    "outputs": ["total"],
    "steps": [
        {"capability": "unit.count", "as": "first", "args": {"items": "{{inputs.items}}"}},
        {
            "capability": "unit.free",
            "as": "total",
            "args": {"n": "{{first.n}}", "text": "a {{ first.list[0] | default(1) }}"},
            "condition": "{{first.n}} > 0",
        },
    ],
}
REGISTRY = {
    **FLOW,
    "outputs": {"total": "{{state.total}}"},
    "steps": [
        {
            "id": "first",
            "agent": "counter",
            "capability": "unit.count",
            "args": {"items": "{{inputs.items}}"},
        },
        {
            "id": "total",
            "agent": "tester",
            "capability": "unit.free",
            "args": {"n": "{{state.first.n}}", "text": "a {{ state.first.list[0] | default(1) }}"},
            "condition": "{{state.first.n}} > 0",
            "retries": 0,
            "timeout_seconds": 60,
        },
    ],
}


def test_both_dialects_of_one_plan_have_one_hash():
    flow, registry = normalise(FLOW), normalise(REGISTRY)

    assert flow == registry
    assert digest(flow) == digest(registry)
    assert flow["steps"][1]["args"]["n"] == "{{state.first.n}}"


def test_json_and_yaml_are_the_same_file():
    assert read(json.dumps(FLOW, indent="\t")) == read(yaml.safe_dump(FLOW)) == FLOW


def test_a_flow_step_without_as_is_called_by_its_number_and_kept_as_last():
    normal = normalise(
        {
            "id": "demo",
            "name": "Demo",
            "steps": [
                {"capability": "unit.free"},
                {"capability": "unit.free", "args": {"n": "{{last.n}}"}},
            ],
        }
    )

    assert [(s["id"], s["as"]) for s in normal["steps"]] == [("step_1", "last"), ("step_2", "last")]
    assert normal["steps"][1]["args"] == {"n": "{{state.last.n}}"}
    assert normal["outputs"] == {"last": "{{state.last}}"}


def change(**values):
    def apply(pattern):
        pattern.update(values)

    return apply


def step(number, **values):
    def apply(pattern):
        pattern["steps"][number].update(values)

    return apply


def without(key):
    def apply(pattern):
        del pattern[key]

    return apply


RULES = [
    (change(extra=1), "extra", "unknown_field"),
    (without("id"), "id", "required"),
    (change(id="Upper"), "id", "invalid"),
    (change(id="validate"), "id", "invalid"),
    (without("name"), "name", "required"),
    (change(name="x" * 121), "name", "invalid"),
    (change(version="1"), "version", "invalid"),
    (change(version=1), "version", "invalid"),
    (change(tags="a"), "tags", "invalid"),
    (change(tags=["a"] * 21), "tags", "invalid"),
    (change(prewarm="yes"), "prewarm", "invalid"),
    (change(timeout_seconds=0), "timeout_seconds", "invalid"),
    (change(timeout_seconds=True), "timeout_seconds", "invalid"),
    (change(inputs=[]), "inputs", "invalid"),
    (change(inputs={f"n{i}": {"type": "string"} for i in range(51)}), "inputs", "too_many"),
    (change(inputs={"1": {"type": "string"}}), "inputs.1", "invalid"),
    (change(inputs={"items": "array"}), "inputs.items", "invalid"),
    (change(inputs={"items": {"type": "tuple"}}), "inputs.items.type", "invalid"),
    (change(inputs={"items": {"type": "array", "x": 1}}), "inputs.items.x", "unknown_field"),
    (
        change(inputs={"items": {"type": "array", "required": 1}}),
        "inputs.items.required",
        "invalid",
    ),
    (change(inputs={"items": {"type": "date", "default": "x"}}), "inputs.items.default", "invalid"),
    (change(inputs={"items": {"type": "string", "enum": [1]}}), "inputs.items.enum", "invalid"),
    (
        change(inputs={"items": {"type": "string", "enum": ["a"], "default": "b"}}),
        "inputs.items.default",
        "invalid",
    ),
    (without("steps"), "steps", "required"),
    (change(steps=[]), "steps", "required"),
    (change(steps=[{"capability": "unit.free"}] * 101), "steps", "too_many"),
    (change(steps=["x"]), "steps[0]", "invalid"),
    (step(0, extra=1), "steps[0].extra", "unknown_field"),
    (step(0, id="mixed"), "steps[1].id", "required"),
    (step(0, capability=""), "steps[0].capability", "required"),
    (step(0, capability="unit.nothing"), "steps[0].capability", "capability_not_found"),
    (step(0, agent="tester"), "steps[0].agent", "not_owner"),
    (step(0, args=[]), "steps[0].args", "invalid"),
    (step(0, args={}), "steps[0].args.items", "required"),
    (step(0, args={"items": [], "more": 1}), "steps[0].args.more", "unknown_field"),
    (step(0, args={"items": [], "limit": 10}), "steps[0].args.limit", "invalid"),
    (step(0, args={"items": "{{inputs.items"}), "steps[0].args.items", "template_invalid"),
    (step(0, args={"items": "{{inputs.__class__}}"}), "steps[0].args.items", "template_invalid"),
    (step(0, args={"items": "{{inputs.gone}}"}), "steps[0].args", "reference_invalid"),
    (step(0, args={"items": "{{ctx.gone}}"}), "steps[0].args", "reference_invalid"),
    (step(0, args={"items": "{{state.total}}"}), "steps[0].args", "reference_invalid"),
    (step(0, args={"items": "{{state.never}}"}), "steps[0].args", "reference_invalid"),
    (step(0, args={"items": "{{state}}"}), "steps[0].args", "reference_invalid"),
    (step(1, **{"as": "first"}), "steps[1].id", "duplicate"),
    (step(1, **{"as": "state"}), "steps[1].as", "invalid"),
    (step(1, **{"as": "9"}), "steps[1].as", "invalid"),
    (step(1, condition="1 <"), "steps[1].condition", "condition_invalid"),
    (step(1, condition="os.x"), "steps[1].condition", "condition_invalid"),
    (step(1, condition="state.total"), "steps[1].condition", "reference_invalid"),
    (step(1, condition=["x"]), "steps[1].condition", "invalid"),
    (step(1, depends_on="first"), "steps[1].depends_on", "invalid"),
    (step(1, depends_on=["gone"]), "steps[1].depends_on", "unknown_step"),
    (step(0, depends_on=["total"]), "steps", "cycle"),
    (step(1, timeout_seconds=0), "steps[1].timeout_seconds", "invalid"),
    (step(1, retries=4), "steps[1].retries", "invalid"),
    (step(1, on_error="ignore"), "steps[1].on_error", "invalid"),
    (change(outputs=["gone"]), "outputs.gone", "reference_invalid"),
    (change(outputs={"x": "{{state.total"}), "outputs.x", "template_invalid"),
    (change(outputs=3), "outputs", "invalid"),
]


@pytest.mark.parametrize(("breaks", "path", "code"), RULES, ids=[f"{r[1]}-{r[2]}" for r in RULES])
def test_each_rule_broken_once_is_named_with_its_path(breaks, path, code):
    pattern = copy.deepcopy(FLOW)
    breaks(pattern)

    with pytest.raises(PatternInvalid) as refused:
        normalise(pattern)

    found = [(fault["path"], fault["code"]) for fault in refused.value.data["errors"]]
    assert (path, code) in found


def test_all_faults_are_listed_at_once():
    pattern = copy.deepcopy(FLOW)
    change(version="x", extra=1)(pattern)
    step(0, retries=9)(pattern)

    with pytest.raises(PatternInvalid, match="and 2 more") as refused:
        normalise(pattern)

    assert len(refused.value.data["errors"]) == 3


def test_a_registry_step_needs_id_and_agent_and_its_as_is_its_id():
    pattern = copy.deepcopy(REGISTRY)
    del pattern["steps"][0]["agent"]
    pattern["steps"][1]["as"] = "other"

    with pytest.raises(PatternInvalid) as refused:
        normalise(pattern)

    assert {fault["path"] for fault in refused.value.data["errors"]} >= {
        "steps[0].agent",
        "steps[1].as",
    }


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x" * 262_145, "too_large"),
        ("[1]", "invalid"),
        ('{"a": 1, "a": 2}', "malformed_json"),
        ('{"a": ', "malformed_json"),
        ("a: &x 1\nb: *x", "yaml_invalid"),
        ('{"a":' * 21 + "1" + "}" * 21, "too_deep"),
        ('{"a":' * 50_000, "malformed_json"),
        ('{"a": 1e999}', "invalid"),
        ('{"a": "\\u0000"}', "invalid"),
        ("a: 2026-01-01", "invalid"),
    ],
    ids=lambda value: value[:12],
)
def test_what_is_no_small_plain_file_is_refused(text, code):
    with pytest.raises(PatternInvalid) as refused:
        read(text)

    assert refused.value.data["errors"][0]["code"] == code


def test_steps_run_in_sequence_unless_one_says_what_it_depends_on():
    def plan(**more):
        steps = [
            {"id": name, "agent": "tester", "capability": "unit.free", **more.get(name, {})}
            for name in "abcd"
        ]
        return needs(normalise({"id": "demo", "name": "D", "steps": steps})["steps"])

    assert plan() == {"a": [], "b": ["a"], "c": ["b"], "d": ["c"]}
    assert plan(
        c={"depends_on": ["a"], "condition": "state.d.x > 1"}, b={"args": {"x": "{{state.a}}"}}
    ) == {"a": [], "b": ["a"], "c": ["a", "d"], "d": []}


DECLARED = {
    "text": {"type": "string", "required": True},
    "level": {"type": "integer", "required": False, "default": 3},
    "kind": {"type": "string", "required": False, "enum": ["a", "b"]},
    "blob": {"type": "bytes", "required": False},
    "id": {"type": "uuid", "required": False},
    "at": {"type": "datetime", "required": False},
}


def test_inputs_get_their_defaults():
    assert checked_inputs(DECLARED, {"text": "x", "kind": None}) == {"text": "x", "level": 3}


@pytest.mark.parametrize(
    ("given", "path", "code"),
    [
        ({}, "inputs.text", "required"),
        ({"text": None}, "inputs.text", "required"),
        ({"text": 1}, "inputs.text", "invalid"),
        ({"text": "x", "level": True}, "inputs.level", "invalid"),
        ({"text": "x", "level": 1.5}, "inputs.level", "invalid"),
        ({"text": "x", "kind": "c"}, "inputs.kind", "invalid"),
        ({"text": "x", "blob": "no base64!"}, "inputs.blob", "invalid"),
        ({"text": "x", "id": "7"}, "inputs.id", "invalid"),
        ({"text": "x", "at": "noon"}, "inputs.at", "invalid"),
        ({"text": "x", "more": 1}, "inputs.more", "unknown_field"),
    ],
)
def test_inputs_that_do_not_fit_are_named(given, path, code):
    with pytest.raises(PatternInputsInvalid) as refused:
        checked_inputs(DECLARED, given)

    assert [(f["path"], f["code"]) for f in refused.value.data["errors"]] == [(path, code)]
