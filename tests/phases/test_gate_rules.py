"""What a gate says of test results, in words a person can act on."""

import pytest

from phases import services
from phases.gate_rules import _check_all_passed
from phases.gates import evaluate

PASSED = {"total": 4, "passed": 4, "failed": 0, "errors": 0, "exit_code": 0, "reason": ""}


class TestAllPassed:
    def test_is_content_with_a_clean_run(self):
        assert _check_all_passed(PASSED) == []

    def test_names_the_first_failures_and_the_missing_modules(self):
        facts = {
            **PASSED, "passed": 1, "failed": 2, "errors": 1, "exit_code": 1,
            "reason": "Modules that are not installed in the sandbox: freezegun.",
            "failures": [{"test": f"t::{n}", "message": "x"} for n in "abcd"],
        }  # fmt: skip

        assert _check_all_passed(facts) == [
            "2 of 4 tests failed and 1 of 4 could not run",
            "first of them: t::a, t::b, t::c",
            "Modules that are not installed in the sandbox: freezegun.",
        ]

    @pytest.mark.parametrize("code", [1, 2, 3, -9])
    def test_counts_that_look_well_do_not_outweigh_the_exit_code(self, code):
        assert _check_all_passed({**PASSED, "exit_code": code}) == [
            f"the test run ended with exit code {code}"
        ]

    @pytest.mark.parametrize("facts", [{}, {"failed": "0"}, {"failed": None, "errors": 0}])
    def test_figures_that_are_none_do_not_pass(self, facts):
        assert _check_all_passed(facts) == ["it does not say how many tests failed"]

    def test_tests_that_were_all_skipped_prove_nothing(self):
        skipped = {**PASSED, "total": 5, "passed": 0, "skipped": 5}

        assert _check_all_passed(skipped) == ["all 5 tests were skipped"]

    @pytest.mark.parametrize(
        ("facts", "said"),
        [
            ({"total": 1, "passed": 0, "skipped": 1}, ["the only test was skipped"]),
            ({"total": 0, "passed": 0, "skipped": 0}, ["no test passed"]),
            ({"passed": None}, ["it does not say how many tests passed"]),
            ({"passed": 0, "reason": "No tests."}, ["No tests."]),
        ],
    )
    def test_at_least_one_must_have_passed(self, facts, said):
        assert _check_all_passed({**PASSED, **facts}) == said

    def test_some_skipped_beside_passed_ones_are_fine(self):
        assert _check_all_passed({**PASSED, "passed": 3, "skipped": 1}) == []


class TestReasons:
    """What stands on the card: one readable sentence for each piece of evidence."""

    @pytest.fixture
    def reasons(self, lead, team):
        services.seed_team(team=team)

        def go(**facts):
            ticket = services.open_ticket(
                actor=lead,
                title="Check it",
                workflow="repo_checkup",
                phase="PHASE_CHECKS",
                context={"source": {"kind": "self"}},
            )
            services.record_evidence(
                actor=lead,
                ticket_id=ticket.pk,
                task_id=ticket.tasks.get().pk,
                artifact_type="test_results",
                content={**PASSED, **facts},
                observation={"execution_id": "0190aaaabbbb", "isolation": "container"},
            )
            found = evaluate(ticket)
            return next(c.reason for c in found.criteria if c.artifact_type == "test_results")

        return go

    def test_no_tests_are_told_once(self, reasons):
        said = reasons(total=0, passed=0, exit_code=5, reason="The source has no tests.")

        assert said == "Test results: the source has no tests."

    def test_failures_are_clauses_of_one_sentence(self, reasons):
        said = reasons(
            passed=3, failed=1, exit_code=1,
            reason="Modules that are not installed in the sandbox: freezegun.",
        )  # fmt: skip

        assert said == (
            "Test results: 1 of 4 tests failed;"
            " modules that are not installed in the sandbox: freezegun."
        )
