"""A workflow as text: what is written is read again as the same, to the byte."""

import random
import string

import pytest
from django.conf import settings
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from guardian.strict_yaml import YamlInvalid
from phases import services
from phases.models import Workflow
from phases.workflow_document import canonical, document_of, dump
from phases.workflow_yaml import WorkflowSpec, read
from tests import factories
from tests.phases.test_workflow_yaml import SHIPPED

DEFAULT = next(path for path in SHIPPED if path.stem == "default").read_text("utf-8")
TEXTS = st.text(max_size=150)
WORDS = st.lists(st.text(alphabet=string.printable + "äß…é", max_size=40), max_size=8).map(" ".join)
ANY = TEXTS | WORDS
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(-1e9, 1e9) | ANY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY, inner, max_size=3),
    max_leaves=8,
)


def storable(value):
    try:
        return "\0" not in repr(value) and "\\x00" not in repr(value) and str(value).encode()
    except UnicodeEncodeError:
        return False


@st.composite
def workflows(draw):
    count = draw(st.integers(1, 4))
    keys = [f"PHASE_{n}" for n in range(count)] + ["PHASE_END"]
    phases = [
        {
            "id": key,
            "sequence_order": place,
            "name": draw(ANY.filter(bool)),
            "description": draw(ANY),
            "kind": "done" if key == "PHASE_END" else "work",
            "allowed_transitions": keys[place + 1 : place + 2],
            "phase_prompt": draw(ANY),
            "next_steps_guide": draw(st.lists(ANY, max_size=3)),
            "done_definitions": [
                {"key": f"d{n}", "text": text, "required": draw(st.booleans())}
                for n, text in enumerate(draw(st.lists(ANY.filter(bool), max_size=2)))
            ],
            "configuration": draw(st.dictionaries(ANY, JSON, max_size=3)),
        }
        for place, key in enumerate(keys)
    ]
    return {
        "format": 1,
        "key": "made-up",
        "name": draw(ANY.filter(bool)),
        "initial_phase": keys[0],
        "limits": {"discovery_depth": draw(st.integers(0, 100))},
        "phases": phases,
        "board_columns": [
            {"id": f"c{n}", "name": draw(ANY.filter(bool)), "sequence_order": n,
             "phase_mapping": [key], "wip_limit": draw(st.none() | st.integers(1, 9))}
            for n, key in enumerate(keys)
        ],
    }  # fmt: skip


@pytest.mark.selfcheck
@examples(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=workflows().filter(storable))
def test_whatever_is_written_is_read_again(made):
    document = canonical(WorkflowSpec.model_validate(made))

    text = dump(document)

    assert canonical(read(text)) == document
    assert dump(canonical(read(text))) == text
    assert "\r" not in text


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_an_export_imported_elsewhere_is_exported_to_the_byte(team, path):
    services.seed_team(team=team)
    text = dump(document_of(Workflow.objects.get(team=team, key=path.stem)))

    other = factories.make_team("reef")
    services.import_workflow(team=other, spec=read(text))

    again = dump(document_of(Workflow.objects.get(team=other, key=path.stem)))
    assert again == text
    assert canonical(read(path.read_text("utf-8"))) == document_of(
        Workflow.objects.get(team=team, key=path.stem)
    )
    assert "\r" not in text
    assert text.endswith("\n")


def test_what_is_exported_has_the_keys_in_their_order(team):
    services.seed_team(team=team)

    document = document_of(Workflow.objects.get(team=team, key="repo_checkup"))

    assert list(document) == [
        "format", "key", "name", "description", "initial_phase", "has_result", "result_criteria",
        "on_result_found", "approval", "score", "limits", "context", "phases", "board_columns",
    ]  # fmt: skip
    assert list(document["approval"]) == ["required", "timeout_minutes"]
    assert list(document["score"]) == [
        "priority", "age", "deadline", "blockers", "retry", "sla_factor", "floor", "floor_after",
    ]  # fmt: skip
    assert list(document["limits"]) == ["discovery_depth", "spawn_per_ticket"]
    assert list(document["phases"][1]) == [
        "id", "sequence_order", "name", "description", "kind", "allowed_transitions",
        "is_terminal", "done_definitions", "expected_outputs", "phase_prompt",
        "next_steps_guide", "entry_task", "review", "gate", "configuration",
    ]  # fmt: skip
    assert list(document["phases"][1]["review"]) == ["required", "max_iterations"]
    assert list(document["phases"][1]["gate"][0]) == [
        "key", "kind", "parameters", "min_evidence", "required",
    ]  # fmt: skip
    assert list(document["board_columns"][0]) == [
        "id", "name", "sequence_order", "phase_mapping", "wip_limit", "is_terminal",
        "auto_transition_to", "color",
    ]  # fmt: skip


# Mutations: what people and programs get wrong, and what somebody may try.

_PIECES = [
    "&a ", "*a", "!!set ", "!x ", "<<: ", "- ", "[", "]", "{", "}", ": ", "\t", "\n", "? ", "| ",
    "> ", "null", "true", "1e999", ".nan", "'", '"', '"\\0"', "\\ud800", "%", "@", "---\n",
    "PHASE_DONE", "PHASE_X", "9" * 40, "-1", "2026-01-01", "\x07", "é", "\u2028", "#",
]  # fmt: skip


def mutated(chance: random.Random) -> str:
    lines = DEFAULT.split("\n")
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(lines))
        line = lines[place]
        at = chance.randint(0, len(line))
        match chance.randrange(6):
            case 0:
                lines[place] = line[:at] + chance.choice(_PIECES) + line[at:]
            case 1:
                del lines[place]
                lines = lines or [""]
            case 2:
                lines.insert(place, lines[chance.randrange(len(lines))])
            case 3:
                lines[place] = line[:at] + line[at + chance.randint(1, 5) :]
            case 4:
                lines[place] = " " * chance.randint(0, 6) + line
            case _:
                key, colon, _ = line.partition(": ")
                lines[place] = key + colon + chance.choice(_PIECES)
    return "\n".join(lines)


def judge(text: str) -> bool:
    """Whether the text is a workflow; what is none is refused with a place for every fault."""
    try:
        spec = read(text)
    except YamlInvalid as refusal:
        for fault in refusal.data["errors"]:
            assert set(fault) >= {"path", "code", "message"}, fault
            assert fault["message"], fault
            assert fault.get("line", 1) <= text.count("\n") + 2
        return False
    assert read(dump(canonical(spec))) is not None
    return True


@pytest.mark.selfcheck
@pytest.mark.parametrize("seed", range(150))
def test_a_broken_text_is_refused_and_never_an_accident(seed):
    judge(mutated(random.Random(seed)))  # noqa: S311  a test repeats itself


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_thousands_of_broken_texts_are_no_accident():
    valid = sum(judge(mutated(random.Random(seed))) for seed in range(2_000))  # noqa: S311  as above

    assert 0 < valid < 1_000


def test_the_shipped_files_stand_where_they_are_looked_for():
    assert [path.stem for path in SHIPPED] == ["default", "repo_checkup", "software_development"]
    assert (settings.BASE_DIR / "templates").is_dir()
