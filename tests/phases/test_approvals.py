"""K-16: tickets that somebody else must let begin."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from guardian.errors import Forbidden, IllegalTransition, SelfReview, StaleVersion
from guardian.models import Event
from phases import jobs, services
from phases.errors import ApprovalRequired, TicketClosed
from phases.gates import evaluate
from phases.models import BoardColumn, ReadyTask, Task, Ticket, Workflow
from phases.why import why
from tests import factories


@pytest.fixture
def flow(team):
    services.seed_team(team=team)
    flow = Workflow.objects.get(team=team, key="software_development")
    flow.approval_required = True
    flow.save()
    return flow


@pytest.fixture
def ticket(flow, lead):
    return services.open_ticket(actor=lead, title="Ship", workflow=flow.key)


@pytest.fixture
def column(ticket):
    """Where it waits; asked anew each time."""
    return lambda: BoardColumn.objects.get(pk=ticket.column_id)


@pytest.fixture
def post(api, ticket):
    """Ask for a verb on the ticket."""

    def asked(actor, verb, body=None, ticket=ticket):
        where = f"/api/v1/tickets/{ticket.pk}/{verb}"
        return api(actor).post(where, body or {}, format="json")

    return asked


def kinds(ticket):
    rows = Event.objects.filter(subject_id=str(ticket.pk)).order_by("id")
    return [row.kind.removeprefix("phases.ticket.") for row in rows]


def overdue(ticket):
    Ticket.objects.filter(pk=ticket.pk).update(
        approval_expires_at=timezone.now() - timedelta(seconds=1)
    )


class TestAsking:
    def test_a_new_ticket_waits_with_its_tasks_and_takes_no_place(self, ticket, column, lead):
        assert ticket.approval_status == "pending_review"
        left = ticket.approval_expires_at - timezone.now()
        assert timedelta(minutes=29) < left <= timedelta(minutes=30)
        assert kinds(ticket) == ["created", "approval_requested"]
        assert Task.objects.filter(ticket=ticket, status="pending").count() == 1
        assert not ReadyTask.objects.exists()
        assert (column().admitted_count, column().queued_count) == (0, 0)
        assert services.claim_tasks(actor=lead, capabilities=["analysis"]) == []

    def test_is_found_by_its_state(self, ticket, viewer, api):
        client = api(viewer)

        waiting = client.get("/api/v1/tickets?approval_status=pending_review").json()["results"]
        approved = client.get("/api/v1/tickets?approval_status=approved").json()["results"]

        assert [row["id"] for row in waiting] == [str(ticket.pk)]
        assert waiting[0]["approval_expires_at"]
        assert approved == []
        assert client.get("/api/v1/tickets?approval_status=perhaps").status_code == 400


class TestApproving:
    def test_admits_the_ticket_and_readies_its_tasks(self, ticket, column, admin, agent, post):
        answer = post(admin, "approve")

        assert answer.status_code == 200
        assert answer.json()["approval_status"] == "approved"
        assert answer.json()["approval_expires_at"] is None
        assert answer.json()["admitted_at"]
        assert kinds(ticket)[2:] == ["approved", "updated"]
        assert (column().admitted_count, column().queued_count) == (1, 0)
        [claim] = services.claim_tasks(actor=agent, capabilities=["analysis"])
        assert claim.task.ticket_id == ticket.pk

    def test_queues_it_where_the_column_is_full(self, ticket, column, admin, post):
        BoardColumn.objects.filter(pk=ticket.column_id).update(wip_limit=1)
        first = services.open_ticket(actor=admin, title="First", workflow=ticket.workflow.key)
        lena = factories.make_actor(admin.team, "lisa", role="operator", authority=3)
        services.approve_ticket(actor=lena, ticket_id=first.pk)

        answer = post(admin, "approve")

        assert answer.json()["admitted_at"] is None
        assert (column().admitted_count, column().queued_count) == (1, 1)
        assert not ReadyTask.objects.filter(ticket=ticket).exists()
        services.cancel_ticket(actor=admin, ticket_id=first.pk, reason="not wanted")
        services.admit_queued(column_id=ticket.column_id)
        assert ReadyTask.objects.filter(ticket=ticket).exists()

    def test_is_for_people_of_level_3_other_than_its_author(
        self, ticket, lead, agent, viewer, outsider, post
    ):
        strong = factories.make_actor(
            ticket.team, "coder-2", role="agent", kind="agent", authority=3
        )
        weak = factories.make_actor(ticket.team, "otto", role="operator", authority=2)

        answers = {who.name: post(who, "approve") for who in (lead, agent, strong, weak, viewer)}

        codes = {name: (a.status_code, a.json()["code"]) for name, a in answers.items()}
        assert codes == {
            "lena": (403, "self_review"),
            "coder-1": (403, "authority_too_low"),
            "coder-2": (403, "forbidden"),
            "otto": (403, "authority_too_low"),
            "vera": (403, "scope_missing"),
        }
        for verb in ("approve", "resubmit"):
            assert post(outsider, verb).status_code == 404
        assert post(outsider, "reject", {"reason": "not one of ours"}).status_code == 404
        assert Ticket.objects.get(pk=ticket.pk).approval_status == "pending_review"

    def test_happens_once(self, ticket, admin, post):
        post(admin, "approve")

        again = post(admin, "approve")

        assert (again.status_code, again.json()["code"]) == (409, "illegal_transition")
        assert kinds(ticket).count("approved") == 1

    def test_can_be_bound_to_what_was_read(self, ticket, admin):
        with pytest.raises(StaleVersion):
            services.approve_ticket(actor=admin, ticket_id=ticket.pk, version=9)

    def test_means_nothing_where_none_is_asked_for(self, flow, lead, admin):
        free = services.open_ticket(actor=lead, title="Free", workflow="default")

        with pytest.raises(IllegalTransition):
            services.approve_ticket(actor=admin, ticket_id=free.pk)


class TestRejecting:
    def test_needs_a_reason_and_parks_the_ticket(self, ticket, admin, post):
        without = post(admin, "reject")
        answer = post(admin, "reject", {"reason": "too dear for us"})

        assert without.status_code == 400
        assert (answer.status_code, answer.json()["approval_status"]) == (200, "rejected")
        event = Event.objects.get(kind="phases.ticket.rejected")
        assert event.reason == "too dear for us"
        assert post(admin, "approve").status_code == 409
        assert not ReadyTask.objects.exists()

    def test_its_author_asks_again(self, ticket, lead, admin, agent, post):
        post(admin, "reject", {"reason": "too dear for us"})

        stranger = post(agent, "resubmit")
        answer = post(lead, "resubmit", {"reason": "cheaper now"})

        assert (stranger.status_code, stranger.json()["code"]) == (403, "not_yours")
        assert answer.json()["approval_status"] == "pending_review"
        assert answer.json()["approval_expires_at"]
        assert kinds(ticket).count("approval_requested") == 2
        assert post(lead, "resubmit").status_code == 409
        assert post(admin, "approve").json()["approval_status"] == "approved"

    def test_no_agent_rejects(self, ticket, agent):
        with pytest.raises(Forbidden):
            services.reject_ticket(actor=agent, ticket_id=ticket.pk, reason="not mine")

    def test_nor_its_author(self, ticket, lead):
        with pytest.raises(SelfReview):
            services.reject_ticket(actor=lead, ticket_id=ticket.pk, reason="changed my mind")


class TestTimeout:
    def test_puts_aside_and_deletes_nothing(self, ticket):
        assert jobs.put_aside_unanswered(0) == 0
        overdue(ticket)

        assert jobs.put_aside_unanswered(0) == 1

        parked = Ticket.objects.get(pk=ticket.pk)
        assert (parked.approval_status, parked.status) == ("timed_out", "pending")
        assert parked.approval_expires_at is None
        assert Task.objects.filter(ticket=ticket, status="pending").exists()
        assert kinds(ticket)[2:] == ["approval_timed_out", "updated"]
        assert jobs.put_aside_unanswered(0) == 0

    @pytest.mark.parametrize("verb", ["approve", "reject", "resubmit"])
    def test_may_still_be_decided_or_asked_again(self, ticket, admin, verb, post):
        overdue(ticket)
        services.put_aside_unanswered()

        assert post(admin, verb, {"reason": "better late"}).status_code == 200

    def test_leaves_closed_tickets_alone(self, ticket, lead):
        services.cancel_ticket(actor=lead, ticket_id=ticket.pk, reason="not wanted")
        overdue(ticket)

        assert services.put_aside_unanswered() == 0
        reopened = services.reopen_ticket(actor=lead, ticket_id=ticket.pk, reason="wanted again")
        assert reopened.admitted_at is None
        assert reopened.approval_expires_at > timezone.now()


class TestMeanwhile:
    def test_it_does_not_move_forward_even_by_override(self, ticket, lead, admin, api):
        with pytest.raises(ApprovalRequired):
            services.transition(actor=lead, ticket_id=ticket.pk, to_phase="PHASE_DESIGN")
        answer = api(lead).post(
            f"/api/v1/tickets/{ticket.pk}/transition",
            {"to_phase": "PHASE_DESIGN", "override": True, "reason": "we are in a hurry"},
            format="json",
        )

        assert (answer.status_code, answer.json()["code"]) == (409, "approval_required")
        assert answer.json()["remedy"]["text"]
        services.approve_ticket(actor=admin, ticket_id=ticket.pk)
        forward = services.transition(
            actor=lead,
            ticket_id=ticket.pk,
            to_phase="PHASE_DESIGN",
            override=True,
            reason="we are in a hurry",
        )
        assert forward.ticket.phase.key == "PHASE_DESIGN"

    def test_moves_by_itself_say_approval_and_go_on_when_it_is_there(self, ticket, admin):
        told = services.advance_ticket(ticket_id=ticket.pk)

        assert told == {"moved": False, "to_phase": None, "reason": "approval"}
        assert Ticket.objects.get(pk=ticket.pk).auto_wait["reason"] == "approval"
        services.approve_ticket(actor=admin, ticket_id=ticket.pk)
        assert Ticket.objects.get(pk=ticket.pk).auto_wait is None
        assert services.advance_ticket(ticket_id=ticket.pk)["reason"] == "tasks_open"

    def test_it_can_be_blocked_and_come_back_without_a_place(self, ticket, lead, column):
        services.transition(
            actor=lead, ticket_id=ticket.pk, to_phase="PHASE_BLOCKED", reason="there is no money"
        )
        back = services.retry_ticket(actor=lead, ticket_id=ticket.pk, reason="money again")

        assert back.ticket.phase_id == ticket.phase_id
        assert back.ticket.admitted_at is None
        assert not ReadyTask.objects.exists()
        assert (column().admitted_count, column().queued_count) == (0, 0)

    @pytest.mark.parametrize("end", [services.cancel_ticket, services.fail_ticket])
    def test_it_can_be_ended_and_then_not_be_decided(self, ticket, lead, admin, end):
        end(actor=lead, ticket_id=ticket.pk, reason="not wanted")

        with pytest.raises(TicketClosed):
            services.approve_ticket(actor=admin, ticket_id=ticket.pk)
        assert not Task.objects.still_open().filter(ticket=ticket).exists()


class TestWords:
    """What the panel says of it, and what an operator's page offers."""

    @pytest.mark.parametrize(
        ("verb", "head"),
        [(None, "Needs approval"), ("reject", "Not approved"), ("put_aside", "Put aside")],
    )
    def test_the_panel_says_what_it_waits_for(self, ticket, admin, verb, head):
        if verb == "reject":
            services.reject_ticket(actor=admin, ticket_id=ticket.pk, reason="too dear for us")
        if verb == "put_aside":
            overdue(ticket)
            services.put_aside_unanswered()
        fresh = Ticket.objects.select_related("phase", "column", "workflow").get(pk=ticket.pk)

        told = why(fresh, [], evaluate(fresh), now=timezone.now())

        assert told.head == head

    def test_an_operator_approves_what_others_opened(self, ticket, lead, admin, client):
        where = reverse("admin:phases_ticket_change", args=[ticket.pk])

        client.force_login(lead.user)
        own = client.get(where).content.decode()
        client.force_login(admin.user)
        others = client.get(where).content.decode()

        assert "Ask for approval again" not in others
        assert ">Approve<" in others.replace("\n", "").replace(" ", "")
        assert own.count("Approve") < others.count("Approve")


def test_priorities_are_filtered_by_word_and_number(flow, lead, api):
    for level in (Ticket.Priority.HIGH, Ticket.Priority.LOW):
        services.open_ticket(actor=lead, title=level.label, workflow=flow.key, priority=level)
    client = api(lead)

    for query in ("priority=HIGH", "priority=2", "priority__in=HIGH,CRITICAL"):
        rows = client.get(f"/api/v1/tickets?{query}").json()["results"]
        assert [row["priority"] for row in rows] == ["HIGH"]
    assert client.get("/api/v1/tickets?priority=URGENT").status_code == 400
