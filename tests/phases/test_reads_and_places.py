"""Where cards stand, what is shown first, and reads that say what a change will find."""

import pytest
from django.db import transaction

from guardian.models import Event
from phases import board, services
from phases.models import BoardColumn, GateRequirement, PhaseHistory, Task, Ticket, Workflow
from tests import factories
from tests.beside import PATIENCE_SECONDS, Beside

MOVE = "/api/v1/board/move"
WHY = "There is a reason for it."


@pytest.fixture
def flow(team) -> Workflow:
    services.seed_team(team=team)
    return Workflow.objects.get(team=team, key="default")


@pytest.fixture
def open_tickets(lead, flow):
    def opened(count, **fields):
        fields = {"phase": "PHASE_BACKLOG", **fields}
        return [
            services.open_ticket(actor=lead, title=f"Ticket {n}", workflow="default", **fields)
            for n in range(count)
        ]

    return opened


def titles(flow, column="backlog"):
    shown = {one["key"]: one for one in board.snapshot(flow)["columns"]}
    return [card["title"] for card in shown[column]["cards"]]


class TestPlaces:
    def test_never_run_out_between_two_neighbours(self, lead, flow, open_tickets):
        first, *rest = open_tickets(4)

        for n in range(60):
            moved = rest[n % 3]
            services.move_card(
                actor=lead, ticket_id=moved.pk, column="backlog", version=None, position=1
            )
            assert titles(flow)[:2] == [first.title, moved.title], n

        ranks = list(Ticket.objects.values_list("rank", flat=True))
        assert len(set(ranks)) == 4
        told = Event.objects.filter(kind="phases.board.ticket_moved").count()
        assert told > 60  # whoever had to make room is told to open boards, too

    def test_a_place_in_another_column_is_kept(self, api, lead, flow, open_tickets):
        there = open_tickets(3, phase="PHASE_REQUIREMENTS")
        [moved] = open_tickets(1)
        Ticket.objects.filter(pk=moved.pk).update(title="Moved")

        answer = api(lead).post(
            MOVE,
            {"ticket_id": str(moved.pk), "column": "analyzing", "position": 1, "version": 1},
            format="json",
        )

        assert answer.status_code == 200, answer.json()
        assert titles(flow, "analyzing") == [there[0].title, "Moved", *(t.title for t in there[1:])]

    def test_a_stale_move_is_answered_with_the_card_as_it_is(self, api, lead, open_tickets):
        [ticket] = open_tickets(1)
        services.update_ticket(
            actor=lead, ticket_id=ticket.pk, version=None, changes={"title": "New title"}
        )

        answer = api(lead).post(
            MOVE,
            {"ticket_id": str(ticket.pk), "column": "analyzing", "version": 1},
            format="json",
        )

        assert answer.status_code == 412
        assert (answer.json()["card"]["title"], answer.json()["card"]["v"]) == ("New title", 2)


class TestOpenFirst:
    def test_called_off_tickets_push_no_open_one_off_the_board(self, lead, flow, open_tickets):
        for ticket in open_tickets(board.CARDS):
            services.cancel_ticket(actor=lead, ticket_id=ticket.pk, reason=WHY)
        [late] = open_tickets(1)
        Ticket.objects.filter(pk=late.pk).update(title="Late", priority=4)

        shown = titles(flow)

        assert shown[0] == "Late"
        assert len(shown) == board.CARDS

    def test_pages_go_through_all_of_them_once(self, api, lead, flow, open_tickets):
        tickets = open_tickets(board.CARDS * 2 + 7)
        for ticket in tickets[::2]:
            services.cancel_ticket(actor=lead, ticket_id=ticket.pk, reason=WHY)
        column = next(c for c in board.snapshot(flow)["columns"] if c["key"] == "backlog")
        seen = [card["id"] for card in column["cards"]]
        assert column["next"]

        more = True
        while more:
            query = {"workflow": "default", "column": "backlog", "after": seen[-1]}
            page = api(lead).get("/api/v1/board/cards", query).json()
            seen += [card["id"] for card in page["cards"]]
            more = page["next"]

        assert len(seen) == len(set(seen)) == len(tickets)
        ended = [Ticket.objects.get(pk=pk).status == "cancelled" for pk in seen]
        assert ended == sorted(ended)


