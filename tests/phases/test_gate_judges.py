"""Each kind of requirement: what it believes, and how it says what lacks."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from guardian.models import Event
from phases import services
from phases.gates import evaluate
from phases.models import GateRequirement, Phase, PhaseGateArtifact, PhaseGateResult, Ticket
from tests import factories

REQUESTED = "phases.gate.check_requested"


@pytest.fixture
def phase(team) -> Phase:
    """DESIGN of the default workflow, whose gate asks for nothing."""
    services.seed_team(team=team)
    return Phase.objects.get(team=team, workflow__key="default", key="PHASE_DESIGN")


@pytest.fixture
def ticket(phase, lead) -> Ticket:
    return services.open_ticket(actor=lead, title="Retry storm", phase=phase.key)


@pytest.fixture
def asks(phase):
    def go(kind: str, key: str = "", **parameters) -> GateRequirement:
        extra = {n: parameters.pop(n) for n in ("min_evidence", "required") if n in parameters}
        return GateRequirement.objects.create(
            team=phase.team, phase=phase, key=key or kind, kind=kind, parameters=parameters, **extra
        )

    return go


def post(actor, ticket: Ticket, kind: str, content) -> PhaseGateArtifact:
    return services.add_artifact(
        actor=actor, ticket_id=ticket.pk, artifact_type=kind, content=content
    )[0]


def confirm(actor, piece: PhaseGateArtifact, *, yes: bool = True, note: str = "") -> None:
    services.verify_artifact(
        actor=actor, ticket_id=piece.ticket_id, artifact_id=piece.pk, confirm=yes, note=note
    )


def ask(actor, ticket: Ticket):
    return services.validate_gate(actor=actor, ticket_id=ticket.pk)[1]


def only(outcome):
    [criterion] = outcome.criteria
    return criterion


@pytest.fixture
def worked(ticket, agent) -> Ticket:
    """The agent did the phase's work."""
    task = services.claim_tasks(actor=agent, capabilities=["design"])[0].task
    services.complete_task(actor=agent, task_id=task.pk, fence=task.fence, result={})
    return ticket


class TestStatuses:
    """K-6: the first that holds wins; each asking leaves its row."""

    def test_nothing_asked_is_not_configured_and_passed(self, ticket, lead):
        outcome = ask(lead, ticket)

        assert (outcome.status, outcome.evaluation) == ("passed", "not_configured")

    def test_a_missing_type_comes_before_all_else(self, ticket, lead, asks):
        asks("artifact", artifact_type="plan")
        asks("tasks_completed")
        asks("manual", question="Is it good?")

        outcome = ask(lead, ticket)

        assert (outcome.status, outcome.evaluation) == ("failed", "blocked")
        assert outcome.reasons == [
            "There is no plan yet.",
            "1 of 1 tasks of this phase are not completed.",
            "“Is it good?” is not answered yet.",
        ]
        assert not PhaseGateArtifact.objects.exists()

    def test_open_tasks_come_before_checks(self, ticket, lead, asks):
        asks("tasks_completed")
        asks("file_exists", path="README.md")

        assert ask(lead, ticket).evaluation == "waiting_tasks"
        assert not Event.objects.filter(kind=REQUESTED).exists()

    @pytest.mark.parametrize(
        ("kind", "parameters", "waits_for"),
        [
            ("file_exists", {"path": "README.md"}, "check"),
            ("review", {"count": 1}, "review"),
            ("manual", {"question": "Is it good?"}, "answer"),
        ],
    )
    def test_a_check_review_or_answer_that_lacks_is_waited_for(
        self, ticket, lead, asks, kind, parameters, waits_for
    ):
        asks(kind, **parameters)

        outcome = ask(lead, ticket)

        assert (outcome.status, outcome.evaluation) == ("failed", "waiting_checks")
        assert only(outcome).waits_for == waits_for
        assert outcome.will_go_on

    def test_ready_is_judged_and_every_asking_is_kept(self, ticket, lead, asks):
        asks("artifact", artifact_type="plan", rules={"min_length": 10})
        post(lead, ticket, "plan", "short")
        failed = ask(lead, ticket)
        post(lead, ticket, "plan", "long enough for it")
        passed = ask(lead, ticket)

        assert [o.evaluation for o in (failed, passed)] == ["ready", "ready"]
        stored = list(PhaseGateResult.objects.order_by("id").values_list("gate_status", flat=True))
        assert stored == ["failed", "passed"]

    def test_what_is_not_required_decides_nothing(self, ticket, lead, asks):
        asks("artifact", artifact_type="plan", required=False)
        asks("manual", question="Is it nice?", required=False)

        assert ask(lead, ticket).status == "passed"


