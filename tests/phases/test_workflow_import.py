"""A workflow's file changes what is there, and says before what it would do."""

import pytest

from guardian.models import Event
from phases import services
from phases.models import BoardColumn, GateRequirement, Phase, ReadyTask, Task, Workflow
from tests import factories
from tests.phases.test_workflow_yaml import SMALL

IMPORT = "/api/v1/workflows/import"


@pytest.fixture(autouse=True)
def seeded(team):
    services.seed_team(team=team)


@pytest.fixture
def send(api, admin):
    def sent(text=SMALL, *, actor=admin, **options):
        return api(actor).post(IMPORT, {"yaml": text, **options}, format="json")

    return sent


def export(api, actor, key="default"):
    answer = api(actor).get(f"/api/v1/workflows/{key}/export")
    assert answer.status_code == 200
    return answer.content.decode()


def rows():
    return [
        list(model.objects.order_by("id").values())
        for model in (Workflow, Phase, BoardColumn, GateRequirement)
    ]


def changed(api, admin, old, new, key="default"):
    text = export(api, admin, key)
    assert old in text
    return text.replace(old, new, 1)


class TestNew:
    def test_a_workflow_is_made_of_its_text(self, send, api, admin, team):
        answer = send()

        assert answer.status_code == 200
        told = answer.json()
        assert told["creates"] == [
            "workflow", "phases.PHASE_WORK", "phases.PHASE_DONE", "board_columns.work",
            "board_columns.done",
        ]  # fmt: skip
        assert (told["updates"], told["keeps"], told["deletes"], told["refused"]) == (
            [],
            [],
            [],
            [],
        )
        work = Phase.objects.get(workflow__key="small", key="PHASE_WORK")
        assert (work.column.key, work.next_column.key) == ("work", "done")
        event = Event.objects.get(kind="phases.workflow.imported")
        assert (event.data["is_new"], event.data["counts"]["creates"]) == (True, 5)
        assert event.data["workflow_id"] == str(work.workflow_id)

    def test_yaml_is_taken_as_it_is(self, api, admin):
        where = f"{IMPORT}?dry_run=true"
        dry = api(admin).generic("POST", where, SMALL, content_type="application/yaml")
        assert not Workflow.objects.filter(key="small").exists()

        made = api(admin).generic("POST", IMPORT, SMALL, content_type="application/yaml")

        assert (dry.status_code, made.status_code) == (200, 200)
        assert dry.json() == made.json()
        assert Workflow.objects.filter(key="small").exists()

    def test_a_dry_run_stores_nothing(self, send, api, admin):
        before = rows()

        told = [
            send(dry_run=True),
            send(changed(api, admin, "name: Design", "name: Plan"), dry_run=True, overwrite=True),
        ]

        assert [answer.status_code for answer in told] == [200, 200]
        assert rows() == before
        assert not Event.objects.filter(kind__startswith="phases.").exists()

    def test_an_export_changes_nothing(self, send, api, admin):
        for key in ("default", "software_development", "repo_checkup"):
            before = rows()
            told = send(export(api, admin, key), overwrite=True).json()
            assert (told["creates"], told["updates"], told["deletes"]) == ([], [], [])
            assert rows() == before
        assert not Event.objects.filter(kind="phases.workflow.imported").exists()


