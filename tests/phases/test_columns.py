"""Phases and columns are edited with the rules of their workflow; limits are told when exceeded."""

import pytest

from guardian import relay
from guardian.models import Event
from phases import services
from phases.models import BoardColumn, Phase, Task, Ticket, Workflow

COLUMNS = "/api/v1/board/columns"
REASON = "There is more work than people."


@pytest.fixture(autouse=True)
def seeded(team):
    services.seed_team(team=team)


@pytest.fixture
def open_tickets(admin):
    def opened(count):
        return [
            services.open_ticket(actor=admin, title=f"Ticket {n}", workflow="default")
            for n in range(count)
        ]

    return opened


@pytest.fixture
def patch(api, admin):
    def patched(where, *, actor=admin, version=None, **body):
        headers = {} if version is None else {"If-Match": f'"v{version}"'}
        return api(actor).patch(where, body, format="json", headers=headers)

    return patched


def column(key="analyzing"):
    return BoardColumn.objects.get(workflow__key="default", key=key)


def limit(patch, key, value):
    answer = patch(f"{COLUMNS}/{key}", version=column(key).version, wip_limit=value)
    assert answer.status_code == 200, answer.json()
    return answer.json()


def told(kind):
    return list(Event.objects.filter(kind=kind).order_by("id").values_list("data", flat=True))


VIOLATED, CLEARED = "phases.board.wip_violated", "phases.board.wip_cleared"


class TestLimits:
    def test_a_limit_below_what_is_there_is_one_violation(self, patch, api, admin, open_tickets):
        open_tickets(3)
        limit(patch, "analyzing", 3)
        assert not told(VIOLATED)

        answer = limit(patch, "analyzing", 2)

        assert answer["exceeded_since"]
        events = told(VIOLATED)
        assert len(events) == 1
        assert (events[0]["column"], events[0]["limit"]) == ("analyzing", 2)
        assert (events[0]["admitted"], events[0]["excess"]) == (3, 1)
        found = api(admin).get("/api/v1/board/wip-violations").json()["results"]
        assert found == [
            {
                "column": "analyzing",
                "name": "Analyzing",
                "limit": 2,
                "admitted": 3,
                "excess": 1,
                "since": answer["exceeded_since"],
            }
        ]
        stats = api(admin).get("/api/v1/board/stats?workflow=default").json()
        shown = {one["key"]: one for one in stats["columns"]}["analyzing"]
        assert (shown["admitted"], shown["exceeded"], shown["utilization"]) == (3, 1, 1.5)
        # Lower still is the same violation.
        limit(patch, "analyzing", 1)
        assert len(told(VIOLATED)) == 1

    def test_raising_it_clears_once_and_admits_at_once(self, patch, open_tickets):
        limit(patch, "analyzing", 2)
        open_tickets(4)
        assert (column().admitted_count, column().queued_count) == (2, 2)
        limit(patch, "analyzing", 1)

        limit(patch, "analyzing", 3)

        assert (column().admitted_count, column().queued_count) == (3, 1)
        assert column().exceeded_since is None
        assert (len(told(VIOLATED)), len(told(CLEARED))) == (1, 1)
        limit(patch, "analyzing", None)
        assert (column().admitted_count, column().queued_count) == (4, 0)
        assert len(told(CLEARED)) == 1

    def test_a_forced_move_opens_a_violation_and_leaving_closes_it(
        self, patch, admin, open_tickets
    ):
        limit(patch, "building", 1)
        first, second = open_tickets(2)
        for ticket in (first, second):
            services.transition(
                actor=admin, ticket_id=ticket.pk, to_phase="PHASE_DESIGN", override=True,
                reason=REASON,
            )  # fmt: skip
        move = {"actor": admin, "to_phase": "PHASE_IMPLEMENTATION", "reason": REASON}
        services.transition(ticket_id=first.pk, **move)
        assert not told(VIOLATED)

        services.transition(ticket_id=second.pk, force=True, **move)

        assert [event["excess"] for event in told(VIOLATED)] == [1]
        services.transition(
            actor=admin, ticket_id=first.pk, to_phase="PHASE_BLOCKED", reason=REASON
        )
        assert [event["admitted"] for event in told(CLEARED)] == [1]
        assert column("building").exceeded_since is None

    def test_a_ticket_that_is_called_off_closes_it_too(self, patch, admin, open_tickets):
        tickets = open_tickets(2)
        limit(patch, "analyzing", 1)

        services.cancel_ticket(actor=admin, ticket_id=tickets[0].pk, reason=REASON)
        while relay.run_once():
            pass
        services.retry_moves()

        assert len(told(CLEARED)) == 1
        assert column().exceeded_since is None

    def test_a_mark_that_got_lost_is_put_right(self, open_tickets):
        open_tickets(2)
        BoardColumn.objects.filter(pk=column().pk).update(wip_limit=1)

        services.retry_moves()

        assert column().exceeded_since is not None
        assert len(told(VIOLATED)) == 1