class TestTransitionsTellTheTruth:
    def test_of_a_ticket_that_nobody_approved(self, api, lead, flow, open_tickets):
        flow.approval_required = True
        flow.save()
        [ticket] = open_tickets(1)

        rows = api(lead).get(f"/api/v1/tickets/{ticket.pk}/transitions").json()["results"]
        there = {row["to_phase"]: row for row in rows}["PHASE_REQUIREMENTS"]
        answer = api(lead).post(
            f"/api/v1/tickets/{ticket.pk}/transition",
            {"to_phase": "PHASE_REQUIREMENTS"},
            format="json",
        )

        assert (there["allowed"], there["code"]) == (False, "approval_required")
        assert (answer.status_code, answer.json()["code"]) == (409, "approval_required")

    def test_of_a_ticket_that_waits_for_a_place_in_its_own_column(self, api, lead, flow):
        BoardColumn.objects.filter(workflow=flow, key="analyzing").update(wip_limit=1)
        first, queued = (
            services.open_ticket(actor=lead, title=title, workflow="default")
            for title in ("first", "queued")
        )
        assert queued.admitted_at is None
        # Nothing stands in the way but the place.
        GateRequirement.objects.filter(phase__workflow=flow).delete()
        flow.phases.filter(key="PHASE_REQUIREMENTS").update(
            done_definitions=[], expected_outputs=[]
        )

        rows = api(lead).get(f"/api/v1/tickets/{queued.pk}/transitions").json()["results"]
        there = {row["to_phase"]: row for row in rows}["PHASE_DESIGN"]
        answer = api(lead).post(
            f"/api/v1/tickets/{queued.pk}/transition", {"to_phase": "PHASE_DESIGN"}, format="json"
        )

        assert (there["allowed"], there["code"]) == (False, "wip_exceeded")
        assert (answer.status_code, answer.json()["code"]) == (409, "wip_exceeded")
        assert first.admitted_at is not None


class TestApprovedText:
    @pytest.fixture
    def approved(self, team, lead, agent, flow) -> Ticket:
        flow.approval_required = True
        flow.save()
        ticket = services.open_ticket(actor=agent, title="Fix a typo", workflow="default")
        return services.approve_ticket(actor=lead, ticket_id=ticket.pk)

    @pytest.mark.parametrize(
        "change", [{"title": "Drop it all"}, {"description": "now"}, {"context": {"a": 1}}]
    )
    def test_is_changed_by_nobody_who_could_not_approve_it(self, api, agent, approved, change):
        answer = api(agent).patch(
            f"/api/v1/tickets/{approved.pk}", change, format="json", headers={"If-Match": "*"}
        )

        assert (answer.status_code, answer.json()["code"]) == (409, "approved_text")
        now = Ticket.objects.get(pk=approved.pk)
        assert (now.title, now.description, now.context) == ("Fix a typo", "", {})

    def test_who_may_approve_may_change_it(self, api, lead, approved):
        answer = api(lead).patch(
            f"/api/v1/tickets/{approved.pk}",
            {"title": "Fix two typos"},
            format="json",
            headers={"If-Match": "*"},
        )

        assert answer.status_code == 200

    def test_its_author_still_sets_labels_and_priority(self, api, agent, approved):
        answer = api(agent).patch(
            f"/api/v1/tickets/{approved.pk}",
            {"labels": ["typo"], "priority": "HIGH", "title": "Fix a typo"},
            format="json",
            headers={"If-Match": "*"},
        )

        assert answer.status_code == 200


