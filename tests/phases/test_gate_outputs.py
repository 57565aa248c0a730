"""Outputs that a phase expects: of which type, where, by which rule; and what proves it is done."""

from typing import Any

import pytest

from phases import services
from phases.gate_asks import path_expression, rules_of
from phases.gates import evaluate
from phases.models import GateRequirement, Phase, Ticket

LONG = "Parts and the interfaces between them. " * 20


@pytest.fixture
def phase(team) -> Phase:
    """DESIGN of the default workflow, whose gate asks for nothing."""
    services.seed_team(team=team)
    return Phase.objects.get(team=team, workflow__key="default", key="PHASE_DESIGN")


@pytest.fixture
def expects(phase, lead):
    """A ticket in the phase, which expects these outputs."""

    def go(*outputs: dict[str, Any], **fields) -> Ticket:
        given = {"done_definitions": [], **fields, "expected_outputs": list(outputs)}
        Phase.objects.filter(pk=phase.pk).update(**given)
        return services.open_ticket(actor=lead, title="Retry storm", phase=phase.key)

    return go


def post(actor, ticket: Ticket, path: str, content=LONG, kind: str = "design"):
    return services.add_artifact(
        actor=actor, ticket_id=ticket.pk, artifact_type=kind, path=path, content=content
    )[0]


def outcome(ticket: Ticket):
    return evaluate(Ticket.objects.get(pk=ticket.pk))


class TestPattern:
    def test_an_output_elsewhere_is_not_the_output(self, expects, lead):
        ticket = expects({"type": "design", "pattern": "docs/design*.md"})
        post(lead, ticket, "etc/nothing.txt")

        found = outcome(ticket)

        assert (found.status, found.evaluation) == ("failed", "blocked")
        assert found.reasons == [
            "There is no design at docs/design*.md yet: the newest is etc/nothing.txt."
        ]

    def test_nor_one_without_a_path(self, expects, lead):
        ticket = expects({"type": "design", "pattern": "docs/design*.md"})
        post(lead, ticket, "")

        assert outcome(ticket).reasons == [
            "There is no design at docs/design*.md yet: the newest has no path."
        ]

    def test_the_newest_at_its_place_counts(self, expects, lead):
        ticket = expects({"type": "design", "pattern": "docs/design*.md"})
        post(lead, ticket, "docs/design.md")
        second = post(lead, ticket, "docs/design-2.md", LONG + "more")
        post(lead, ticket, "notes.md")

        found = outcome(ticket)

        assert found.passed
        assert found.criteria[0].artifact_id == str(second.pk)

    @pytest.mark.parametrize("pattern", ["**/*", "**"])
    def test_one_that_may_be_anywhere_needs_no_path(self, expects, lead, pattern):
        ticket = expects({"type": "design", "pattern": pattern})
        post(lead, ticket, "")

        assert outcome(ticket).passed

    @pytest.mark.parametrize(
        ("pattern", "path", "fits"),
        [
            ("docs/design*.md", "docs/design.md", True),
            ("docs/design*.md", "./docs/design-2.md", True),
            ("docs/design*.md", "docs/design/a.md", False),
            ("docs/design*.md", "docs/designXmd", False),
            ("docs/*", "docs/a/b", False),
            ("docs/**", "docs/a/b", True),
            ("docs/**/a.md", "docs/a.md", True),
            ("docs/**/a.md", "docs/x/y/a.md", True),
            ("**/a.md", "a.md", True),
            ("a?.[md]", "ab.[md]", True),
            ("a?.[md]", "ab.m", False),
            ("docs/(x|y)+.md", "docs/(x|y)+.md", True),
            ("über/*.md", "über/größe.md", True),
            ("back\\slash", "back\\slash", True),
        ],
    )
    def test_stars_stay_within_a_name_and_two_go_through_folders(
        self, expects, lead, pattern, path, fits
    ):
        ticket = expects({"type": "design", "pattern": pattern})
        post(lead, ticket, path)

        assert outcome(ticket).passed is fits, path_expression(pattern)

    def test_where_the_gate_asks_for_the_type_itself_it_may_be_anywhere(self, expects, phase, lead):
        ticket = expects({"type": "design", "pattern": "docs/design*.md"})
        services.add_requirement(
            actor=lead, phase_id=phase.pk, key="design", kind="artifact",
            parameters={"artifact_type": "design", "rules": {"min_length": 10}},
        )  # fmt: skip
        post(lead, ticket, "d.md")

        assert outcome(ticket).passed


