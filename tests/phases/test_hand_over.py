"""Complete and claim the next: one statement, with every guard of the two verbs it stands for."""

import threading
from decimal import Decimal
from itertools import pairwise
from uuid import UUID

import pytest
from django.db import connection, transaction

from guardian import relay
from guardian import services as guardian
from guardian.errors import Invalid, KillSwitchOn, LeaseLost
from guardian.models import Budget, CostRecord, Event, ResourceLock
from phases import claims, services
from phases.errors import CancelRequested, CompletedBefore
from phases.models import Phase, ReadyTask, Task, TaskDependency, Ticket
from phases.services import endings
from tests import factories

NOOP = ["noop"]


@pytest.fixture
def flow(team):
    services.seed_team(team=team)


@pytest.fixture
def ticket(flow, lead) -> Ticket:
    return services.open_ticket(
        actor=lead, title="Many small things", workflow="software_development",
        phase="PHASE_BACKLOG",
    )  # fmt: skip


@pytest.fixture
def make(ticket, lead):
    def task(title="x", **fields) -> Task:
        fields = {"task_type": "noop", "required_capabilities": NOOP, **fields}
        return services.create_task(actor=lead, ticket=ticket, title=title, **fields)

    return task


def begin(actor) -> claims.Taken:
    return services.claim_tasks(actor=actor, capabilities=NOOP)[0].taken


def go_on(actor, held, **fields) -> services.HandedOver:
    fields = {"result": {}, "capabilities": NOOP, **fields}
    return services.complete_and_claim(
        actor=actor, task_id=held.task_id, fence=held.fence, **fields
    )


def complete(actor, held) -> list[UUID]:
    return services.complete_task(actor=actor, task_id=held.task_id, fence=held.fence, result={})[1]


def told(*kinds: str) -> list[tuple[str, str]]:
    wanted = [f"phases.task.{kind}" for kind in kinds]
    events = Event.objects.filter(kind__in=wanted).order_by("created_at", "id")
    return [(e.kind.rpartition(".")[2], e.subject_id) for e in events]


class TestHandOver:
    def test_completes_and_claims_the_next_with_an_event_for_each(self, make, agent, team):
        first, second = make("first"), make("second")
        held = begin(agent)

        over = go_on(agent, held, result={"summary": "done"})

        assert [claim.task.pk for claim in over.claimed] == [second.pk]
        first.refresh_from_db()
        second.refresh_from_db()
        assert (first.status, first.result, first.holder) == (
            "completed",
            {"summary": "done"},
            None,
        )
        assert (second.status, second.holder_id, second.fence) == ("assigned", agent.id, 1)
        assert not ReadyTask.objects.exists()
        assert told("completed", "claimed")[1:] == [
            ("completed", str(first.pk)),
            ("claimed", str(second.pk)),
        ]

    def test_an_event_of_the_statement_equals_one_of_emit(self, make, agent, team, ticket):
        make(), make()

        go_on(agent, begin(agent))

        done = Event.objects.get(kind="phases.task.completed")
        assert (done.team_id, done.alias, done.priority) == (team.pk, "task.completed", 3)
        assert (done.actor_id, done.actor_kind, done.authority) == (
            agent.id,
            agent.kind,
            agent.authority,
        )
        assert (done.subject_label, done.source) == ("phases.task", "internal")
        assert done.data == {"ticket_id": str(ticket.pk), "fence": 1, "unblocked": []}
        claimed = Event.objects.filter(kind="phases.task.claimed").last()
        assert claimed.data == {"ticket_id": str(ticket.pk), "fence": 1, "holder": agent.name}

    def test_the_relay_numbers_its_events_once_without_a_gap(self, make, agent):
        for number in range(5):
            make(str(number))
        held = begin(agent)
        while True:
            over = go_on(agent, held)
            if not over.claimed:
                break
            held = over.claimed[0].taken

        relay.run_once()

        stamped = list(Event.objects.order_by("seq").values_list("seq", "prev_hash", "hash"))
        assert [seq for seq, _, _ in stamped] == list(range(1, len(stamped) + 1))
        assert all(row[1] == before[2] for before, row in pairwise(stamped))
        assert len(told("completed")) == len(told("claimed")) == 5

    def test_frees_what_waited_and_hands_it_over_when_nothing_else_is_there(self, make, agent):
        first = make("first")
        second = make("second", depends_on=[first.pk])

        over = go_on(agent, begin(agent))

        assert over.unblocked == [second.pk]
        assert [claim.task.pk for claim in over.claimed] == [second.pk]
        assert TaskDependency.objects.get().satisfied
        assert told("completed", "readied")[1:] == [
            ("completed", str(first.pk)),
            ("readied", str(second.pk)),
        ]
        readied = Event.objects.filter(kind="phases.task.readied").last()
        assert (readied.actor_id, readied.actor_kind, readied.id.version) == (None, "system", 7)

    def test_frees_only_what_waits_for_nothing_more_and_may_be_done_now(self, make, agent, ticket):
        later = Phase.objects.get(workflow=ticket.workflow, key="PHASE_TESTING")
        first, other = make("first"), make("other", required_capabilities=["elsewhere"])
        make("both", depends_on=[first.pk, other.pk])
        ahead = make("ahead", depends_on=[first.pk], phase=later)

        over = go_on(agent, begin(agent))

        assert (over.unblocked, over.claimed) == ([ahead.pk], [])
        assert set(ReadyTask.objects.values_list("task_id", flat=True)) == {other.pk}
        assert Task.objects.get(title="both").deps_left == 1

    def test_what_others_wait_for_comes_first(self, make, agent):
        plain, wanted = make("plain"), make("wanted")
        make("child", depends_on=[wanted.pk])

        assert ReadyTask.objects.get(task=wanted).blockers == 1
        assert begin(agent).task_id == wanted.pk
        assert begin(agent).task_id == plain.pk