class TestColumnPatch:
    def test_edits_are_kept_told_and_counted(self, patch):
        answer = patch(
            f"{COLUMNS}/analyzing?workflow=default", version=1, name="Thinking", color="green",
            auto_transition_to="building", reason=REASON,
        )  # fmt: skip

        assert answer.status_code == 200
        assert answer["ETag"] == '"v2"'
        assert (answer.json()["name"], answer.json()["auto_transition_to"]) == (
            "Thinking",
            "building",
        )
        event = Event.objects.get(kind="phases.board.column_updated")
        assert event.reason == REASON
        assert event.data["changed"] == ["auto_transition_to", "color", "name"]
        assert (event.before["name"], event.after["name"]) == ("Analyzing", "Thinking")
        design = Phase.objects.get(workflow__key="default", key="PHASE_REQUIREMENTS")
        assert design.next_column.key == "building"

    def test_nothing_new_is_no_edit(self, patch):
        answer = patch(f"{COLUMNS}/analyzing", version=1, name="Analyzing")

        assert answer["ETag"] == '"v1"'
        assert not Event.objects.filter(kind="phases.board.column_updated").exists()

    def test_it_needs_the_version_that_was_read(self, patch):
        assert patch(f"{COLUMNS}/analyzing", name="A").status_code == 428
        stale = patch(f"{COLUMNS}/analyzing", version=7, name="A")
        assert (stale.status_code, stale.json()["current_etag"]) == (412, '"v1"')

    @pytest.mark.parametrize(
        ("body", "path"),
        [
            ({"wip_limit": 0}, "wip_limit"),
            ({"wip_limit": 10**30}, "wip_limit"),
            ({"wip_limit": "5"}, "wip_limit"),
            ({"auto_transition_to": "analyzing"}, "auto_transition_to"),
            ({"auto_transition_to": "nowhere"}, "auto_transition_to"),
            ({"position": 0}, "position"),
            ({"color": "pink"}, "color"),
            ({"name": ""}, "name"),
            ({"name": "a\0b"}, "name"),
            ({"key": "other"}, "key"),
        ],
    )
    def test_bad_values_are_named(self, patch, body, path):
        answer = patch(f"{COLUMNS}/analyzing", version=1, **body)

        assert answer.status_code == 400
        assert path in [error["path"] for error in answer.json()["errors"]]
        assert column().version == 1

    def test_columns_are_listed_and_found_by_their_phase(self, api, viewer):
        listed = api(viewer).get(COLUMNS).json()["results"]
        found = api(viewer).get("/api/v1/board/column/PHASE_DESIGN")
        named = api(viewer).get(f"{COLUMNS}/analyzing?workflow=default")

        assert [one["key"] for one in listed] == [
            "backlog", "analyzing", "building", "testing", "deploying", "done", "blocked",
        ]  # fmt: skip
        assert found.json() == named.json() == listed[1]
        assert found["ETag"] == '"v1"'
        assert found.json()["phases"] == ["PHASE_REQUIREMENTS", "PHASE_DESIGN"]
        for missing in ("column/PHASE_X", "columns/x", "columns?workflow=x", "stats?workflow=x"):
            assert api(viewer).get(f"/api/v1/board/{missing}").status_code == 404

    def test_it_takes_the_scope_and_a_workflow_of_the_team(self, patch, lead, outsider):
        assert patch(f"{COLUMNS}/analyzing", actor=lead, version=1, name="A").status_code == 403
        assert patch(f"{COLUMNS}/analyzing", actor=outsider, version=1, name="A").status_code == 404