class TestRule:
    def test_a_rule_is_judged_as_one_of_the_gate(self, expects, lead):
        ticket = expects(
            {"type": "design", "pattern": "docs/*", "validation_rule": "min_length:500"}
        )
        post(lead, ticket, "docs/design.md", "")
        short = outcome(ticket)
        post(lead, ticket, "docs/design.md", LONG)

        assert short.reasons == ["Design: it has 0 characters, 500 are needed."]
        assert outcome(ticket).passed

    def test_figures_count_when_they_were_observed_or_confirmed(self, expects, lead, admin):
        ticket = expects({"type": "bench", "pattern": "**/*", "validation_rule": "max:p95=50"})
        piece = post(lead, ticket, "", {"p95": 40}, "bench")
        said = outcome(ticket)
        services.verify_artifact(
            actor=admin, ticket_id=ticket.pk, artifact_id=piece.pk, confirm=True
        )

        assert said.reasons == ["Bench: only reported, nobody has observed it."]
        assert outcome(ticket).passed

    def test_it_is_judged_beside_what_the_gate_itself_asks_of_the_type(self, expects, phase, lead):
        ticket = expects(
            {"type": "design", "pattern": "docs/*", "validation_rule": "sections:risks"}
        )
        services.add_requirement(
            actor=lead, phase_id=phase.pk, key="design", kind="artifact",
            parameters={"artifact_type": "design", "rules": {"min_length": 10}},
        )  # fmt: skip
        post(lead, ticket, "d.md")

        assert outcome(ticket).reasons == ["Design: the section risks is missing."]

    @pytest.mark.parametrize(
        ("text", "rules"),
        [
            ("min_length:500", {"min_length": 500}),
            (" min_length: 5 ; sections: scope, risks ", {
                "min_length": 5, "sections": ["scope", "risks"],
            }),
            ("min:percentage=80,total=1", {"min": {"percentage": 80, "total": 1}}),
            ("equals:has_tests=true,by=ada", {"equals": {"has_tests": True, "by": "ada"}}),
            ("present", {"present": True}),
            ("present:a,b; all_passed", {"present": ["a", "b"], "all_passed": True}),
        ],
    )  # fmt: skip
    def test_how_a_rule_is_written(self, text, rules):
        assert rules_of(text) == rules

    @pytest.mark.parametrize(
        "text",
        ["", "must be good", "min_length:long", "min_length:0", "min:percentage", "min:a=b",
         "present;present", "all_passed:no", "sections"],
    )  # fmt: skip
    def test_what_nobody_can_judge_is_no_rule(self, text):
        with pytest.raises(ValueError):  # noqa: PT011  whichever it is
            rules_of(text)

    def test_one_stored_before_that_was_asked_does_not_pass(self, expects, lead):
        ticket = expects({"type": "design", "pattern": "**/*", "validation_rule": "must be good"})
        post(lead, ticket, "d.md")

        assert outcome(ticket).reasons == [
            "Design: its rule “must be good” is none that a gate can judge."
        ]


