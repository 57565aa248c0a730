"""Choosing an agent, giving it a task, and ending both together."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.utils import ProgrammingError
from django.utils import timezone

from guardian import hosts
from guardian.models import Event, WorkerHost
from orchestrator import services
from orchestrator.dispatcher import Candidate, Work, choose, ranked, score, tokens, urgency
from orchestrator.errors import AgentBusy
from orchestrator.models import AgentExecution, AgentInstance, AgentVersion
from orchestrator.models.agents import INSTANCE_EDGES
from orchestrator.services.executions import Outcome
from phases import services as phases
from phases.models import ReadyTask, Task, Workflow
from phases.timeline import timeline

NOW = timezone.now()


def candidate(number: int = 1, **facts) -> Candidate:
    values = {"capabilities": tokens(["python", "test"]), "free": 1, **facts}
    return Candidate(id=UUID(int=number), **values)


class TestScore:
    @pytest.mark.parametrize(
        ("facts", "required", "expected"),
        [
            ({}, [], 1.25),
            ({}, ["python"], 1.25),
            ({}, ["python", "test"], 1.25),
            ({}, ["python", "rust"], 0.75),
            ({"state": "running"}, ["python"], 1.05),
            ({"health": "healthy"}, ["python"], 1.45),
            ({"state": "running", "health": "warning", "free": 3}, ["test"], 1.15),
            ({"free": 9, "health": "healthy"}, ["test"], 1.65),
            ({}, ["rust"], 0),
            ({"free": 0}, ["python"], 0),
            ({"health": "stale"}, ["python"], 0),
            ({"state": "paused"}, ["python"], 0),
        ],
    )
    def test_is_exact(self, facts, required, expected):
        assert score(candidate(**facts), tokens(required)) == pytest.approx(expected)

    def test_ties_go_to_the_longest_unassigned_then_to_the_id(self):
        early, late = NOW - timedelta(hours=1), NOW

        order = ranked(
            [
                candidate(3, last_assigned_at=late),
                candidate(2, last_assigned_at=early),
                candidate(5),
                candidate(4),
            ],
            tokens(["python"]),
        )

        assert [c.id.int for c, _ in order] == [4, 5, 2, 3]

    def test_a_choice_must_cover_the_whole_need(self):
        work = Work(UUID(int=9), tokens(["python", "rust"]), 3, NOW)

        assert choose([candidate()], work) is None

    def test_work_rises_one_level_for_each_ten_minutes(self):
        waited = Work(UUID(int=9), tokens([]), 3, NOW - timedelta(seconds=1250))

        assert urgency(waited, NOW)[0] == 1
        assert urgency(Work(UUID(int=8), tokens([]), 3, NOW), NOW)[0] == 3


@pytest.fixture
def crew(team):
    """The three built-in agents, and a worker host with room."""
    phases.seed_team(team=team)
    instances = {i.capabilities[0]: i for i in services.seed_agents(team=team)}
    hosts.announce(queues=["agents"], concurrency=8)
    return instances


@pytest.fixture
def ticket(lead, crew):
    return phases.open_ticket(
        actor=lead, title="Look at it", workflow="repo_checkup", phase="PHASE_INTAKE",
        context={"source": {"kind": "self"}},
    )  # fmt: skip


def entry_task(ticket) -> Task:
    return Task.objects.get(ticket=ticket)


class TestPlacing:
    def test_gives_the_task_to_the_agent_that_can_and_queues_its_execution(
        self, team, crew, ticket
    ):
        placed = services.dispatch(team_id=team.pk)

        task, execution = entry_task(ticket), AgentExecution.objects.get()
        assert placed == 1
        assert (task.status, task.holder_id) == ("assigned", crew["inventory"].user_id)
        assert (execution.task_id, execution.fence, execution.state) == (
            task.pk, task.fence, "queued",
        )  # fmt: skip
        assert execution.input["source"] == {"kind": "self"}
        assert AgentInstance.objects.get(pk=crew["inventory"].pk).state == "running"
        assert _jobs_of(execution) == ["orchestrator.run_execution"]

    def test_a_second_round_places_nothing_twice(self, team, crew, ticket):
        services.dispatch(team_id=team.pk)

        assert services.dispatch(team_id=team.pk) == 0
        assert AgentExecution.objects.count() == 1

    def test_places_nothing_without_a_live_host(self, team, ticket):
        hosts.withdraw()

        assert services.dispatch(team_id=team.pk) == 0
        assert entry_task(ticket).status == "pending"

    def test_places_nothing_while_the_runtime_is_stopped(self, team, lead, ticket):
        services.switch_runtime(actor=lead, running=False, reason="maintenance")

        assert services.dispatch(team_id=team.pk) == 0

        services.switch_runtime(actor=lead, running=True)
        assert services.dispatch(team_id=team.pk) == 1

    def test_a_paused_agent_gets_nothing_and_the_task_says_why(self, team, lead, crew, ticket):
        services.pause_agent(actor=lead, instance_id=crew["inventory"].pk, reason="looking at it")

        assert services.dispatch(team_id=team.pk) == 0
        assert entry_task(ticket).dispatch_note == "no_capable_agent"
        assert Event.objects.filter(kind="orchestrator.dispatch.refused").count() == 1

        services.dispatch(team_id=team.pk)
        assert Event.objects.filter(kind="orchestrator.dispatch.refused").count() == 1

    def test_never_more_than_the_agent_has_slots(self, team, lead, crew):
        for number in range(4):
            phases.open_ticket(
                actor=lead,
                title=f"No. {number}",
                workflow="repo_checkup",
                context={"source": {"kind": "self"}},
                phase="PHASE_INTAKE",
            )

        assert services.dispatch(team_id=team.pk) == 2
        waiting = ReadyTask.objects.first()
        with pytest.raises(AgentBusy):
            services.place(instance_id=crew["inventory"].pk, task_id=waiting.task_id)
        assert AgentExecution.objects.count() == 2
        assert Task.objects.get(pk=waiting.task_id).status == "pending"

    def test_work_that_nobody_here_can_do_hides_no_other(self, team, lead, crew):
        from phases.services.tasks import create_task

        other = phases.open_ticket(actor=lead, title="Elsewhere", workflow="software_development")
        for number in range(205):
            create_task(
                actor=lead, ticket=other, task_type="x", title=f"{number}",
                required_capabilities=["rust"],
            )  # fmt: skip
        phases.open_ticket(
            actor=lead, title="Here", workflow="repo_checkup", context={"source": {"kind": "self"}}
        )

        assert services.dispatch(team_id=team.pk) == 1
        assert Task.objects.filter(dispatch_note="no_capable_agent").count() == 200

    def test_what_anybody_could_do_is_left_to_whoever_asks_for_it(self, team, lead, agent, crew):
        ticket = phases.open_ticket(actor=lead, title="Elsewhere", workflow="software_development")
        chore = phases.create_task(
            actor=lead, ticket=ticket, task_type="chore", title="Sweep the floor"
        )

        assert services.dispatch(team_id=team.pk) == 0

        [held] = phases.claim_tasks(actor=agent, capabilities=[])
        assert held.task.pk == chore.pk

    def test_nor_is_it_handed_to_a_built_in_agent_that_ends_another(self, team, lead, crew, ticket):
        services.dispatch(team_id=team.pk)
        held = entry_task(ticket)
        phases.create_task(
            actor=lead, ticket=ticket, task_type="chore", title="Sweep the floor", priority=1
        )

        over = phases.complete_and_claim(
            actor=services.agent_actor(crew["inventory"]),
            task_id=held.pk,
            fence=held.fence,
            result={},
            capabilities=["inventory"],
            needing=True,
        )

        assert over.claimed == []
        assert ReadyTask.objects.get().task.title == "Sweep the floor"

    def test_a_budget_that_is_spent_keeps_the_task_waiting_and_named(self, team, crew, ticket):
        from guardian import services as guardian
        from guardian.models import Budget

        guardian.build_first_pack()
        Budget.objects.create(
            team=team, scope_type="team", scope_id=str(team.pk), limit=Decimal("0.001")
        )

        assert services.dispatch(team_id=team.pk) == 0
        assert entry_task(ticket).dispatch_note == "budget_exceeded"
        assert not AgentExecution.objects.exists()


@pytest.fixture
def execution(team, crew, ticket) -> AgentExecution:
    services.dispatch(team_id=team.pk)
    return AgentExecution.objects.get()


class TestExecution:
    def test_starting_beats_for_the_task(self, execution):
        started = services.start_execution(execution_id=execution.pk, host="here:1")

        assert (started.state, started.host, started.attempt) == ("running", "here:1", 1)
        assert Task.objects.get(pk=execution.task_id).status == "running"

    def test_success_completes_the_task_and_frees_the_slot(self, execution, crew):
        services.start_execution(execution_id=execution.pk, host="here:1")

        ended = services.finish_execution(
            execution_id=execution.pk,
            attempt=1,
            outcome=Outcome("succeeded", result={"summary": "counted"}),
        )

        task = Task.objects.get(pk=execution.task_id)
        assert (ended.state, task.status, task.result["summary"]) == (
            "success", "completed", "counted",
        )  # fmt: skip
        assert ended.duration_seconds is not None
        assert AgentInstance.objects.get(pk=crew["inventory"].pk).state == "idle"

    def test_a_late_second_end_changes_nothing(self, execution):
        services.start_execution(execution_id=execution.pk, host="here:1")
        services.finish_execution(
            execution_id=execution.pk, attempt=1, outcome=Outcome("succeeded", result={})
        )

        services.finish_execution(
            execution_id=execution.pk,
            attempt=1,
            outcome=Outcome("failed", code="broken", message="too late"),
        )

        assert AgentExecution.objects.get().state == "success"
        assert Task.objects.get(pk=execution.task_id).status == "completed"

    def test_a_transient_failure_gives_the_task_another_try(self, execution):
        services.start_execution(execution_id=execution.pk, host="here:1")

        ended = services.finish_execution(
            execution_id=execution.pk,
            attempt=1,
            outcome=Outcome("failed", code="flaky", message="again", permanent=False),
        )

        task = Task.objects.get(pk=execution.task_id)
        assert (ended.state, task.status, task.retry_count) == ("failed", "pending", 1)

    def test_a_permanent_failure_blocks_the_ticket_with_the_reason(self, execution, ticket):
        services.start_execution(execution_id=execution.pk, host="here:1")
        services.finish_execution(
            execution_id=execution.pk,
            attempt=1,
            outcome=Outcome("failed", code="archive_invalid", message="This is no archive."),
        )

        phases.advance_ticket(ticket_id=ticket.pk)

        ticket = type(ticket).objects.select_related("phase").get(pk=ticket.pk)
        assert ticket.phase.key == "PHASE_BLOCKED"
        assert "This is no archive." in ticket.blocked_reason

    def test_a_lost_host_is_followed_by_another_on_the_same_fence(self, execution):
        services.start_execution(execution_id=execution.pk, host="here:1")

        again = services.start_execution(execution_id=execution.pk, host="there:2")
        late = services.finish_execution(
            execution_id=execution.pk, attempt=1, outcome=Outcome("succeeded", result={})
        )

        task = Task.objects.select_related("ticket__workflow").get(pk=execution.task_id)
        assert (again.attempt, again.host, again.fence) == (2, "there:2", execution.fence)
        assert (late.state, task.status) == ("running", "running")
        told = [row["text"] for row in timeline(task.ticket, [task])]
        assert told[0] == f"went on with “{task.title}” where a lost worker had left it"

    def test_a_host_lost_three_times_fails_the_task_for_good(self, execution):
        for number in range(3):
            silent_host(f"here:{number}")
            services.start_execution(execution_id=execution.pk, host=f"here:{number}")

        assert services.start_execution(execution_id=execution.pk, host="here:4") is None
        assert AgentExecution.objects.get().error_code == "host_lost"
        assert Task.objects.get(pk=execution.task_id).status == "failed"

    def test_a_host_that_took_its_leave_is_no_lost_host(self, execution):
        for number in range(6):
            started = services.start_execution(execution_id=execution.pk, host=f"gone:{number}")

        assert (started.attempt, started.lost_hosts, started.state) == (6, 0, "running")

    def test_an_execution_whose_lease_is_over_is_aborted_not_run(self, execution):
        Task.objects.filter(pk=execution.task_id).update(
            lease_expires_at=timezone.now() - timedelta(seconds=1)
        )

        assert services.start_execution(execution_id=execution.pk, host="here:1") is None
        assert AgentExecution.objects.get().state == "aborted"

    def test_the_sweep_closes_what_lost_its_task_and_frees_the_agent(self, execution, crew):
        services.start_execution(execution_id=execution.pk, host="here:1")
        Task.objects.filter(pk=execution.task_id).update(
            lease_expires_at=timezone.now() - timedelta(seconds=1)
        )
        phases.sweep_leases()

        assert services.sweep_executions() == 1
        row = AgentExecution.objects.get()
        assert (row.state, row.error_code) == ("aborted", "lease_lost")
        assert AgentInstance.objects.get(pk=crew["inventory"].pk).state == "idle"

    def test_the_sweep_leaves_what_goes_on(self, execution):
        services.start_execution(execution_id=execution.pk, host="here:1")

        assert services.sweep_executions() == 0


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_four_dispatchers_place_each_task_once_and_overfill_nobody(self, team, lead, crew):
        for number in range(6):
            phases.open_ticket(
                actor=lead,
                title=f"No. {number}",
                workflow="repo_checkup",
                context={"source": {"kind": "self"}},
            )
        start = threading.Barrier(4)

        def round_of_placing() -> int:
            start.wait()
            try:
                return services.dispatch(team_id=team.pk)
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            placed = [f.result() for f in [pool.submit(round_of_placing) for _ in range(4)]]

        rows = AgentExecution.objects.all()
        assert sum(placed) == rows.count() == 2  # what the inventory agent can hold
        assert len({row.task_id for row in rows}) == 2
        assert Task.objects.held().count() == 2


class TestDatabase:
    def test_one_execution_per_task_and_fence(self, execution):
        with pytest.raises(IntegrityError, match="execution_is_one_per_task_and_fence"):
            AgentExecution.objects.create(
                team=execution.team, kind="task", task=execution.task, fence=execution.fence
            )

    def test_an_ended_execution_stays_ended(self, execution):
        services.start_execution(execution_id=execution.pk, host="here:1")
        services.finish_execution(
            execution_id=execution.pk, attempt=1, outcome=Outcome("succeeded", result={})
        )

        with pytest.raises(ProgrammingError, match="success"), transaction.atomic():
            AgentExecution.objects.update(state="running", finished_at=None)

    def test_published_content_never_changes(self, crew):
        with pytest.raises(IntegrityError, match="fixed"), transaction.atomic():
            AgentVersion.objects.update(content={})

    def test_every_edge_of_an_agents_state_is_open(self, crew):
        instance = AgentInstance.objects.filter(pk=crew["report"].pk)

        for source, target in INSTANCE_EDGES:
            _force(crew["report"], source)
            instance.update(state=target)

            assert instance.get().state == target

    def test_every_pair_of_agent_states_that_is_no_edge_is_refused(self, crew):
        states = AgentInstance.State.values
        instance = crew["report"]
        pairs = [(source, target) for source in states for target in states if source != target]
        refused = [pair for pair in pairs if pair not in INSTANCE_EDGES]
        for source, target in refused:
            with pytest.raises(ProgrammingError), transaction.atomic():  # noqa: PT012  the trigger may refuse either step
                _force(instance, source)
                AgentInstance.objects.filter(pk=instance.pk).update(state=target)

        assert AgentInstance.objects.get(pk=instance.pk).state == "idle"
        assert len(refused) == len(pairs) - len(set(INSTANCE_EDGES))


class TestSeed:
    def test_seeding_again_changes_nothing(self, team, crew):
        before = list(AgentInstance.objects.order_by("id").values())

        services.seed_agents(team=team)

        assert list(AgentInstance.objects.order_by("id").values()) == before
        assert AgentVersion.objects.count() == 3

    def test_every_phase_with_an_entry_task_has_an_agent_that_can(self, team, crew):
        needs = [
            frozenset(phase.entry_task["required_capabilities"])
            for phase in Workflow.objects.get(team=team, key="repo_checkup").phases.all()
            if phase.entry_task
        ]
        offered = [frozenset(i.capabilities) for i in crew.values()]

        assert needs
        assert all(any(need <= offer for offer in offered) for need in needs)


def silent_host(name: str) -> None:
    """A worker that was killed: it is on the list and beats no more."""
    long_ago = timezone.now() - timedelta(minutes=5)
    WorkerHost.objects.create(
        name=name, queues=["agents"], concurrency=1, started_at=long_ago, heartbeat_at=long_ago
    )


def _force(instance, state) -> None:
    """Puts a row into a state behind the triggers' back; only the way there is cheated."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            "UPDATE orchestrator_agentinstance SET state = %s WHERE id = %s", [state, instance.pk]
        )
        cursor.execute("SET LOCAL session_replication_role = origin")


def _jobs_of(execution: AgentExecution) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT task_name FROM procrastinate_jobs WHERE args->>'execution_id' = %s",
            [str(execution.pk)],
        )
        return [row[0] for row in cursor.fetchall()]