class TestPhases:
    def where(self, key="PHASE_REQUIREMENTS"):
        return f"/api/v1/phases/{Phase.objects.get(workflow__key='default', key=key).pk}"

    def test_they_are_listed_in_their_order(self, api, viewer):
        rows = api(viewer).get("/api/v1/phases?workflow=default").json()["results"]

        assert [row["sequence_order"] for row in rows] == list(range(8))
        assert api(viewer).get(f"/api/v1/phases/{rows[1]['id']}").json() == rows[1]
        by_key = api(viewer).get("/api/v1/phases/PHASE_DESIGN?workflow=default")
        assert by_key.json() == rows[2]

    def test_the_next_claim_shows_an_edit(self, patch, agent, open_tickets, api):
        open_tickets(1)
        done = [{"key": "scope", "text": "The scope is written.", "required": False}]
        outputs = [{"type": "requirements_document", "pattern": "*.md"}]

        answer = patch(
            self.where(), version=1, phase_prompt="Ask twice.", next_steps_guide=["Go on."],
            done_definitions=done, expected_outputs=outputs,
        )  # fmt: skip

        assert answer.status_code == 200
        assert answer["ETag"] == '"v2"'
        claimed = api(agent).post(
            "/api/v1/tasks/claim", {"capabilities": ["analysis"]}, format="json"
        )
        prompt = claimed.json()["tasks"][0]["prompt"]
        assert prompt["phase_prompt"] == "Ask twice."
        assert prompt["next_steps_guide"] == ["Go on."]
        assert [one["key"] for one in prompt["done_definitions"]] == ["scope"]
        assert [one["pattern"] for one in prompt["expected_outputs"]] == ["*.md"]
        event = Event.objects.get(kind="phases.phase.updated")
        assert event.data["key"] == "PHASE_REQUIREMENTS"
        assert "phase_prompt" in event.data["changed"]

    def test_each_editable_field_is_kept(self, patch, api, viewer):
        body = {
            "column": "testing", "sequence_order": 9, "name": "Try", "description": "Try it.",
            "kind": "work", "allowed_transitions": ["PHASE_DONE"], "is_terminal": True,
            "done_definitions": [], "expected_outputs": [], "phase_prompt": "",
            "next_steps_guide": [],
            "entry_task": {"task_type": "try", "title": "Try", "required_capabilities": ["try"],
                           "timeout_seconds": 60},
            "review_required": True, "max_review_iterations": 5,
            "configuration": {"on_failure": "block"},
        }  # fmt: skip

        answer = patch(self.where("PHASE_DEPLOYMENT"), version=1, **body)

        assert answer.status_code == 200, answer.json()
        assert {name: answer.json()[name] for name in body} == body

    @pytest.mark.parametrize(
        ("body", "path"),
        [
            ({"allowed_transitions": ["PHASE_X"]}, "allowed_transitions.0"),
            ({"allowed_transitions": ["PHASE_REQUIREMENTS"]}, "allowed_transitions.0"),
            ({"column": "nowhere"}, "column"),
            ({"sequence_order": 2}, "phases.2.sequence_order"),
            ({"kind": "done"}, "phases.6.kind"),
            ({"kind": "blocked"}, "initial_phase"),
            ({"done_definitions": [{"key": "a"}]}, "done_definitions.0.text"),
            ({"done_definitions": [{"key": "a", "text": "b"}] * 2}, "done_definitions.1.key"),
            ({"expected_outputs": [{"type": "a", "pattern": "b", "c": 1}]}, "expected_outputs.0.c"),
            ({"expected_outputs": [{"type": "a", "pattern": "x" * 501}]},
             "expected_outputs.0.pattern"),
            ({"entry_task": {"title": "x"}}, "entry_task.task_type"),
            ({"entry_task": {"task_type": "x", "title": "y", "timeout_seconds": 0}},
             "entry_task.timeout_seconds"),
            ({"max_review_iterations": 11}, "max_review_iterations"),
            ({"phase_prompt": "a\0b"}, "phase_prompt"),
            ({"key": "PHASE_OTHER"}, "key"),
            ({"configuration": []}, "configuration"),
        ],
    )  # fmt: skip
    def test_bad_values_are_named(self, patch, body, path):
        answer = patch(self.where(), version=1, **body)

        assert answer.status_code == 400
        assert path in [error["path"] for error in answer.json()["errors"]], answer.json()
        assert not Event.objects.filter(kind="phases.phase.updated").exists()

    @pytest.mark.parametrize(
        ("key", "body"),
        [
            ("PHASE_REQUIREMENTS", {"column": "backlog"}),
            ("PHASE_REQUIREMENTS", {"is_terminal": True}),
            ("PHASE_BLOCKED", {"kind": "work"}),
            ("PHASE_BLOCKED", {"allowed_transitions": []}),
        ],
    )
    def test_what_would_strand_tickets_is_refused(self, patch, admin, open_tickets, key, body):
        first, second, _ = open_tickets(3)
        services.transition(
            actor=admin, ticket_id=second.pk, to_phase="PHASE_BLOCKED", reason=REASON
        )

        answer = patch(self.where(key), version=1, **body)

        assert (answer.status_code, answer.json()["code"]) == (409, "phase_in_use")
        standing = Ticket.objects.filter(phase__key=key).order_by("number")
        assert answer.json()["tickets"] == [ticket.number for ticket in standing]
        assert answer.json()["fields"] == list(body)
        assert answer.json()["remedy"]["text"]
        assert first.phase.key == "PHASE_REQUIREMENTS"

    def test_another_order_makes_later_work_ready(self, patch, admin, open_tickets):
        ticket = open_tickets(1)[0]
        design = Phase.objects.get(workflow__key="default", key="PHASE_DESIGN")
        draw = services.NewTask(
            ticket_id=ticket.pk, task_type="draw", title="Draw", phase=design.key
        )
        services.create_tasks(actor=admin, tasks=[draw])
        assert {t.title for t, _ in services.claimable_tasks(actor=admin)} == {
            "Analyse the requirements"
        }

        requirements = Phase.objects.get(workflow__key="default", key="PHASE_REQUIREMENTS")
        answer = patch(f"/api/v1/phases/{requirements.pk}", version=1, sequence_order=9)

        assert answer.status_code == 200
        assert "Draw" in {t.title for t, _ in services.claimable_tasks(actor=admin)}

    def test_it_takes_scope_version_and_team(self, patch, lead, outsider):
        assert patch(self.where(), name="A").status_code == 428
        assert patch(self.where(), version=9, name="A").status_code == 412
        assert patch(self.where(), actor=lead, version=1, name="A").status_code == 403
        assert patch(self.where(), actor=outsider, version=1, name="A").status_code == 404


