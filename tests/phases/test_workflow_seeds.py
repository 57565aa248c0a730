"""What a fresh team has, written out as the tables that people were promised."""

import re
from pathlib import Path

import pytest
from django.conf import settings

from phases import services
from phases.models import BoardColumn, Phase, Workflow
from phases.workflow_document import document_of
from phases.workflow_yaml import read

# order, key, name, allowed next, kind, terminal
PHASES = [
    (0, "BACKLOG", "Backlog", "REQUIREMENTS BLOCKED", "work", False),
    (1, "REQUIREMENTS", "Requirements Analysis", "DESIGN BLOCKED", "work", False),
    (2, "DESIGN", "Design", "IMPLEMENTATION BLOCKED", "work", False),
    (3, "IMPLEMENTATION", "Implementation", "TESTING BLOCKED", "work", False),
    (4, "TESTING", "Testing", "DEPLOYMENT IMPLEMENTATION BLOCKED", "work", False),
    (5, "DEPLOYMENT", "Deployment", "DONE BLOCKED", "work", False),
    (6, "DONE", "Done", "", "done", True),
    (7, "BLOCKED", "Blocked", "BACKLOG REQUIREMENTS DESIGN IMPLEMENTATION TESTING", "blocked",
     True),
]  # fmt: skip
# position, key, phases, limit, terminal, auto to, color
COLUMNS = [
    (0, "backlog", "BACKLOG", None, False, "", "gray"),
    (1, "analyzing", "REQUIREMENTS DESIGN", 5, False, "", "blue"),
    (2, "building", "IMPLEMENTATION", 10, False, "testing", "yellow"),
    (3, "testing", "TESTING", 8, False, "", "blue"),
    (4, "deploying", "DEPLOYMENT", 3, False, "done", "green"),
    (5, "done", "DONE", None, True, "", "green"),
    (6, "blocked", "BLOCKED", None, True, "", "red"),
]
# phase: entry task, capability; definitions by what proves them (- optional); outputs; gate
WORK = {
    "REQUIREMENTS": (
        ("analyze_requirements", ["analysis"]),
        [("requirements_document", True)],
        [("requirements_document", "docs/requirements*.md", True)],
        {
            "requirements_document": {
                "min_length": 500, "sections": ["scope", "acceptance_criteria"],
            },
            "tasks_completed": None,
        },
    ),
    "DESIGN": (
        ("design_solution", ["design"]),
        [(None, False)],
        [("design_document", "docs/design*.md", False)],
        {},
    ),
    "IMPLEMENTATION": (
        ("implement", ["code"]),
        [("code_changes", True), ("test_coverage", True)],
        [("code_changes", "**/*", True)],
        {
            "code_changes": {"equals": {"has_tests": True}},
            "test_coverage": {"min": {"percentage": 80}},
            "tasks_completed": None,
        },
    ),
    "TESTING": (
        ("run_tests", ["test"]),
        [("test_results", True), ("test_evidence", True)],
        [("test_results", "reports/*", True)],
        {
            "test_results": {"all_passed": True, "min": {"total": 1}},
            "test_evidence": {"present": True},
            "tasks_completed": None,
        },
    ),
    "DEPLOYMENT": (
        ("deploy", ["deploy"]),
        [(None, False)],
        [("deployment_record", "reports/deployment*", False)],
        {},
    ),
}  # fmt: skip


@pytest.fixture
def flow(team):
    services.seed_team(team=team)
    return Workflow.objects.get(team=team, key="default")


def prefixed(words):
    return [f"PHASE_{word}" for word in words.split()]


def test_the_phases_of_a_fresh_team_are_those_of_the_table(flow):
    assert flow.is_default
    assert (flow.initial_phase, flow.has_result) == ("PHASE_REQUIREMENTS", False)
    fields = ("sequence_order", "key", "name", "allowed_transitions", "kind", "is_terminal")
    rows = flow.phases.order_by("sequence_order").values_list(*fields)

    assert list(rows) == [
        (order, f"PHASE_{key}", name, prefixed(ways), kind, terminal)
        for order, key, name, ways, kind, terminal in PHASES
    ]


def test_the_columns_of_a_fresh_team_are_those_of_the_table(flow):
    rows = flow.columns.order_by("position").prefetch_related("phases")
    found = [
        (
            c.position, c.key,
            [p.key for p in sorted(c.phases.all(), key=lambda p: p.sequence_order)],
            c.wip_limit, c.is_terminal, c.auto_transition_to, c.color,
        )
        for c in rows
    ]  # fmt: skip

    assert found == [
        (position, key, prefixed(phases), limit, terminal, to, color)
        for position, key, phases, limit, terminal, to, color in COLUMNS
    ]


@pytest.mark.parametrize("key", ["default", "software_development"])
def test_work_definitions_outputs_and_gates_are_those_of_the_table(flow, key):
    document = document_of(Workflow.objects.get(team=flow.team, key=key))

    for phase in document["phases"]:
        name = phase["id"].removeprefix("PHASE_")
        if name not in WORK:
            assert phase["entry_task"] is None
            assert not phase["done_definitions"] + phase["expected_outputs"] + phase["gate"]
            continue
        task, definitions, outputs, gates = WORK[name]
        entry = phase["entry_task"]
        assert (entry["task_type"], entry["required_capabilities"]) == task
        told = [(d.get("proved_by"), d["required"]) for d in phase["done_definitions"]]
        assert told == definitions
        shown = [(o["type"], o["pattern"], o["required"]) for o in phase["expected_outputs"]]
        assert shown == outputs
        asked = {gate["key"]: gate["parameters"].get("rules") for gate in phase["gate"]}
        assert asked == gates
        assert all(gate["required"] for gate in phase["gate"])
        assert {gate["min_evidence"] for gate in phase["gate"]} <= {"verified"}


def test_software_development_is_the_default_with_one_edge_more(flow):
    other = document_of(Workflow.objects.get(team=flow.team, key="software_development"))
    base = document_of(flow)

    more = next(phase for phase in other["phases"] if phase["id"] == "PHASE_IMPLEMENTATION")
    assert more["allowed_transitions"].pop() == "PHASE_REQUIREMENTS"
    assert (other["phases"], other["board_columns"]) == (base["phases"], base["board_columns"])


@pytest.mark.selfcheck
@pytest.mark.parametrize("key", ["default", "software_development"])
def test_prompts_have_three_to_six_sentences_and_name_the_way_on(key):
    path = Path(settings.BASE_DIR) / "templates" / "workflows" / f"{key}.yaml"

    for phase in read(path.read_text("utf-8")).phases:
        if phase.entry_task is None:
            assert not phase.phase_prompt
            continue
        sentences = re.findall(r"[^.]+\.(?:\s|$)", phase.phase_prompt)
        assert 3 <= len(sentences) <= 6, phase.id
        assert phase.next_steps_guide, phase.id


def test_edits_survive_a_restart(flow, admin):
    design = flow.phases.get(key="PHASE_DESIGN")
    services.change_phase(
        actor=admin, phase_id=design.pk, version=1, changes={"phase_prompt": "Draw first."}
    )
    testing = flow.columns.get(key="testing")
    services.change_column(actor=admin, column_id=testing.pk, version=1, changes={"wip_limit": 2})
    before = [document_of(row) for row in Workflow.objects.order_by("key")]

    assert services.seed_team(team=flow.team) == []

    assert [document_of(row) for row in Workflow.objects.order_by("key")] == before
    assert Phase.objects.get(pk=design.pk).phase_prompt == "Draw first."
    assert BoardColumn.objects.get(pk=testing.pk).wip_limit == 2
