"""What each kind of gate takes, and how a fault is named."""

import pytest

from guardian.errors import Invalid
from phases.gate_kinds import PARAMETERS, check_parameters
from phases.models import GateRequirement
from phases.workflow_yaml import Gate

GOOD = {
    "artifact": {"artifact_type": "report", "rules": {"min_length": 5}},
    "tasks_completed": {},
    "file_exists": {"path": "docs/design.md"},
    "file_contains": {"path": "README.md", "text": "Licence"},
    "command_success": {"argv": ["make", "check"], "timeout_seconds": 60},
    "tests_pass": {"argv": ["python", "-m", "pytest"]},
    "metric": {"name": "test_coverage.percentage", "op": ">=", "value": 80},
    "manual": {"question": "Does it read well?"},
    "review": {"count": 2},
}


def test_there_is_a_form_for_every_kind():
    assert set(PARAMETERS) == set(GateRequirement.Kind.values) == set(GOOD)


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_each_kind_takes_its_parameters_here_and_in_yaml(kind):
    check_parameters(kind, GOOD[kind])

    assert Gate.model_validate({"key": "k", "kind": kind, "parameters": GOOD[kind]}).kind == kind


@pytest.mark.parametrize(
    ("kind", "parameters", "path"),
    [
        ("tasks_completed", {"count": 1}, "parameters.count"),
        ("file_exists", {}, "parameters.path"),
        ("file_exists", {"path": "/etc/passwd"}, "parameters.path"),
        ("file_exists", {"path": "a/../../b"}, "parameters.path"),
        ("file_contains", {"path": "a", "text": "b\0c"}, "parameters.text"),
        ("file_contains", {"path": "a", "text": "\ud800"}, "parameters.text"),
        ("command_success", {"argv": []}, "parameters.argv"),
        ("command_success", {"argv": "make check"}, "parameters.argv"),
        ("command_success", {"argv": ["ls"], "timeout_seconds": 0}, "parameters.timeout_seconds"),
        ("tests_pass", {"argv": [" "]}, "parameters.argv"),
        ("tests_pass", {"argv": ["pytest"], "timeout_seconds": 9}, "parameters.timeout_seconds"),
        ("metric", {"name": "a.b", "op": "~", "value": 1}, "parameters.op"),
        ("metric", {"name": "a..b", "op": "<", "value": 1}, "parameters.name"),
        ("metric", {"name": "a", "op": "<", "value": float("nan")}, "parameters.value"),
        ("manual", {"question": ""}, "parameters.question"),
        ("review", {"count": True}, "parameters.count"),
        ("artifact", {"artifact_type": "a", "rules": {"shiny": True}}, "parameters.rules.shiny"),
    ],
)
def test_a_fault_is_named_with_its_path_and_what_the_kind_takes(kind, parameters, path):
    with pytest.raises(Invalid) as refused:
        check_parameters(kind, parameters)

    assert [e["path"].startswith(path) for e in refused.value.data["errors"]][:1] == [True]
    assert refused.value.remedy_text.startswith(f"{kind} takes ")