class TestAutoTransition:
    def ask(self, api, actor, ticket):
        answer = api(actor).post(f"/api/v1/board/auto-transition/{ticket.pk}")
        assert answer.status_code == 200
        return answer.json()

    def test_open_work_comes_first_and_then_the_gate(self, api, admin, open_tickets):
        ticket = open_tickets(1)[0]
        move = {"actor": admin, "ticket_id": ticket.pk, "override": True, "reason": REASON}

        assert self.ask(api, admin, ticket)["reason"] == "tasks_open"

        Task.objects.filter(ticket=ticket).delete()
        for key in ("PHASE_DESIGN", "PHASE_IMPLEMENTATION"):
            services.transition(**move, to_phase=key)
        Task.objects.filter(ticket=ticket).delete()
        told = self.ask(api, admin, ticket)
        assert (told["moved"], told["reason"]) == (False, "gate_not_passed")
        assert told["detail"]
        assert Ticket.objects.get(pk=ticket.pk).auto_wait["reason"] == "gate_not_passed"

    def test_called_off_work_is_not_done_and_a_closed_ticket_goes_nowhere(
        self, api, admin, open_tickets
    ):
        ticket = open_tickets(1)[0]
        task = Task.objects.get(ticket=ticket)
        services.cancel_task(actor=admin, task_id=task.pk, reason=REASON, grace_seconds=0)
        told = self.ask(api, admin, ticket)
        assert (told["reason"], "called off" in told["detail"]) == ("tasks_open", True)

        services.cancel_ticket(actor=admin, ticket_id=ticket.pk, reason=REASON)
        told = self.ask(api, admin, ticket)
        assert (told["moved"], told["reason"]) == (False, "terminal")

    def test_who_is_not_approved_waits(self, api, admin, open_tickets):
        Workflow.objects.filter(key="default").update(approval_required=True)

        assert self.ask(api, admin, open_tickets(1)[0])["reason"] == "approval"

    def test_without_a_pointer_and_without_an_edge(self, api, admin, patch):
        ticket = services.open_ticket(
            actor=admin, title="Idea", workflow="default", phase="PHASE_BACKLOG"
        )
        assert self.ask(api, admin, ticket)["reason"] == "no_pointer"
        limit_free = patch(f"{COLUMNS}/backlog", version=1, auto_transition_to="testing")
        assert limit_free.status_code == 200

        assert self.ask(api, admin, ticket)["reason"] == "illegal_transition"

        assert (
            patch(f"{COLUMNS}/backlog", version=2, auto_transition_to="analyzing").status_code
            == 200
        )
        services.open_ticket(actor=admin, title="Other", workflow="default")
        limit(patch, "analyzing", 1)
        assert self.ask(api, admin, ticket)["reason"] == "wip_full"
        limit(patch, "analyzing", 2)
        assert self.ask(api, admin, ticket) == {
            "moved": True, "to_phase": "PHASE_REQUIREMENTS", "reason": "moved", "detail": "",
        }  # fmt: skip

    def test_it_is_for_those_with_a_part_in_it(self, api, admin, viewer, outsider, open_tickets):
        ticket = open_tickets(1)[0]
        where = f"/api/v1/board/auto-transition/{ticket.pk}"

        assert api(viewer).post(where).status_code == 403
        assert api(outsider).post(where).status_code == 404