class TestGuards:
    def test_an_old_fence_is_refused_and_claims_nothing(self, make, agent, lead):
        make(), make()
        held = begin(agent)
        services.release_task(actor=lead, task_id=held.task_id, fence=None, reason="stuck")
        events = Event.objects.count()

        with pytest.raises(LeaseLost):
            go_on(agent, held)

        assert ReadyTask.objects.count() == 2
        assert Event.objects.count() == events

    def test_a_lease_that_is_over_is_refused(self, make, agent):
        make(), make()
        held = begin(agent)
        connection.cursor().execute(
            "UPDATE phases_task SET lease_expires_at = now() - interval '1 s' WHERE id = %s",
            [held.task_id],
        )

        with pytest.raises(LeaseLost):
            go_on(agent, held)

        assert ReadyTask.objects.count() == 1

    def test_a_result_that_nobody_could_read_is_refused(self, make, agent):
        make(), make()

        with pytest.raises(Invalid):
            go_on(agent, begin(agent), result={"summary": 1})

        assert ReadyTask.objects.count() == 1

    def test_a_cancel_that_was_asked_for_is_told(self, make, agent, lead):
        make(), make()
        held = begin(agent)
        services.cancel_task(actor=lead, task_id=held.task_id, reason="no longer wanted")

        with pytest.raises(CancelRequested):
            go_on(agent, held)

    def test_told_again_it_has_no_second_effect_and_claims_nothing(self, make, agent):
        make(), make(), make()
        held = begin(agent)
        go_on(agent, held)

        again = go_on(agent, held)

        assert again.claimed == []
        assert isinstance(again.refused, CompletedBefore)
        assert len(told("completed")) == 1
        assert ReadyTask.objects.count() == 1

    @pytest.mark.parametrize("how", [complete, go_on])
    def test_told_again_it_names_the_same_freed_tasks(self, make, agent, how):
        first = make("first")
        child = make("child", depends_on=[first.pk], required_capabilities=["elsewhere"])
        held = begin(agent)
        how(agent, held)

        assert complete(agent, held) == [child.pk]
        assert go_on(agent, held).unblocked == [child.pk]

    def test_a_kill_switch_lets_the_work_end_and_nothing_begin(self, make, agent, admin):
        make(), make()
        held = begin(agent)
        guardian.set_kill_switch(actor=admin, on=True, reason="stop")

        over = go_on(agent, held)

        assert isinstance(over.refused, KillSwitchOn)
        assert over.claimed == []
        assert Task.objects.get(pk=held.task_id).status == "completed"
        assert ReadyTask.objects.count() == 1

    def test_a_kill_switch_thrown_after_the_completion_stops_the_claim(
        self, make, agent, admin, team, monkeypatch
    ):
        guardian.build_first_pack()
        Budget.objects.create(team=team, scope_type="team", limit=Decimal(1))
        make(), make()
        held = begin(agent)

        def late(**fields):
            guardian.set_kill_switch(actor=admin, on=True, reason="stop")
            return services.claim_tasks(**fields)

        monkeypatch.setattr(endings, "claim_tasks", late)
        over = go_on(agent, held)

        assert isinstance(over.refused, KillSwitchOn)
        assert Task.objects.get(pk=held.task_id).status == "completed"
        assert ReadyTask.objects.count() == 1

    def test_the_purse_is_settled_and_asked_again(self, make, agent, team):
        guardian.build_first_pack()
        budget = Budget.objects.create(team=team, scope_type="team", limit=Decimal("0.06"))
        make(), make()
        held = begin(agent)

        over = go_on(agent, held)

        assert len(over.claimed) == 1
        budget.refresh_from_db()
        assert budget.reserved == Decimal("0.054")
        assert CostRecord.objects.filter(kind="release", task_id=held.task_id).count() == 1

    def test_an_empty_purse_ends_the_work_and_leaves_the_next_with_its_reason(
        self, make, agent, team
    ):
        guardian.build_first_pack()
        budget = Budget.objects.create(team=team, scope_type="team", limit=Decimal("0.06"))
        make(), make()
        held = begin(agent)
        Budget.objects.filter(pk=budget.pk).update(spent=Decimal("0.05"))

        over = go_on(agent, held)

        assert (over.claimed, over.refused) == ([], None)
        assert Task.objects.get(pk=held.task_id).status == "completed"
        waiting = ReadyTask.objects.select_related("task").get().task
        assert (waiting.status, waiting.dispatch_note) == ("pending", "budget_exceeded")

    def test_locks_go_from_one_task_to_the_next(self, make, agent):
        lock = [{"resource_type": "repo", "resource_id": "mail", "mode": "exclusive"}]
        make(required_locks=lock), make(required_locks=lock)
        held = begin(agent)

        over = go_on(agent, held)

        (claim,) = over.claimed
        assert [one.resource_id for one in claim.locks] == ["mail"]
        assert ResourceLock.objects.get(released_at=None).task_id == claim.task.pk

    def test_a_full_next_column_holds_the_next_task_back(self, ticket, make, agent, lead):
        make(), make()
        held = begin(agent)
        column = ticket.phase.next_column
        type(column).objects.filter(pk=column.pk).update(wip_limit=1)
        services.open_ticket(
            actor=lead, title="in the way", workflow="software_development",
            phase=Phase.objects.filter(column=column).first().key,
        )  # fmt: skip

        over = go_on(agent, held)

        assert (over.claimed, over.refused) == ([], None)
        assert Task.objects.get(pk=held.task_id).status == "completed"

    def test_in_a_transaction_that_is_undone_it_leaves_nothing(self, make, agent):
        make(), make()
        held = begin(agent)
        events = Event.objects.count()

        with transaction.atomic():
            go_on(agent, held)
            transaction.set_rollback(True)

        assert Task.objects.get(pk=held.task_id).status == "assigned"
        assert (ReadyTask.objects.count(), Event.objects.count()) == (1, events)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_workers_that_hand_over_do_each_task_once(self):
        team = factories.make_team()
        services.seed_team(team=team)
        lead = factories.make_actor(team, "lena", role="operator")
        workers = [
            factories.make_actor(team, f"w-{n}", role="agent", kind="agent") for n in range(4)
        ]
        ticket = services.open_ticket(
            actor=lead, title="x", workflow="software_development", phase="PHASE_BACKLOG"
        )
        made: list[Task] = []
        for number in range(40):
            made.append(
                services.create_task(
                    actor=lead, ticket=ticket, task_type="noop", title=str(number),
                    required_capabilities=NOOP,
                    depends_on=[made[number // 3].pk] if number % 4 == 3 else [],
                )
            )  # fmt: skip
        done: list[object] = []
        barrier = threading.Barrier(len(workers))

        def work(actor) -> None:
            barrier.wait()
            try:
                for _ in range(200):
                    if len(done) == len(made):
                        return
                    claimed = services.claim_tasks(actor=actor, capabilities=NOOP)
                    while claimed:
                        held = claimed[0].taken
                        claimed = go_on(actor, held).claimed
                        done.append(held.task_id)
            finally:
                connection.close()

        threads = [threading.Thread(target=work, args=(actor,)) for actor in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(done) == len(set(done)) == len(made)
        assert set(Task.objects.filter(task_type="noop").values_list("status", "fence")) == {
            ("completed", 1)
        }
        relay.run_once()
        assert len(told("completed")) == len(told("claimed")) == len(made)
        seqs = list(Event.objects.order_by("seq").values_list("seq", flat=True))
        assert seqs == list(range(1, len(seqs) + 1))