class TestOptional:
    """What a gate shows but does not need stands for nothing that is needed."""

    @pytest.fixture
    def optional(self, phase) -> GateRequirement:
        return GateRequirement.objects.create(
            team=phase.team, phase=phase, key="design", kind="artifact", required=False,
            parameters={"artifact_type": "design"},
        )  # fmt: skip

    def test_a_required_output_is_needed_beside_an_optional_requirement(
        self, expects, optional, lead
    ):
        ticket = expects({"type": "design", "pattern": "docs/*", "required": True})
        empty = outcome(ticket)
        post(lead, ticket, "docs/design.md")

        assert (empty.status, empty.reasons) == ("failed", ["There is no design yet."])
        assert [(c.key, c.required) for c in empty.criteria] == [
            ("design", False), ("output_design", True),
        ]  # fmt: skip

    def test_and_proves_no_definition_of_done(self, expects, optional):
        ticket = expects(
            done_definitions=[{"key": "named", "text": "Parts are named.", "proved_by": "design"}]
        )

        found = outcome(ticket)

        assert found.evaluation == "waiting_checks"
        assert found.reasons == ["“Parts are named.” is not answered yet."]


class TestAtTheDoor:
    def patch(self, api, admin, phase, **changes):
        return api(admin).patch(
            f"/api/v1/phases/{phase.pk}", changes, format="json", headers={"If-Match": '"v1"'}
        )

    def test_a_proof_names_what_the_phase_asks_for(self, phase, api, admin):
        definition = {"key": "a", "text": "It is good.", "proved_by": "no_such_thing"}

        refused = self.patch(api, admin, phase, done_definitions=[definition])
        taken = self.patch(
            api, admin, phase, done_definitions=[{**definition, "proved_by": "design_document"}]
        )

        assert refused.status_code == 400
        assert refused.json()["errors"] == [
            {
                "path": "done_definitions.0.proved_by",
                "code": "unknown_reference",
                "message": "no_such_thing is no requirement, output or evidence that this phase"
                " asks for",
            }
        ]
        assert taken.status_code == 200, taken.json()

    @pytest.mark.parametrize("kind", ["manual", "tests_pass"])
    def test_an_output_is_one_that_somebody_can_hand_in(self, phase, api, admin, kind):
        answer = self.patch(api, admin, phase, expected_outputs=[{"type": kind, "pattern": "**/*"}])

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["path"] == "expected_outputs.0.type"
        assert "nobody hands" in answer.json()["errors"][0]["message"]

    def test_a_rule_that_nobody_can_judge_is_refused_with_those_there_are(self, phase, api, admin):
        output = {"type": "design", "pattern": "docs/*", "validation_rule": "must be good"}

        answer = self.patch(api, admin, phase, expected_outputs=[output])

        assert answer.status_code == 400
        [error] = answer.json()["errors"]
        assert error["path"] == "expected_outputs.0.validation_rule"
        assert "min_length:500" in error["message"]

    @pytest.mark.parametrize(
        ("old", "new", "path"),
        [
            (
                "proved_by: requirements_document",
                "proved_by: a_wish",
                "phases.1.done_definitions.0.proved_by",
            ),
            (
                "type: requirements_document\n",
                "type: manual\n",
                "phases.1.expected_outputs.0.type",
            ),
        ],
    )
    def test_a_file_is_refused_for_the_same(self, phase, api, admin, old, new, path):
        text = api(admin).get("/api/v1/workflows/default/export").content.decode()
        assert old in text

        answer = api(admin).post(
            "/api/v1/workflows/import", {"yaml": text.replace(old, new, 1)}, format="json"
        )

        assert answer.status_code == 400
        assert path in [error["path"] for error in answer.json()["errors"]]

    @pytest.mark.parametrize(
        ("kind", "parameters"),
        [
            ("artifact", {"artifact_type": "manual"}),
            ("metric", {"name": "tests_pass.total", "op": ">=", "value": 1}),
        ],
    )
    def test_a_gate_asks_nobody_to_hand_in_what_it_asks_by_itself(
        self, phase, api, admin, kind, parameters
    ):
        answer = api(admin).post(
            f"/api/v1/phases/{phase.pk}/gate-requirements",
            {"key": "x", "kind": kind, "parameters": parameters},
            format="json",
        )

        assert answer.status_code == 400
        assert "is a kind of its own" in str(answer.json()["errors"])