class TestNextColumn:
    """B-6: work waits for a place where it will go on, wherever an edited pointer says that is."""

    def test_follows_the_edited_pointer(self, patch, admin, agent, api, open_tickets):
        open_tickets(1)
        entry = Task.objects.get()
        services.open_ticket(actor=admin, title="Old", workflow="default", phase="PHASE_TESTING")
        limit(patch, "testing", 1)

        point(patch, "analyzing", "testing")

        assert services.claim_tasks(actor=agent, capabilities=["analysis"]) == []
        [wait] = api(admin).get(f"/api/v1/tasks/{entry.pk}/why").json()["waiting"]
        assert (wait["code"], wait["refs"][0]["key"]) == ("wip_next_full", "testing")

        point(patch, "analyzing", "building")

        held = services.claim_tasks(actor=agent, capabilities=["analysis"])
        assert [one.task.pk for one in held] == [entry.pk]

    def test_is_claimed_once_the_pointed_column_drained(self, patch, admin, agent, open_tickets):
        open_tickets(1)
        old = services.open_ticket(
            actor=admin, title="Old", workflow="default", phase="PHASE_TESTING"
        )
        limit(patch, "testing", 1)
        point(patch, "analyzing", "testing")
        assert services.claim_tasks(actor=agent, capabilities=["analysis"]) == []

        services.cancel_ticket(actor=admin, ticket_id=old.pk, reason=REASON)

        assert len(services.claim_tasks(actor=agent, capabilities=["analysis"])) == 1

    def test_a_pointer_to_nowhere_is_refused_at_its_field(self, patch):
        version = column().version

        for nowhere in ("nowhere", "analyzing"):
            refused = patch(f"{COLUMNS}/analyzing", version=version, auto_transition_to=nowhere)

            assert refused.status_code == 400, refused.json()
            assert refused.json()["errors"][0]["path"] == "auto_transition_to"
        assert column().version == version


def point(patch, key, target):
    answer = patch(f"{COLUMNS}/{key}", version=column(key).version, auto_transition_to=target)
    assert answer.status_code == 200, answer.json()