class TestDefinitions:
    def test_a_required_definition_that_nothing_proves_is_asked_of_a_person(
        self, phase, ticket, lead
    ):
        phase.done_definitions = [
            {"key": "named", "text": "Parts are named.", "proved_by": None, "required": True},
            {"key": "nice", "text": "It is nice.", "proved_by": None, "required": False},
        ]
        phase.save()

        criterion = only(ask(lead, ticket))

        assert (criterion.key, criterion.kind) == ("done_named", "manual")
        assert criterion.question == "Parts are named."

    @pytest.mark.parametrize("proof", ["plan", "the_plan", "coverage"])
    def test_one_proved_by_a_type_or_a_requirement_asks_nothing_more(
        self, phase, ticket, lead, asks, proof
    ):
        asks("artifact", "the_plan", artifact_type="plan")
        asks("metric", name="coverage.percentage", op=">=", value=1)
        phase.done_definitions = [
            {"key": "named", "text": "Parts are named.", "proved_by": proof, "required": True}
        ]
        phase.save()

        assert {c.kind for c in ask(lead, ticket).criteria} == {"artifact", "metric"}


class TestMetric:
    @pytest.fixture
    def coverage(self, asks):
        asks("metric", name="test_coverage.percentage", op=">=", value=80)

    def test_95_percent_that_an_agent_says_are_reported_and_fail(
        self, coverage, worked, agent, lead
    ):
        post(agent, worked, "test_coverage", {"percentage": 95})

        criterion = only(ask(lead, worked))

        assert (criterion.met, criterion.level) == (False, "reported")
        assert criterion.reason == "Test coverage: only reported, nobody has observed it."
        assert criterion.observer == "coder-1"

    def test_confirmed_by_a_second_person_they_pass_and_new_code_makes_them_stale(
        self, coverage, worked, agent, lead
    ):
        confirm(lead, post(agent, worked, "test_coverage", {"percentage": 95}))
        confirmed = ask(lead, worked)
        post(agent, worked, "code_changes", {"files": 1})
        later = ask(lead, worked)

        assert confirmed.passed
        assert (only(confirmed).level, only(confirmed).observer) == ("verified", "lena")
        assert (later.evaluation, only(later).stale, only(later).met) == (
            "waiting_checks", True, False,
        )  # fmt: skip

    def test_evidence_of_another_visit_is_stale(self, coverage, worked, agent, lead):
        confirm(lead, post(agent, worked, "test_coverage", {"percentage": 95}))
        Ticket.objects.filter(pk=worked.pk).update(visit=2)

        assert only(ask(lead, worked)).stale

    def test_too_low_a_figure_is_told_with_what_is_needed(self, coverage, worked, agent, lead):
        confirm(lead, post(agent, worked, "test_coverage", {"percentage": 79.5}))

        assert only(ask(lead, worked)).reason == (
            "Test coverage: percentage is 79.5, at least 80 is needed."
        )

    @pytest.mark.parametrize("content", [{}, {"percentage": "95"}, {"percentage": True}, "95", []])
    def test_what_is_no_number_does_not_pass(self, coverage, worked, agent, lead, content):
        confirm(lead, post(agent, worked, "test_coverage", content))

        assert "percentage is no number" in only(ask(lead, worked)).reason

    def test_steps_lead_into_the_content(self, asks, worked, agent, lead):
        asks("metric", name="bench.claims.p95_ms", op="<", value=50)
        confirm(lead, post(agent, worked, "bench", {"claims": {"p95_ms": 49}}))

        assert ask(lead, worked).passed

    def test_a_figure_without_type_is_looked_for_in_all_that_counts(
        self, asks, worked, agent, lead
    ):
        asks("metric", name="p95_ms", op="<=", value=50)
        assert only(ask(lead, worked)).missing
        confirm(lead, post(agent, worked, "bench", {"p95_ms": 50}))
        post(agent, worked, "other", {"p95_ms": 1})

        assert ask(lead, worked).passed
        assert only(evaluate(worked)).artifact_type == "bench"