class TestPriorities:
    def test_a_new_deadline_leaves_the_tasks_own_alone(self, lead, flow, open_tickets):
        [ticket] = open_tickets(1)
        own = services.create_task(
            actor=lead, ticket=ticket, task_type="fix", title="own", priority=1
        )
        like = services.create_task(actor=lead, ticket=ticket, task_type="fix", title="like")

        def change(**changes):
            services.update_ticket(actor=lead, ticket_id=ticket.pk, version=None, changes=changes)
            rows = Task.objects.in_bulk([own.pk, like.pk])
            return rows[own.pk].priority, rows[like.pk].priority

        assert change(deadline=ticket.created_at) == (1, 3)
        assert change(priority=2) == (1, 2)


class TestLists:
    def test_evidence_and_history_come_page_by_page(self, api, lead, agent, flow, open_tickets):
        [ticket] = open_tickets(1)
        for n in range(7):
            services.add_artifact(
                actor=lead, ticket_id=ticket.pk, artifact_type="note", content=f"Note {n}"
            )
        where = f"/api/v1/tickets/{ticket.pk}"

        first = api(lead).get(f"{where}/artifacts?limit=5").json()
        rest = api(lead).get(f"{where}/artifacts?limit=5&cursor={first['next']}").json()

        assert (len(first["results"]), len(rest["results"]), rest["next"]) == (5, 2, None)
        for path in ("artifacts", "history", "results"):
            refused = api(lead).get(f"{where}/{path}?nonsense=1")
            assert (refused.status_code, refused.json()["code"]) == (400, "bad_filter")

    def test_a_move_names_the_evidence_it_left_behind(self, api, lead, flow, open_tickets):
        [ticket] = open_tickets(1)
        note, _ = services.add_artifact(
            actor=lead, ticket_id=ticket.pk, artifact_type="note", content="Note"
        )

        services.transition(actor=lead, ticket_id=ticket.pk, to_phase="PHASE_REQUIREMENTS")

        rows = api(lead).get(f"/api/v1/tickets/{ticket.pk}/history").json()["results"]
        assert rows[-1]["artifacts"] == [
            {"id": str(note.pk), "artifact_type": "note", "sha256": note.sha256}
        ]
        assert rows[-1]["gate_result"] == PhaseHistory.objects.latest("id").gate_result_id


class TestNotes:
    def test_an_old_note_goes_when_it_is_true_no_more(self, api, lead, agent, flow, team):
        ticket = services.open_ticket(actor=lead, title="x", workflow="default")
        Ticket.objects.filter(pk=ticket.pk).update(
            auto_wait={"reason": "wip_full", "detail": "Building is full.", "column": "building"}
        )

        answer = api(lead).post(f"/api/v1/board/auto-transition/{ticket.pk}").json()

        assert (answer["reason"], answer["detail"]) == ("tasks_open", "")
        assert Ticket.objects.get(pk=ticket.pk).auto_wait is None


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_requirement_added_beside_an_edit_of_its_phase_is_kept():
    team = factories.make_team()
    services.seed_team(team=team)
    admin = factories.make_actor(team, "ada", role="admin", authority=5)
    phase = Workflow.objects.get(team=team, key="default").phases.get(key="PHASE_DESIGN")

    with transaction.atomic():
        services.change_phase(
            actor=admin, phase_id=phase.pk, version=None, changes={"name": "Draft"}, reason=WHY
        )
        other = Beside(
            lambda: services.add_requirement(
                actor=admin,
                phase_id=phase.pk,
                key="plan",
                kind="artifact",
                parameters={"artifact_type": "plan"},
            )
        )
        other.wait_until_blocked()
    other.join(PATIENCE_SECONDS)
    services.change_phase(
        actor=admin, phase_id=phase.pk, version=None, changes={"name": "Plan"}, reason=WHY
    )

    assert list(GateRequirement.objects.filter(phase=phase).values_list("key", flat=True)) == [
        "plan"
    ]
