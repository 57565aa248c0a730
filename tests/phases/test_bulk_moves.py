"""Moving many cards at once: each answered for itself, or all or none."""

import threading
from functools import partial
from typing import Any

import pytest
from django.db import transaction

from guardian.bulk import BatchRefused
from guardian.models import Event
from phases import services
from phases.models import (
    BoardColumn,
    GateRequirement,
    Phase,
    PhaseGateResult,
    PhaseHistory,
    Ticket,
)
from phases.services import CardMove
from tests import factories
from tests.beside import PATIENCE_SECONDS, Beside

BULK = "/api/v1/board/bulk-move"
WHY = "the harbour is closed"


@pytest.fixture
def flow(team):
    services.seed_team(team=team)


def open_ticket(actor) -> Ticket:
    return services.open_ticket(
        actor=actor, title="A ship", workflow="software_development", phase="PHASE_BACKLOG"
    )


def wish(ticket: Ticket, column: str = "blocked", version: int | None = None) -> dict[str, Any]:
    return {
        "ticket_id": str(ticket.pk), "column": column, "version": version or ticket.version
    }  # fmt: skip


def column_of(ticket: Ticket) -> str:
    return Ticket.objects.get(pk=ticket.pk).column.key


def send(client, *moves, **more):
    return client.post(BULK, {"moves": list(moves), "reason": WHY, **more}, format="json")


@pytest.mark.django_db
@pytest.mark.usefixtures("flow")
class TestEachForItself:
    def test_each_card_that_may_move_moves(self, api, lead):
        first, second = open_ticket(lead), open_ticket(lead)

        answer = send(api(lead), wish(second), wish(first))

        assert answer.status_code == 200, answer.content
        told = answer.json()["results"]
        assert [r["ticket_id"] for r in told] == [str(second.pk), str(first.pk)]
        for result, ticket in zip(told, (second, first), strict=True):
            now = Ticket.objects.get(pk=ticket.pk)
            assert result == {
                "id": str(ticket.pk), "ticket_id": str(ticket.pk), "ok": True, "status": 200,
                "version": now.version,
            }  # fmt: skip
            assert now.column.key == "blocked"
            assert PhaseHistory.objects.filter(ticket=ticket, transition_reason=WHY).exists()

    def test_one_refused_keeps_none_of_the_others(self, api, lead, outsider):
        services.seed_team(team=outsider.team)
        fine, stale, lost = open_ticket(lead), open_ticket(lead), open_ticket(lead)
        foreign, nowhere = open_ticket(outsider), Ticket(pk=outsider.team.pk, version=1)
        unread = wish(lost)
        del unread["version"]

        answer = send(
            api(lead), wish(stale, version=7), wish(foreign), wish(nowhere),
            wish(lost, column="attic"), wish(fine),
        )  # fmt: skip
        told = answer.json()["results"]

        assert answer.status_code == 200
        assert [(r["ok"], r["status"], r.get("code")) for r in told] == [
            (False, 412, "stale_version"), (False, 404, "not_found"), (False, 404, "not_found"),
            (False, 400, "invalid"), (True, 200, None),
        ]  # fmt: skip
        assert told[0]["current_etag"] == f'"v{stale.version}"'
        assert {**told[1], "id": "", "ticket_id": ""} == {**told[2], "id": "", "ticket_id": ""}
        assert [column_of(t) for t in (stale, lost, fine)] == ["backlog", "backlog", "blocked"]
        [result] = send(api(lead), unread).json()["results"]
        assert (result["status"], result["code"]) == (428, "version_required")

    def test_the_order_is_theirs_so_that_one_makes_room_for_another(self, api, lead):
        leaves, enters = open_ticket(lead), open_ticket(lead)
        for ticket in (leaves, enters):
            services.transition(
                actor=lead, ticket_id=ticket.pk, to_phase="PHASE_BLOCKED", reason=WHY
            )
        services.move_card(
            actor=lead, ticket_id=leaves.pk, column="backlog", version=None, reason=WHY
        )
        BoardColumn.objects.filter(workflow=leaves.workflow, key="backlog").update(wip_limit=1)
        leaves.refresh_from_db()
        enters.refresh_from_db()

        answer = send(api(lead), wish(leaves), wish(enters, "backlog"), atomic=True)

        assert answer.status_code == 200, answer.content
        assert (column_of(leaves), column_of(enters)) == ("blocked", "backlog")