class TestManual:
    @pytest.fixture
    def question(self, asks, worked, lead) -> PhaseGateArtifact:
        asks("manual", "good", question="Does it read well?")
        ask(lead, worked)
        return worked.artifacts.get()

    def test_the_question_is_put_up_once_for_people_to_answer(self, question, worked, lead):
        criterion = only(ask(lead, worked))

        assert worked.artifacts.count() == 1
        assert criterion.artifact_id == str(question.pk)
        assert criterion.question == "Does it read well?"
        assert criterion.reason == (
            "“Does it read well?” waits for a person who did not do the work."
        )

    def test_a_person_who_did_not_do_the_work_answers_it(self, question, worked, lead):
        confirm(lead, question, note="Clear, with an example.")

        criterion = only(ask(lead, worked))

        kept = worked.artifacts.get().artifact_content
        assert (criterion.met, criterion.level, criterion.observer) == (True, "verified", "lena")
        assert (kept["question"], kept["answer"]) == ("Does it read well?", "yes")
        assert kept["note"] == "Clear, with an example."

    def test_a_no_is_told_with_its_note_and_may_become_a_yes(self, question, worked, lead, admin):
        confirm(lead, question, yes=False, note="The end is missing.")
        refused = ask(lead, worked)
        confirm(admin, PhaseGateArtifact.objects.get())

        assert (refused.evaluation, refused.reasons) == (
            "ready", ["“Does it read well?” was answered with no by lena: The end is missing."],
        )  # fmt: skip
        assert ask(lead, worked).passed

    def test_new_code_asks_it_again(self, question, worked, agent, lead):
        confirm(lead, question)
        post(agent, worked, "code_changes", {"files": 1})

        outcome = ask(lead, worked)

        assert outcome.evaluation == "waiting_checks"
        assert only(outcome).artifact_id != str(question.pk)
        assert worked.artifacts.filter(artifact_type="manual").count() == 2

    def test_another_question_is_asked_anew(self, question, worked, lead):
        confirm(lead, question)
        GateRequirement.objects.filter(key="good").update(parameters={"question": "Is it short?"})

        outcome = ask(lead, worked)

        assert not outcome.passed
        assert only(outcome).question == "Is it short?"

    def test_neither_an_agent_nor_who_did_the_work_may_answer(
        self, phase, asks, ticket, lead, team, api
    ):
        asks("manual", "good", question="Does it read well?")
        task = services.claim_tasks(actor=lead, capabilities=["design"])[0].task
        services.complete_task(actor=lead, task_id=task.pk, fence=task.fence, result={})
        ask(lead, ticket)
        question = ticket.artifacts.get()
        monitor = factories.make_actor(team, "monitor", role="agent", kind="agent", authority=3)
        address = f"/api/v1/tickets/{ticket.pk}/artifacts/{question.pk}/verify"

        by_author = api(lead).post(address, {"verdict": "confirm"}, format="json")
        with pytest.raises(Exception, match="Only a person answers"):
            confirm(monitor, question)

        assert (by_author.status_code, by_author.json()["code"]) == (403, "self_review")
        assert only(ask(lead, ticket)).waits_for == "answer"


class TestReview:
    def test_confirmations_by_different_people_count_each_person_once(
        self, asks, worked, agent, lead, admin
    ):
        asks("review", count=2)
        first = post(agent, worked, "plan", "the plan")
        confirm(lead, first)
        confirm(lead, post(agent, worked, "sketch", "the sketch"))
        one = ask(lead, worked)
        confirm(admin, first)
        two = ask(lead, worked)

        assert one.reasons == [
            "Somebody other than its author must find it good: 2 people, 1 so far."
        ]
        assert two.passed
        assert only(two).observer == "ada, lena"

    def test_a_passed_review_of_a_task_counts_until_newer_code(
        self, phase, asks, ticket, agent, lead
    ):
        asks("review")
        phase.review_required = True
        phase.save()
        task = services.claim_tasks(actor=agent, capabilities=["design"])[0].task
        handed_in = [{"type": "code_changes", "path": "a", "content": {"files": 1}}]
        services.complete_task(
            actor=agent, task_id=task.pk, fence=task.fence, result={"artifacts": handed_in}
        )
        services.start_review(actor=lead, task_id=task.pk)
        services.give_verdict(actor=lead, task_id=task.pk, iteration=1, passed=True)
        reviewed = ask(lead, ticket)
        post(lead, ticket, "code_changes", {"files": 2})
        later = ask(lead, ticket)

        assert reviewed.passed
        assert only(reviewed).observer == "lena"
        assert (later.evaluation, only(later).stale) == ("waiting_checks", True)


class TestForgery:
    @pytest.mark.parametrize("name", ["source", "observation", "verified_by"])
    def test_who_observed_it_is_refused_by_name_in_a_body(self, ticket, agent, lead, api, name):
        body = {"artifact_type": "plan", "content": {}, name: "sandbox"}

        answer = api(lead).post(f"/api/v1/tickets/{ticket.pk}/artifacts", body, format="json")

        assert answer.status_code == 400
        assert [e["path"] for e in answer.json()["errors"]] == [name]

    def test_and_in_a_tasks_result(self, ticket, agent, api):
        task = services.claim_tasks(actor=agent, capabilities=["design"])[0].task
        forged = {"artifacts": [{"type": "plan", "content": {}, "source": "sandbox"}]}

        answer = api(agent).post(
            f"/api/v1/tasks/{task.pk}/complete",
            {"fence": task.fence, "result": forged},
            format="json",
        )

        assert answer.status_code == 400
        assert [e["path"] for e in answer.json()["errors"]] == ["result.artifacts.0.source"]

    @pytest.mark.parametrize("kind", ["command_success", "tests_pass", "file_exists", "manual"])
    def test_evidence_of_our_own_runs_and_answers_is_handed_in_by_nobody(
        self, ticket, lead, api, kind
    ):
        body = {"artifact_type": kind, "path": kind, "content": {"passed": True}}

        answer = api(lead).post(f"/api/v1/tickets/{ticket.pk}/artifacts", body, format="json")

        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "artifact_type")
        assert "validate-gate" in answer.json()["remedy"]["text"]