class TestExisting:
    def test_without_overwrite_what_is_there_stays_and_what_is_missing_comes(
        self, send, api, admin
    ):
        send()
        more = SMALL.replace("name: Work\n", "name: Labour\n").replace(
            "board_columns:\n",
            "  - {id: PHASE_REST, sequence_order: 2, name: Rest}\n"
            "board_columns:\n"
            "  - {id: rest, name: Rest, sequence_order: 2, phase_mapping: [PHASE_REST]}\n",
        )

        told = send(more).json()

        assert told["creates"] == ["phases.PHASE_REST", "board_columns.rest"]
        assert (told["updates"], told["deletes"]) == ([], [])
        assert "phases.PHASE_WORK" in told["keeps"]
        flow = Workflow.objects.get(key="small")
        assert flow.phases.get(key="PHASE_WORK").name == "Work"
        assert flow.phases.get(key="PHASE_REST").column.key == "rest"

    def test_with_overwrite_each_change_is_told_with_what_was(self, send, api, admin):
        text = changed(api, admin, "name: Design\n", "name: Plan\n")
        text = text.replace("wip_limit: 5", "wip_limit: 4").replace(
            "blockers: 0.15", "blockers: 0.1"
        )
        text = text.replace("retry: 0.05", "retry: 0.1").replace("percentage: 80", "percentage: 90")

        told = send(text, overwrite=True).json()

        assert [(u["path"], u["from"], u["to"]) for u in told["updates"]] == [
            ("score.blockers", 0.15, 0.1),
            ("score.retry", 0.05, 0.1),
            ("phases.PHASE_DESIGN.name", "Design", "Plan"),
            ("phases.PHASE_IMPLEMENTATION.gate.test_coverage.parameters",
             {"artifact_type": "test_coverage", "rules": {"min": {"percentage": 80}}},
             {"artifact_type": "test_coverage", "rules": {"min": {"percentage": 90}}}),
            ("board_columns.analyzing.wip_limit", 5, 4),
        ]  # fmt: skip
        flow = Workflow.objects.get(key="default")
        assert (flow.score, flow.version, flow.is_default) == (
            {"blockers": 0.1, "retry": 0.1},
            2,
            True,
        )
        design = flow.phases.get(key="PHASE_DESIGN")
        assert (design.name, design.version) == ("Plan", 2)
        assert flow.phases.get(key="PHASE_TESTING").version == 1
        assert export(api, admin) == text

    def test_what_is_gone_from_the_text_is_deleted(self, send, api, admin):
        send(SMALL.replace("board_columns:\n", EXTRA))

        told = send(SMALL, overwrite=True).json()

        assert told["deletes"] == ["phases.PHASE_REST", "board_columns.rest"]
        assert Workflow.objects.get(key="small").phases.count() == 2

    def test_a_phase_in_use_stays_and_says_how_many_tickets_it_has(self, send, admin):
        send(SMALL.replace("board_columns:\n", EXTRA))
        for title in ("One", "Two"):
            services.open_ticket(actor=admin, title=title, workflow="small")
        flow = Workflow.objects.get(key="small")
        other = SMALL.replace("PHASE_WORK", "PHASE_TOIL").replace("order: 0\n", "order: 5\n")
        other = other.replace("order: 1\n", "order: 6\n").replace("id: work", "id: toil")
        other = other.replace("order: 0,", "order: 5,").replace("order: 1,", "order: 6,")

        told = send(other, overwrite=True).json()

        assert told["refused"] == [
            {"path": "phases.PHASE_WORK", "reason": "2 tickets stand in it", "tickets": 2},
            {"path": "board_columns.work", "reason": "2 tickets stand in it", "tickets": 2},
        ]
        assert told["deletes"] == ["phases.PHASE_REST", "board_columns.rest"]
        keys = list(flow.phases.order_by("sequence_order").values_list("key", flat=True))
        assert keys == ["PHASE_WORK", "PHASE_TOIL", "PHASE_DONE"]
        assert services.open_ticket(actor=admin, title="Three", workflow="small").phase.key == (
            "PHASE_TOIL"
        )

    def test_a_phase_that_a_ticket_only_left_stays_for_its_history(self, send, admin):
        send()
        ticket = services.open_ticket(actor=admin, title="One", workflow="small")
        services.transition(actor=admin, ticket_id=ticket.pk, to_phase="PHASE_DONE")
        other = SMALL.replace("PHASE_WORK", "PHASE_TOIL").replace("order: 0", "order: 7")

        told = send(other.replace("id: work", "id: toil"), overwrite=True).json()

        assert told["refused"][0]["tickets"] == 1
        assert told["refused"][0]["reason"] == "the history or the tasks of 1 ticket name it"

    @pytest.mark.parametrize(
        ("old", "new", "field"),
        [
            ("    name: Work\n", "    name: Work\n    kind: blocked\n", "kind"),
            ("    name: Work\n", "    name: Work\n    is_terminal: true\n", "is_terminal"),
        ],
    )
    def test_what_would_strand_tickets_stays_as_it_is(self, send, admin, old, new, field):
        send(SMALL.replace("board_columns:\n", EXTRA))
        services.open_ticket(actor=admin, title="One", workflow="small")
        text = SMALL.replace("board_columns:\n", EXTRA).replace(old, new)
        if field == "kind":
            text = text.replace("initial_phase: PHASE_WORK", "initial_phase: PHASE_REST")

        told = send(text, overwrite=True).json()

        assert [r["path"] for r in told["refused"]] == [f"phases.PHASE_WORK.{field}"]
        assert Phase.objects.get(workflow__key="small", key="PHASE_WORK").kind == "work"

    def test_what_stays_and_what_comes_must_go_together(self, send, admin):
        send()
        services.open_ticket(actor=admin, title="One", workflow="small")
        before = rows()
        # The phase that stays and the new one are both of order 0, and so are their columns.
        other = SMALL.replace("PHASE_WORK", "PHASE_TOIL").replace("id: work", "id: toil")

        refused = send(other, overwrite=True)

        assert (refused.status_code, refused.json()["code"]) == (409, "workflow_conflict")
        assert {fault["code"] for fault in refused.json()["errors"]} == {"not_unique"}
        assert refused.json()["refused"][0]["path"] == "phases.PHASE_WORK"
        assert rows() == before

    def test_another_digest_than_that_of_the_dry_run_is_refused(self, send, api, admin):
        text = changed(api, admin, "name: Design\n", "name: Plan\n")
        digest = send(text, overwrite=True, dry_run=True).json()["digest"]
        Phase.objects.filter(workflow__key="default", key="PHASE_TESTING").update(name="Trial")
        before = rows()

        refused = send(text, overwrite=True, expect_digest=digest)

        assert (refused.status_code, refused.json()["code"]) == (409, "digest_changed")
        assert rows() == before
        fresh = send(text, overwrite=True, dry_run=True).json()["digest"]
        assert refused.json()["digest"] == fresh
        assert send(text, overwrite=True, expect_digest=fresh).status_code == 200


