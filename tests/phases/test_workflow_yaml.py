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


SMALL = """\
format: 1
key: small
name: Small
initial_phase: PHASE_WORK
phases:
  - id: PHASE_WORK
    sequence_order: 0
    name: Work
    allowed_transitions: [PHASE_DONE]
  - id: PHASE_DONE
    sequence_order: 1
    name: Done
    kind: done
board_columns:
  - {id: work, name: Work, sequence_order: 0, phase_mapping: [PHASE_WORK]}
  - {id: done, name: Done, sequence_order: 1, phase_mapping: [PHASE_DONE]}
"""


def faults(text):
    with pytest.raises(YamlInvalid) as refusal:
        read(text)
    return [(f["path"], f["line"], f["column"], f["code"]) for f in refusal.value.data["errors"]]


def test_the_small_one_is_valid():
    assert read(SMALL).initial_phase == "PHASE_WORK"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        # Shape: the place is that of the value, of an unknown key the key's, of a missing one
        # that of what lacks it.
        ("format: 1", "format: 2", ("format", 1, 9, "invalid")),
        ("key: small", "key: 5", ("key", 2, 6, "invalid")),
        ("key: small", "key: a b", ("key", 2, 6, "invalid")),
        ("name: Small\n", "", ("name", 1, 1, "required")),
        ("name: Small", "name: Small\nnmae: x", ("nmae", 4, 1, "unknown_field")),
        ("    name: Work", "    nom: Work", ("phases.0.nom", 8, 5, "unknown_field")),
        ("order: 1\n", "order: -1\n", ("phases.1.sequence_order", 11, 21, "invalid")),
        ("order: 1\n", "order: yes\n", ("phases.1.sequence_order", 11, 21, "invalid")),
        ("kind: done", "kind: sleep", ("phases.1.kind", 13, 11, "invalid")),
        ("name: Done, seq", "wip_limit: 0, name: Done, seq",
         ("board_columns.1.wip_limit", 16, 27, "invalid")),
        ("name: Done, seq", "color: pink, name: Done, seq",
         ("board_columns.1.color", 16, 23, "invalid")),
        # References and rules.
        ("initial_phase: PHASE_WORK", "initial_phase: PHASE_X",
         ("initial_phase", 4, 16, "unknown_reference")),
        ("initial_phase: PHASE_WORK", "initial_phase: PHASE_DONE",
         ("initial_phase", 4, 16, "not_work")),
        ("[PHASE_DONE]\n  - id", "[PHASE_X, PHASE_DONE]\n  - id",
         ("phases.0.allowed_transitions.0", 9, 27, "unknown_reference")),
        ("[PHASE_DONE]\n  - id", "[PHASE_WORK, PHASE_DONE]\n  - id",
         ("phases.0.allowed_transitions.0", 9, 27, "points_to_itself")),
        ("[PHASE_DONE]\n  - id", "[PHASE_DONE, PHASE_DONE]\n  - id",
         ("phases.0.allowed_transitions.1", 9, 39, "not_unique")),
        ("[PHASE_DONE]\n  - id", "[]\n  - id", ("initial_phase", 4, 16, "done_unreachable")),
        ("order: 1\n", "order: 0\n", ("phases.1.sequence_order", 11, 21, "not_unique")),
        ("order: 1,", "order: 0,", ("board_columns.1.sequence_order", 16, 44, "not_unique")),
        ("{id: done", "{id: work", ("board_columns.1.id", 16, 10, "not_unique")),
        ("[PHASE_DONE]}", "[PHASE_DONE, PHASE_WORK]}",
         ("board_columns.1.phase_mapping.1", 16, 75, "not_unique")),
        ("[PHASE_DONE]}", "[PHASE_DONE, PHASE_X]}",
         ("board_columns.1.phase_mapping.1", 16, 75, "unknown_reference")),
        ("[PHASE_DONE]}", "[]}", ("phases.1.id", 10, 9, "no_column")),
        ("[PHASE_DONE]}", "[PHASE_DONE], auto_transition_to: done}",
         ("board_columns.1.auto_transition_to", 16, 96, "points_to_itself")),
        ("[PHASE_DONE]}", "[PHASE_DONE], auto_transition_to: dnoe}",
         ("board_columns.1.auto_transition_to", 16, 96, "unknown_reference")),
        ("    kind: done\n", "", ("phases", 6, 3, "no_done")),
        ("name: Work\n", "name: Work\n    kind: done\n", ("phases.1.kind", 14, 11, "second_done")),
        ("name: Small", "name: Small\nscore: {priority: 0.5}",
         ("score.priority", 4, 19, "invalid")),
        ("name: Small", "name: Small\nscore: {prio: 0.5}", ("score.prio", 4, 9, "unknown_field")),
        ("name: Small", "name: Small\nlimits: {spawn_per_ticket: -1}",
         ("limits.spawn_per_ticket", 4, 28, "invalid")),
        ("name: Small", "name: Small\napproval: {timeout_minutes: 0}",
         ("approval.timeout_minutes", 4, 29, "invalid")),
        # What cannot be read.
        ("name: Small", "name: Small\nname: Small", ("name", 4, 1, "duplicate_key")),
        ("name: Small", "name: &a Small", ("", 3, 7, "alias")),
        ("name: Small", "name: !!str Small", ("", 3, 7, "tag")),
    ],
)  # fmt: skip
def test_a_fault_names_its_path_and_place(old, new, fault):
    assert old in SMALL
    assert fault in faults(SMALL.replace(old, new, 1))


def test_all_faults_are_told_at_once_in_the_order_of_the_text():
    text = SMALL.replace("format: 1", "format: 1\nfrom: me").replace("[PHASE_DONE]}", "[PHASE_X]}")
    text = text.replace("kind: done", "kind: sleep").replace(
        "name: Work\n", "name: Work\n    id: x\n"
    )

    assert [(line, code) for _, line, _, code in faults(text)] == [
        (2, "unknown_field"),
        (7, "no_done"),
        (10, "duplicate_key"),
        (12, "no_column"),
        (15, "invalid"),
        (18, "unknown_reference"),
    ]


def test_a_second_blocked_phase_is_one_too_many():
    more = """\
  - {id: PHASE_B1, sequence_order: 2, name: B, kind: blocked}
  - {id: PHASE_B2, sequence_order: 3, name: B, kind: blocked}
board_columns:
  - {id: b, name: B, sequence_order: 2, phase_mapping: [PHASE_B1, PHASE_B2]}
"""
    text = SMALL.replace("board_columns:\n", more)

    assert faults(text) == [("phases.3.kind", 15, 54, "second_blocked")]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x: " + "a" * (1024 * 1024), "too_large"),
        ("a: " + "[" * 21 + "]" * 21, "too_deep"),
        ("a: [" + "1, " * 100_001 + "]", "too_many_values"),
        ("", "invalid"),
        ("- 1", "invalid"),
        ("just words", "invalid"),
        ("a: [", "yaml_invalid"),
    ],
)
def test_what_is_too_much_or_no_workflow_is_refused(text, code):
    with pytest.raises(YamlInvalid) as refusal:
        read(text)

    assert refusal.value.data["errors"][0]["code"] == code


def test_a_bomb_of_aliases_costs_nothing():
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(20)
    )

    assert {code for *_, code in faults(bomb)} == {"alias", "unknown_field", "required"}