class TestAnswers:
    """K-9: the shapes, and phases by key or id."""

    def test_validate_gate_and_gate_status_say_it_in_the_same_words(self, ticket, lead, api, asks):
        asks("artifact", artifact_type="plan")
        client = api(lead)

        asked = client.post(f"/api/v1/tickets/{ticket.pk}/validate-gate", {}, format="json").json()
        status = client.get(f"/api/v1/tickets/{ticket.pk}/gate-status").json()

        assert {k: asked[k] for k in ("gate_status", "requirements_met", "status")} == {
            "gate_status": "failed", "requirements_met": False, "status": "blocked",
        }  # fmt: skip
        assert asked["blocking_reasons"] == ["There is no plan yet."]
        [row] = asked["requirements"]
        assert {"met", "level", "stale", "artifact", "observer", "reason", "question"} <= set(row)
        assert status["requirements_met"] is False
        assert status["missing_artifacts"] == ["plan"]
        assert status["validation_status"] == "blocked"
        assert PhaseGateResult.objects.count() == 1

    @pytest.mark.parametrize("field", ["phase", "phase_id"])
    def test_another_phase_is_named_by_key_or_id(self, phase, ticket, lead, api, field):
        other = Phase.objects.get(workflow=phase.workflow, key="PHASE_REQUIREMENTS")
        value = other.key if field == "phase" else str(other.pk)
        client = api(lead)

        posted = client.post(
            f"/api/v1/tickets/{ticket.pk}/validate-gate", {field: value}, format="json"
        )
        read = client.get(f"/api/v1/tickets/{ticket.pk}/gate-status", {field: value})

        assert posted.json()["requirements"][0]["key"] == "requirements_document"
        assert read.json()["missing_artifacts"] == ["requirements_document"]

    def test_an_unknown_phase_is_404_and_names_those_there_are(self, ticket, lead, api):
        client, path = api(lead), f"/api/v1/tickets/{ticket.pk}"

        answers = [
            client.post(f"{path}/validate-gate", {"phase": "PHASE_X"}, format="json"),
            client.get(f"{path}/gate-status", {"phase_id": str(ticket.pk)}),
        ]

        assert [a.status_code for a in answers] == [404, 404]
        assert all("PHASE_REQUIREMENTS" in a.json()["detail"] for a in answers)


class TestCost:
    def test_the_number_of_queries_does_not_grow_with_the_evidence(self, asks, worked, agent, lead):
        asks("artifact", artifact_type="plan", rules={"min_length": 1})
        asks("metric", name="bench.p95", op="<", value=5)
        asks("metric", "free", name="p99", op="<", value=5)
        asks("manual", question="Is it good?")
        asks("review")
        asks("file_exists", path="a")
        post(agent, worked, "plan", "the plan")
        confirm(lead, post(agent, worked, "bench", {"p95": 1, "p99": 2}))

        def count() -> int:
            with CaptureQueriesContext(
                connection,
            ) as seen:
                ask(lead, worked)
            return len(seen)

        ask(lead, worked)
        before = count()
        PhaseGateArtifact.objects.bulk_create(
            PhaseGateArtifact(
                team=worked.team, ticket=worked, phase=worked.phase, visit=1,
                artifact_type=("plan", "bench")[n % 2], artifact_path=str(n), sha256=str(n),
                artifact_content={"p95": n, "p99": n, "pad": "x" * 200}, collected_by=agent.user,
            )
            for n in range(1000)
        )  # fmt: skip

        assert count() == before

    def test_what_was_harvested_costs_nothing_again(self, asks, ticket, agent, lead):
        asks("tasks_completed")
        task = services.claim_tasks(actor=agent, capabilities=["design"])[0].task
        many = [{"type": "note", "path": str(n), "content": n} for n in range(60)]
        services.complete_task(
            actor=agent, task_id=task.pk, fence=task.fence, result={"artifacts": many}
        )
        ask(lead, ticket)

        with CaptureQueriesContext(connection) as seen:
            ask(lead, ticket)

        assert ticket.artifacts.count() == 60
        assert len(seen) < 20
