"""What the database itself refuses about patterns, runs and steps."""

# ruff: noqa: S608  table names come from the models

from decimal import Decimal
from itertools import product

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.utils import DatabaseError
from django.utils import timezone

from orchestrator.models import ExecutionPattern, PatternRun, StepRun
from orchestrator.models.exact import exact_json
from orchestrator.models.patterns import PATTERN_EDGES, RUN_EDGES, STEP_EDGES
from tests.orchestrator.pattern_factories import make_pattern_row, make_run_row, make_step_row

pytestmark = pytest.mark.django_db


def sql(statement, *params):
    """True when the database carries the statement out."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, params)
    except DatabaseError:
        return False
    return True


@pytest.fixture
def pattern(lead):
    return make_pattern_row(lead)


@pytest.fixture
def run(lead, pattern):
    return make_run_row(lead, pattern)


FIXED = {
    PatternRun: "lease_until = CASE WHEN %s = 'running' THEN now() END,"
    " finished_at = CASE WHEN %s IN ('succeeded', 'failed', 'cancelled') THEN now() END,"
    " error_code = CASE WHEN %s = 'failed' THEN 'x' ELSE '' END",
    StepRun: "result = CASE WHEN %s = 'succeeded' THEN '{}'::jsonb END,"
    " finished_at = CASE WHEN %s IN ('succeeded', 'failed', 'skipped', 'cancelled')"
    " THEN now() END, error_code = CASE WHEN %s = 'failed' THEN 'x' ELSE '' END",
    ExecutionPattern: "slug = slug || left(%s || %s || %s, 0)",
}


def move(row, state):
    """The edge by SQL, with the columns that belong to the new state."""
    table = row._meta.db_table
    statement = f"UPDATE {table} SET state = %s, {FIXED[type(row)]} WHERE id = %s"
    return sql(statement, state, state, state, state, row.pk)


def path_to(edges, first, state):
    """The states from the first one to this one."""
    paths = {first: [first]}
    while state not in paths:
        paths |= {b: [*paths[a], b] for a, b in edges if a in paths and b not in paths}
    return paths[state]


@pytest.mark.parametrize(
    ("model", "edges", "first"),
    [
        (ExecutionPattern, PATTERN_EDGES, "draft"),
        (PatternRun, RUN_EDGES, "queued"),
        (StepRun, STEP_EDGES, "pending"),
    ],
)
def test_every_edge_passes_and_every_other_is_refused_by_sql(lead, model, edges, first):
    states = [choice.value for choice in model.State]
    for number, (before, after) in enumerate(product(states, states)):
        if before == after:
            continue
        pattern = make_pattern_row(lead, slug=f"p{number}")
        run = make_run_row(lead, pattern)
        row = {ExecutionPattern: pattern, PatternRun: run}.get(model) or make_step_row(run)
        for state in path_to(edges, first, before)[1:]:
            assert move(row, state)

        assert move(row, after) == ((before, after) in edges), (before, after)


@pytest.mark.parametrize(
    ("make", "state"),
    [
        (lambda lead, pattern, run: make_pattern_row(lead, slug="q", state="published"), "draft"),
        (
            lambda lead, pattern, run: make_run_row(
                lead, pattern, state="running", lease_until=timezone.now()
            ),
            "queued",
        ),
        (lambda lead, pattern, run: make_step_row(run, state="running"), "pending"),
    ],
)
def test_a_row_is_born_in_its_first_state_only(lead, pattern, run, make, state):
    with pytest.raises(IntegrityError, match="starts"), transaction.atomic():
        make(lead, pattern, run)


def test_a_draft_may_be_rewritten_and_a_published_pattern_never(pattern):
    table = ExecutionPattern._meta.db_table

    assert sql(f"UPDATE {table} SET normal = '{{\"a\": 1}}'")
    pattern.publish()
    pattern.save(update_fields=["state"])
    for column, value in [
        ("normal", "'{}'::jsonb"),
        ("source", "'x'"),
        ("content_hash", "'x'"),
        ("version", "'9.9.9'"),
        ("slug", "'other'"),
        ("name", "'other'"),
        ("team_id", "NULL"),
    ]:
        assert not sql(f"UPDATE {table} SET {column} = {value}"), column


def test_what_a_run_was_asked_for_never_changes(run):
    table = PatternRun._meta.db_table

    for column in ["ctx", "inputs"]:
        assert not sql(f"UPDATE {table} SET {column} = '{{\"n\": 2}}'"), column
    assert not sql(f"UPDATE {table} SET content_hash = 'x'")
    assert sql(f"UPDATE {table} SET warnings = '[\"w\"]'")


def test_the_attempt_of_a_run_only_rises(run):
    table = PatternRun._meta.db_table

    assert sql(f"UPDATE {table} SET attempt = 2")
    assert not sql(f"UPDATE {table} SET attempt = 1")


def test_a_run_has_each_step_once(run):
    make_step_row(run)

    with pytest.raises(IntegrityError), transaction.atomic():
        make_step_row(run)


def test_one_shipped_version_of_a_slug_exists_once(lead):
    make_pattern_row(lead, team=None)

    with pytest.raises(IntegrityError), transaction.atomic():
        make_pattern_row(lead, team=None)


def test_decimals_come_back_with_every_digit(lead, pattern):
    money = Decimal("12345678901234567890.1234567890")

    run = make_run_row(lead, pattern, inputs={"money": money, "list": [Decimal("0.10")]})

    stored = PatternRun.objects.get(pk=run.pk).inputs
    assert stored == {"money": money, "list": [Decimal("0.10")]}
    assert exact_json({"a": Decimal("1E+2"), "b": 'x"y'}) == {"a": Decimal(100), "b": 'x"y'}


def test_what_is_no_number_is_refused():
    for value in (float("nan"), Decimal("Infinity")):
        with pytest.raises(ValueError, match="JSON"):
            exact_json({"a": value})