EXTRA = """\
  - {id: PHASE_REST, sequence_order: 2, name: Rest, allowed_transitions: [PHASE_DONE]}
board_columns:
  - {id: rest, name: Rest, sequence_order: 2, phase_mapping: [PHASE_REST]}
"""


class TestAfterwards:
    def test_waiting_work_has_the_new_weights(self, send, api, admin):
        services.open_ticket(actor=admin, title="One", workflow="default")
        assert ReadyTask.objects.get().weights is None
        text = changed(api, admin, "priority: 0.45", "priority: 0.35")

        assert send(text.replace("age: 0.2\n", "age: 0.3\n"), overwrite=True).status_code == 200

        assert ReadyTask.objects.get().weights[:2] == [0.35, 0.3]

    def test_next_columns_follow_the_pointers(self, send, api, admin):
        text = changed(api, admin, "auto_transition_to: testing", "auto_transition_to: done")

        send(text, overwrite=True)

        building = Phase.objects.get(workflow__key="default", key="PHASE_IMPLEMENTATION")
        assert building.next_column.key == "done"

    def test_work_of_a_phase_that_comes_earlier_now_becomes_ready(self, send, admin):
        send(SMALL.replace("board_columns:\n", EXTRA))
        ticket = services.open_ticket(actor=admin, title="One", workflow="small")
        rest = services.NewTask(
            ticket_id=ticket.pk, task_type="rest", title="Rest", phase="PHASE_REST"
        )
        services.create_tasks(actor=admin, tasks=[rest])
        assert Task.objects.count() == 1
        assert not ReadyTask.objects.exists()
        text = SMALL.replace("board_columns:\n", EXTRA)
        text = text.replace("order: 0\n", "order: 9\n", 1)

        assert send(text, overwrite=True).status_code == 200

        assert ReadyTask.objects.count() == 1

    def test_a_higher_limit_lets_queued_tickets_in(self, send, admin):
        limited = SMALL.replace("order: 0, phase", "order: 0, wip_limit: 1, phase")
        send(limited)
        for title in ("One", "Two", "Three"):
            services.open_ticket(actor=admin, title=title, workflow="small")
        assert BoardColumn.objects.get(workflow__key="small", key="work").queued_count == 2

        send(limited.replace("wip_limit: 1", "wip_limit: 2"), overwrite=True)

        column = BoardColumn.objects.get(workflow__key="small", key="work")
        assert (column.admitted_count, column.queued_count) == (2, 1)


