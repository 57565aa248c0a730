"""D-5: what a workflow looks for is handed in, judged by another, and may end the ticket.

And the two further ways of a ticket that go with it: it is given up, its first task is made anew.
"""

import pytest

from guardian.errors import LeaseLost, SelfReview
from guardian.models import Event
from phases import services
from phases.errors import TicketClosed
from phases.models import PhaseHistory, Task, Ticket, Workflow, WorkflowResult
from tests import factories


@pytest.fixture
def flow(team):
    services.seed_team(team=team)
    flow = Workflow.objects.get(team=team, key="software_development")
    flow.has_result = True
    flow.save()
    return flow


@pytest.fixture
def ticket(flow, lead):
    return services.open_ticket(actor=lead, title="Find the leak", workflow=flow.key)


@pytest.fixture
def held(ticket, agent):
    return services.claim_tasks(actor=agent, capabilities=["analysis"])[0].task


@pytest.fixture
def result(ticket, held, agent):
    return services.submit_result(actor=agent, ticket_id=ticket.pk, summary="It is the stern")


@pytest.fixture
def post(api, ticket):
    def asked(actor, verb, body=None):
        where = f"/api/v1/tickets/{ticket.pk}/{verb}"
        return api(actor).post(where, {} if body is None else body, format="json")

    return asked


YES = {"verdict": "validated", "reason": "seen it with my own eyes"}
NO = {"verdict": "rejected", "reason": "the stern is as dry as ever"}


class TestHandingIn:
    def test_is_for_who_holds_a_task(self, held, agent, lead, viewer, outsider, post):
        body = {"summary": "It is the stern", "evidence": [{"photo": "stern.png"}]}

        answer = post(agent, "results", body)

        assert answer.status_code == 201
        told = answer.json()
        assert (told["status"], told["submitted_by"]["name"]) == ("pending_validation", agent.name)
        assert told["evidence"] == [{"photo": "stern.png"}]
        assert Event.objects.get(kind="phases.result.submitted").data["ticket_id"]
        refused = post(lead, "results", body)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_yours")
        assert post(viewer, "results", body).status_code == 403
        assert post(outsider, "results", body).status_code == 404

    def test_also_for_who_held_one_last(self, held, agent, post):
        services.complete_task(
            actor=agent, task_id=held.pk, fence=held.fence, result={"summary": "done"}
        )

        assert post(agent, "results", {"summary": "It is the stern"}).status_code == 201

    def test_is_refused_where_none_is_looked_for(self, flow, held, agent, post):
        flow.has_result = False
        flow.save()

        answer = post(agent, "results", {"summary": "It is the stern"})

        assert (answer.status_code, answer.json()["code"]) == (409, "no_result_wanted")
        assert answer.json()["remedy"]["text"]

    @pytest.mark.parametrize(
        ("body", "path"),
        [
            ({}, "summary"),
            ({"summary": "x", "evidence": "photo"}, "evidence"),
            ({"summary": "x", "evidence": ["a\x00b"]}, "evidence[0]"),
            ({"summary": "x", "colour": 1}, "colour"),
        ],
    )
    def test_names_what_is_wrong(self, held, agent, post, body, path):
        answer = post(agent, "results", body)

        assert answer.status_code == 400
        assert [e["path"] for e in answer.json()["errors"]] == [path]
        assert not WorkflowResult.objects.exists()

    def test_is_read_by_all_of_the_team(self, ticket, result, viewer, outsider, api):
        where = f"/api/v1/tickets/{ticket.pk}/results"

        assert [r["id"] for r in api(viewer).get(where).json()["results"]] == [str(result.pk)]
        assert api(outsider).get(where).status_code == 404