@pytest.mark.django_db
@pytest.mark.usefixtures("flow")
class TestAllOrNothing:
    @pytest.mark.parametrize("word", ["atomic", "all_or_nothing"])
    def test_one_refused_undoes_all(self, api, lead, word):
        fine, stale = open_ticket(lead), open_ticket(lead)
        before = Event.objects.count()

        answer = send(api(lead), wish(fine), wish(stale, version=7), **{word: True})

        body = answer.json()
        assert (answer.status_code, body["code"]) == (409, "conflict")
        assert [(r["ok"], r["code"]) for r in body["results"]] == [
            (False, "conflict"), (False, "stale_version"),
        ]  # fmt: skip
        assert column_of(fine) == "backlog"
        assert Event.objects.exclude(kind__startswith="guardian.token").count() == before

    def test_the_two_names_may_not_contradict_each_other(self, api, lead):
        answer = send(api(lead), wish(open_ticket(lead)), atomic=True, all_or_nothing=False)

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["path"] == "atomic"

    def test_a_repeated_request_moves_nothing_twice(self, api, lead):
        client, ticket = api(lead), open_ticket(lead)
        body = {"moves": [wish(ticket)], "reason": WHY, "atomic": True}

        answers = [
            client.post(BULK, body, format="json", headers={"Idempotency-Key": "k1"})
            for _ in range(2)
        ]

        assert answers[0].status_code == 200, answers[0].content
        assert answers[1]["Idempotency-Replayed"] == "true"
        assert answers[0].json() == answers[1].json()
        assert PhaseHistory.objects.filter(ticket=ticket, transition_reason=WHY).count() == 1

    def test_a_refusal_is_kept_under_its_key_too(self, api, lead):
        client, ticket = api(lead), open_ticket(lead)
        body = {"moves": [wish(ticket, version=9)], "atomic": True}

        first, again = [
            client.post(BULK, body, format="json", headers={"Idempotency-Key": "k2"})
            for _ in range(2)
        ]

        assert (first.status_code, again.status_code) == (409, 409)
        assert first.json()["results"] == again.json()["results"]