class TestRefusals:
    def test_every_fault_of_the_text_is_told_with_its_place(self, send):
        answer = send(SMALL.replace("[PHASE_DONE]\n", "[PHASE_NONE]\n").replace("small", "a b"))

        assert (answer.status_code, answer.json()["code"]) == (400, "yaml_invalid")
        assert [
            (e["path"], e["line"], e["column"], e["code"]) for e in answer.json()["errors"]
        ] == [
            ("key", 2, 6, "invalid"),
            ("initial_phase", 4, 16, "done_unreachable"),
            ("phases.0.allowed_transitions.0", 9, 27, "unknown_reference"),
        ]
        assert all(e["message"] for e in answer.json()["errors"])

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"yaml": 5},
            {"yaml": SMALL, "force": True},
            {"yaml": SMALL, "dry_run": "yes"},
            {"yaml": ""},
            {"yaml": "a: " + "[" * 5000},
            {"yaml": "format: 1\ncontext: {a: tape}"},
        ],
    )
    def test_what_is_no_import_is_400(self, api, admin, body):
        answer = api(admin).post(IMPORT, body, format="json")

        assert answer.status_code == 400
        assert answer.json()["errors"]

    def test_bytes_that_are_no_text_are_400(self, api, admin):
        for raw in (b"\xff\xfe\x00", b"a: \x00"):
            answer = api(admin).generic("POST", IMPORT, raw, content_type="application/yaml")
            assert answer.status_code == 400
        big = b"a: " + b"x" * (1024 * 1024)
        answer = api(admin).generic("POST", IMPORT, big, content_type="application/yaml")
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "too_large")

    def test_an_unknown_kind_of_context_is_named(self, send):
        answer = send(SMALL.replace("name: Small", "name: Small\ncontext: {a: tape}"))

        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "context.a")

    def test_it_takes_the_scope_and_stays_in_the_team(self, send, api, admin, lead, outsider):
        assert send(actor=lead).json()["code"] == "scope_missing"
        assert send().status_code == 200
        services.seed_team(team=outsider.team)
        # The same key in another team is another workflow.
        assert send(actor=outsider).json()["creates"][0] == "workflow"

        mine = Workflow.objects.get(team=admin.team, key="small")
        assert api(outsider).get(f"/api/v1/workflows/{mine.pk}/export").status_code == 404
        assert api(outsider).get(f"/api/v1/workflows/{mine.pk}").status_code == 404
        assert api(outsider).get("/api/v1/workflows/none").status_code == 404

    def test_the_same_key_imports_once(self, api, admin):
        client = api(admin)
        key = {"Idempotency-Key": "k1"}

        first = client.post(IMPORT, {"yaml": SMALL}, format="json", headers=key)
        again = client.post(IMPORT, {"yaml": SMALL}, format="json", headers=key)

        assert first.json() == again.json()
        assert Event.objects.filter(kind="phases.workflow.imported").count() == 1


def test_a_workflow_is_found_by_key_and_by_id(api, viewer):
    by_key = api(viewer).get("/api/v1/workflows/default")
    by_id = api(viewer).get(f"/api/v1/workflows/{by_key.json()['id']}")

    assert by_key.status_code == 200
    assert by_key.json() == by_id.json()
    assert by_key["ETag"] == '"v1"'
    export = api(viewer).get("/api/v1/workflows/default/export")
    assert export["Content-Type"] == "application/yaml; charset=utf-8"
    assert export["Content-Disposition"] == 'attachment; filename="default.yaml"'


def test_an_export_of_one_team_becomes_the_same_in_another(api, admin, other_team, outsider):
    services.seed_team(team=other_team)
    text = export(api, admin).replace("key: default", "key: copied", 1)
    third = factories.make_actor(other_team, "otto", role="admin", authority=5)

    assert api(third).post(IMPORT, {"yaml": text}, format="json").status_code == 200

    assert export(api, outsider, "copied") == text