class TestDeciding:
    def test_stop_all_leaves_no_open_task_and_ends_the_ticket(
        self, ticket, held, result, lead, agent, post
    ):
        more = services.create_task(actor=lead, ticket=ticket, task_type="x", title="More")

        answer = post(lead, f"results/{result.pk}/decide", YES)

        assert answer.status_code == 200
        assert (answer.json()["status"], answer.json()["decided_by"]["name"]) == (
            "validated",
            lead.name,
        )
        assert not Task.objects.still_open().filter(ticket=ticket).exists()
        assert set(Task.objects.values_list("status", flat=True)) == {"cancelled"}
        ended = Ticket.objects.select_related("phase").get(pk=ticket.pk)
        assert (ended.status, ended.phase.key) == ("completed", "PHASE_DONE")
        row = PhaseHistory.objects.filter(ticket=ticket).latest("id")
        assert (row.kind, row.gate_result, row.transition_reason) == ("result", None, YES["reason"])
        # Whoever was at work is stopped: the fence has moved on.
        assert Task.objects.get(pk=held.pk).fence > held.fence
        with pytest.raises(LeaseLost):
            services.complete_task(
                actor=agent, task_id=held.pk, fence=held.fence, result={"summary": "done"}
            )
        with pytest.raises(TicketClosed):
            services.create_task(actor=lead, ticket=ticket, task_type="x", title="Late")
        assert Event.objects.filter(kind="phases.task.cancelled").count() == 2
        assert Event.objects.filter(kind="phases.ticket.completed").exists()
        assert Task.objects.get(pk=more.pk).error_message

    def test_do_nothing_only_records(self, flow, ticket, held, result, lead, post):
        flow.on_result_found = "do_nothing"
        flow.save()

        answer = post(lead, f"results/{result.pk}/decide", YES)

        assert answer.json()["status"] == "validated"
        same = Ticket.objects.get(pk=ticket.pk)
        assert (same.phase_id, same.version) == (ticket.phase_id, ticket.version)
        assert Task.objects.get(pk=held.pk).status == "assigned"

    def test_rejecting_lets_the_work_go_on(self, ticket, held, result, lead, agent, post):
        answer = post(lead, f"results/{result.pk}/decide", NO)

        assert (answer.json()["status"], answer.json()["reason"]) == ("rejected", NO["reason"])
        assert Ticket.objects.get(pk=ticket.pk).is_open
        again = post(lead, f"results/{result.pk}/decide", YES)
        assert (again.status_code, again.json()["code"]) == (409, "illegal_transition")
        assert post(agent, "results", {"summary": "The keel, then"}).status_code == 201

    def test_is_for_others_than_its_author(
        self, ticket, flow, result, agent, viewer, outsider, post
    ):
        where = f"results/{result.pk}/decide"
        weak = factories.make_actor(ticket.team, "coder-2", role="agent", kind="agent")

        codes = {who.name: post(who, where, YES).json()["code"] for who in (agent, weak, viewer)}

        assert codes == {
            "coder-1": "authority_too_low",
            "coder-2": "authority_too_low",
            "vera": "scope_missing",
        }
        assert post(outsider, where, YES).status_code == 404
        assert WorkflowResult.objects.get().status == "pending_validation"

    def test_a_person_does_not_decide_their_own(self, ticket, lead):
        services.claim_tasks(actor=lead, capabilities=["analysis"])
        own = services.submit_result(actor=lead, ticket_id=ticket.pk, summary="mine")

        with pytest.raises(SelfReview):
            services.decide_result(actor=lead, ticket_id=ticket.pk, result_id=own.pk, **YES)

    def test_an_unknown_result_is_not_found(self, ticket, lead, post):
        assert post(lead, f"results/{ticket.pk}/decide", YES).status_code == 404
        assert post(lead, f"results/{ticket.pk}/decide", {"verdict": "x"}).status_code == 400


class TestGivingUp:
    def test_ends_the_tasks_frees_the_place_and_says_so(self, ticket, held, lead, post):
        answer = post(lead, "fail", {"reason": "the yard has closed"})

        assert (answer.status_code, answer.json()["status"]) == (200, "failed")
        assert Task.objects.get(pk=held.pk).status == "cancelled"
        ticket.column.refresh_from_db()
        assert ticket.column.admitted_count == 0
        event = Event.objects.get(kind="phases.ticket.failed")
        assert (event.reason, event.data["number"]) == ("the yard has closed", ticket.number)
        assert Event.objects.filter(kind="phases.board.slot_freed").exists()
        again = post(lead, "fail", {"reason": "the yard has closed"})
        assert (again.status_code, again.json()["code"]) == (409, "ticket_closed")

    def test_needs_level_3_and_a_reason(self, ticket, held, agent, viewer, outsider, lead, post):
        why = {"reason": "the yard has closed"}

        assert post(agent, "fail", why).json()["code"] == "authority_too_low"
        assert post(viewer, "fail", why).json()["code"] == "scope_missing"
        assert post(outsider, "fail", why).status_code == 404
        assert post(lead, "fail").status_code == 400
        assert Ticket.objects.get(pk=ticket.pk).is_open

    def test_can_be_taken_back(self, ticket, held, lead, post):
        post(lead, "fail", {"reason": "the yard has closed"})

        answer = post(lead, "reopen", {"reason": "it is open again"})

        assert (answer.status_code, answer.json()["status"]) == (200, "pending")
        assert Task.objects.get(pk=held.pk).status == "pending"


class TestGeneratingTasks:
    def test_makes_the_entry_task_only_where_none_is_open(self, ticket, lead, post):
        [first] = Task.objects.filter(ticket=ticket)

        none = post(lead, "generate-tasks")
        services.cancel_task(actor=lead, task_id=first.pk, reason="once more")
        made = post(lead, "generate-tasks")
        again = post(lead, "generate-tasks")

        assert (none.status_code, none.json()) == (200, [])
        assert made.status_code == 201
        assert [task["task_type"] for task in made.json()] == [first.task_type]
        assert (again.status_code, again.json()) == (200, [])

    def test_makes_nothing_where_the_ticket_is_blocked_or_closed(self, ticket, lead, post):
        services.transition(
            actor=lead, ticket_id=ticket.pk, to_phase="PHASE_BLOCKED", reason="there is no money"
        )

        blocked = post(lead, "generate-tasks")
        services.cancel_ticket(actor=lead, ticket_id=ticket.pk, reason="not wanted")

        assert (blocked.status_code, blocked.json()) == (200, [])
        assert post(lead, "generate-tasks").status_code == 409

    def test_is_for_those_with_a_part_in_it(self, ticket, agent, viewer, outsider, post):
        assert post(agent, "generate-tasks").status_code == 403
        assert post(viewer, "generate-tasks").status_code == 403
        assert post(outsider, "generate-tasks").status_code == 404