@pytest.mark.django_db
@pytest.mark.usefixtures("flow")
class TestWhatIsAsked:
    def test_a_ticket_named_twice_is_refused_whole(self, api, lead):
        ticket = open_ticket(lead)

        answer = send(api(lead), wish(ticket), wish(ticket, "backlog"))

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["path"] == "moves[1].ticket_id"

    @pytest.mark.parametrize("count", [0, 101])
    def test_one_to_a_hundred_moves(self, api, lead, count):
        move = {"ticket_id": str(lead.team.pk), "column": "blocked", "version": 1}

        assert send(api(lead), *[move] * count).status_code == 400

    def test_a_reader_moves_nothing(self, api, lead, viewer):
        assert send(api(viewer), wish(open_ticket(lead))).status_code == 403


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_two_batches_in_opposite_order_wait_for_one_another_and_both_end():
    team = factories.make_team()
    services.seed_team(team=team)
    lead = factories.make_actor(team, "lena", role="operator", authority=4)
    tickets = [open_ticket(lead) for _ in range(4)]
    moves = [CardMove(ticket.pk, "blocked", ticket.version) for ticket in tickets]

    with transaction.atomic():
        services.move_cards(actor=lead, moves=moves, all_or_nothing=True, reason=WHY)
        other = Beside(
            lambda: services.move_cards(
                actor=lead, moves=moves[::-1], all_or_nothing=True, reason=WHY
            )
        )
        other.wait_until_blocked()
    other.join(PATIENCE_SECONDS)

    assert isinstance(other.refusal, BatchRefused)
    assert {r["code"] for r in other.refusal.data["results"]} == {"stale_version"}
    assert {column_of(ticket) for ticket in tickets} == {"blocked"}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_batches_that_start_at_once_never_stand_in_a_circle():
    team = factories.make_team()
    services.seed_team(team=team)
    lead = factories.make_actor(team, "lena", role="operator", authority=4)
    tickets = [open_ticket(lead) for _ in range(3)]
    moves = [CardMove(ticket.pk, "blocked", ticket.version) for ticket in tickets]

    for _ in range(5):
        beside = [
            Beside(partial(services.move_cards, actor=lead, moves=some, reason=WHY))
            for some in (moves, moves[::-1])
        ]
        for each in beside:
            each.join(PATIENCE_SECONDS)
            assert each.result is not None  # a deadlock would have ended one with an error
        for ticket in tickets:
            services.move_card(
                actor=lead, ticket_id=ticket.pk, column="backlog", version=None, reason=WHY
            )
        fresh = Ticket.objects.in_bulk([ticket.pk for ticket in tickets])
        moves = [CardMove(pk, "blocked", ticket.version) for pk, ticket in fresh.items()]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_card_that_moves_while_a_batch_waits_for_its_column_is_locked_behind_the_new_one():
    team = factories.make_team()
    services.seed_team(team=team)
    lead = factories.make_actor(team, "lena", role="operator", authority=4)
    ticket = open_ticket(lead)
    go_on = threading.Event()

    def hold_the_new_column_and_ask_for_the_card():
        with transaction.atomic():
            BoardColumn.objects.select_for_update(no_key=True).get(
                workflow=ticket.workflow, key="blocked"
            )
            go_on.wait(PATIENCE_SECONDS)
            return Ticket.objects.select_for_update(no_key=True).get(pk=ticket.pk).column.key

    with transaction.atomic():
        moved = services.move_card(
            actor=lead, ticket_id=ticket.pk, column="blocked", version=ticket.version, reason=WHY
        )
        other = Beside(hold_the_new_column_and_ask_for_the_card)
        other.wait_until_blocked()
        move = CardMove(ticket.pk, "backlog", moved.version)
        batch = Beside(partial(services.move_cards, actor=lead, moves=[move]))
        batch.wait_until_blocked()
    batch.wait_until_blocked()
    go_on.set()
    other.join(PATIENCE_SECONDS)
    batch.join(PATIENCE_SECONDS)

    assert other.result == "blocked"
    assert [result["ok"] for result in batch.result] == [True]


@pytest.mark.django_db
@pytest.mark.usefixtures("flow")
class TestGates:
    """What a gate answered is kept though the move is undone, and what it asked of others too."""

    def in_testing(self, actor) -> Ticket:
        return services.open_ticket(
            actor=actor, title="x", workflow="software_development", phase="PHASE_TESTING"
        )

    @pytest.mark.parametrize("atomic", [False, True])
    @pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "once-and-for-all"}])
    def test_a_refusal_leaves_its_answer_once(self, api, lead, atomic, headers):
        refused, fine = self.in_testing(lead), open_ticket(lead)
        body = {
            "moves": [wish(refused, "deploying"), wish(fine)], "reason": WHY, "atomic": atomic,
        }  # fmt: skip

        answer = api(lead).post(BULK, body, format="json", headers=headers)

        assert answer.status_code == (409 if atomic else 200)
        told = answer.json()["results"][0]
        assert (told["ok"], told["code"]) == (False, "gate_not_passed")
        stored = PhaseGateResult.objects.get(ticket=refused)
        assert told["unmet"] == stored.blocking_reasons
        assert Event.objects.filter(kind="phases.gate.evaluated").count() == 1
        assert column_of(fine) == ("backlog" if atomic else "blocked")

    def test_the_checks_that_lack_are_asked_for_once(self, api, lead):
        ticket = self.in_testing(lead)
        Phase.objects.filter(pk=ticket.phase_id).update(expected_outputs=[], done_definitions=[])
        GateRequirement.objects.filter(phase=ticket.phase_id).delete()
        services.add_requirement(
            actor=lead, phase_id=ticket.phase_id, key="readme", kind="file_exists",
            parameters={"path": "README.md"},
        )  # fmt: skip

        for _ in range(3):
            send(api(lead), wish(ticket, "deploying"))

        assert Event.objects.filter(kind="phases.gate.check_requested").count() == 1
        assert PhaseGateResult.objects.filter(ticket=ticket).count() == 3
