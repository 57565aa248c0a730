"""What a gate asks for is checked when the workflow is read, not when a ticket stands before it."""

from pathlib import Path

import pytest
from django.conf import settings

from guardian.strict_yaml import YamlInvalid
from phases.workflow_yaml import read

SHIPPED = sorted((Path(settings.BASE_DIR) / "templates" / "workflows").glob("*.yaml"))
CHECKUP = (Path(settings.BASE_DIR) / "templates/workflows/repo_checkup.yaml").read_text("utf-8")
REPORT = "artifact_type: report"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_ones_are_valid(path):
    assert read(path.read_text("utf-8")).key == path.stem


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("min_length: 500", "min_len: 500", "phases.3.gate.0.parameters.rules.min_len"),
        (REPORT, f"{REPORT}, observd: true", "phases.3.gate.0.parameters.observd"),
        (REPORT, f"{REPORT}, strict: 1", "phases.3.gate.0.parameters.strict"),
        (
            "kind: tasks_completed}",
            "kind: tasks_completed, parameters: {count: 1}}",
            "phases.2.gate.2.parameters.count",
        ),
    ],
)
def test_an_unknown_parameter_of_a_gate_is_named(old, new, path):
    with pytest.raises(YamlInvalid) as refusal:
        read(CHECKUP.replace(old, new, 1))

    assert [error["path"] for error in refusal.value.data["errors"]] == [path]


def test_a_gate_may_ask_for_evidence_of_our_own_run():
    assert read(CHECKUP).phases[3].gate[0].parameters["observed"] is True
