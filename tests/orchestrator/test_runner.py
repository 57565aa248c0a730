"""An execution's run: lost jobs, cancelled runs, runs that wait for another host."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from guardian import hosts
from guardian import services as guardian
from orchestrator import runner, services
from orchestrator.keeper import LeaseKeeper
from orchestrator.models import AgentExecution, AgentInstance, PatternRun, RuntimeSwitch, StepRun
from orchestrator.services.executions import Outcome
from phases import services as phases
from phases.models import Task
from tests.e2e.processes import wait_for


@pytest.fixture
def execution(team, lead) -> AgentExecution:
    guardian.build_first_pack()
    phases.seed_team(team=team)
    services.seed_patterns()
    services.seed_agents(team=team)
    hosts.announce(queues=["agents"], concurrency=2)
    phases.open_ticket(
        actor=lead, title="x", workflow="repo_checkup", context={"source": {"kind": "self"}}
    )
    services.dispatch(team_id=team.pk)
    row = AgentExecution.objects.get()
    services.start_execution(execution_id=row.pk, host="here:1")
    actor = services.agent_actor(row.instance)
    services.begin_pattern(execution_id=row.pk, actor=actor)
    return AgentExecution.objects.select_related("run").get()


def jobs_of(execution: AgentExecution) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM procrastinate_jobs WHERE args->>'execution_id' = %s",
            [str(execution.pk)],
        )
        return cursor.fetchone()[0]


class TestALostJob:
    def test_a_run_that_nobody_took_is_offered_again_once(self, execution):
        before = jobs_of(execution)
        PatternRun.objects.update(updated_at=timezone.now() - timedelta(seconds=31))

        services.offer_again()
        services.offer_again()

        assert jobs_of(execution) == before + 1

    def test_its_lease_is_not_kept_beyond_the_deadline(self, execution):
        now = timezone.now()
        PatternRun.objects.update(
            updated_at=now - timedelta(hours=2), deadline=now - timedelta(hours=1)
        )
        Task.objects.update(lease_expires_at=now + timedelta(seconds=5))

        assert services.offer_again() == 0
        assert services.renew_waiting_leases() == 0


class TestTheNext:
    @pytest.fixture
    def second(self, execution, lead):
        source = {"source": {"kind": "self"}}
        return phases.open_ticket(actor=lead, title="y", workflow="repo_checkup", context=source)

    def end(self, execution):
        services.finish_execution(
            execution_id=execution.pk, attempt=execution.attempt, outcome=Outcome("succeeded")
        )
        return AgentExecution.objects.exclude(pk=execution.pk)

    def test_comes_with_the_end_of_an_execution(self, execution, second):
        (following,) = self.end(execution)

        assert (following.task.ticket_id, following.state) == (second.pk, "queued")
        assert following.instance_id == execution.instance_id
        assert (following.fence, following.task.status) == (1, "assigned")
        assert jobs_of(following) == 1
        execution.refresh_from_db()
        assert (execution.state, execution.task.status) == ("success", "completed")
        assert execution.instance.state == "running"

    @pytest.mark.parametrize("stop", ["switch", "kill", "leaving", "paused", "stale", "hosts"])
    def test_waits_for_a_round_where_the_agent_may_not_go_on(
        self, execution, second, stop, team, admin, monkeypatch
    ):
        if stop == "switch":
            RuntimeSwitch.objects.update_or_create(team=team, defaults={"running": False})
        elif stop == "kill":
            guardian.set_kill_switch(actor=admin, on=True, reason="stop")
        elif stop == "leaving":
            monkeypatch.setattr(hosts, "is_leaving", lambda: True)
        elif stop == "paused":
            execution.instance.pause()
            execution.instance.save()
        elif stop == "stale":
            AgentInstance.objects.update(health="stale")
        else:  # the one slot that is left may be somebody else's turn
            hosts.announce(queues=["agents"], concurrency=1)

        assert not self.end(execution).exists()
        assert Task.objects.get(ticket=second).status == "pending"
        assert Task.objects.get(pk=execution.task_id).status == "completed"


class TestFairness:
    """One host with one slot: an execution ends, then each team has its round."""

    @pytest.fixture
    def busy(self, execution, lead):
        hosts.announce(queues=["agents"], concurrency=1)
        ticket = open_backlog(lead, "many", "x")
        for number in range(8):
            add_task(lead, ticket, str(number), "inventory")

    def drive(self, *teams):
        """The titles of what is done, in order."""
        done = []
        for _ in range(6):
            row = AgentExecution.objects.still_open().select_related("task").get()
            if row.state == "queued":
                row = services.start_execution(execution_id=row.pk, host="here:1")
            done.append(row.task.title)
            services.finish_execution(
                execution_id=row.pk, attempt=row.attempt, outcome=Outcome("succeeded")
            )
            for team in teams:
                services.dispatch(team_id=team.pk)
        return done

    def test_another_teams_urgent_work_is_not_passed_over(self, busy, team, outsider):
        phases.seed_team(team=outsider.team)
        services.seed_agents(team=outsider.team)
        ticket = open_backlog(outsider, "theirs", "x", priority=1)
        add_task(outsider, ticket, "urgent", "inventory")

        assert "urgent" in self.drive(outsider.team, team)

    def test_another_agents_urgent_work_is_not_passed_over(self, busy, team, lead):
        ticket = open_backlog(lead, "ours", "x", priority=1)
        add_task(lead, ticket, "urgent", "report")

        assert "urgent" in self.drive(team)


def open_backlog(actor, title, description, **fields):
    return phases.open_ticket(
        actor=actor,
        title=title,
        description=description,
        workflow="software_development",
        phase="PHASE_BACKLOG",
        **fields,
    )


def add_task(actor, ticket, title, capability):
    phases.create_task(
        actor=actor, ticket=ticket, task_type="x", title=title, required_capabilities=[capability]
    )


class TestWaiting:
    def test_keeps_the_lease_and_holds_no_slot(self, execution, team, lead):
        _set_state(execution.run, "waiting")
        Task.objects.update(lease_expires_at=timezone.now() + timedelta(seconds=5))
        phases.open_ticket(
            actor=lead, title="next", workflow="repo_checkup", context={"source": {"kind": "self"}}
        )

        assert services.renew_waiting_leases() == 1
        assert services.dispatch(team_id=team.pk) == 1


class TestACancelledRun:
    def test_fails_the_task_for_a_person_to_look_at(self, execution, lead):
        services.cancel_run(run_id=execution.run_id, actor=lead, reason="wrong source")

        outcome = runner.conclude(PatternRun.objects.get(pk=execution.run_id), "")
        services.finish_execution(execution_id=execution.pk, attempt=1, outcome=outcome)

        task = Task.objects.get(pk=execution.task_id)
        assert (task.status, task.error_code) == ("failed", "run_cancelled")


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
class TestCalledOff:
    def test_a_queued_execution_does_not_start_under_the_kill_switch(self, execution, lead):
        AgentExecution.objects.filter(pk=execution.pk).update(state="queued", run=None)
        guardian.set_kill_switch(actor=lead, on=True, reason="it spends too much")

        runner.run(execution.pk)

        assert not StepRun.objects.exclude(started_at=None).exists()
        assert Task.objects.get(pk=execution.task_id).status == "pending"
        execution.refresh_from_db()
        assert (execution.state, execution.error_code) == ("aborted", "kill_switch_on")

    def test_the_kill_switch_gives_the_task_back(self, execution, lead):
        keeper = LeaseKeeper(
            actor=services.agent_actor(execution.instance),
            execution=execution,
            lease_seconds=60,
            timeout_seconds=60,
        )
        with keeper:
            guardian.set_kill_switch(actor=lead, on=True, reason="it spends too much")
            wait_for(keeper.should_stop, seconds=15, why=lambda: "it was never told")
        outcome = Outcome("stopped", code=keeper.reason)
        services.finish_execution(execution_id=execution.pk, attempt=1, outcome=outcome)

        task = Task.objects.get(pk=execution.task_id)
        assert (task.status, task.holder_id) == ("pending", None)
        assert task.fence == execution.fence + 1
        execution.refresh_from_db()
        assert (execution.state, execution.error_code) == ("aborted", "kill_switch_on")


def _set_state(run: PatternRun, state: str) -> None:
    """As the executor leaves it; by the same edges."""
    PatternRun.objects.filter(pk=run.pk).update(
        state="running", lease_until=timezone.now() + timedelta(seconds=45)
    )
    PatternRun.objects.filter(pk=run.pk).update(state=state, lease_until=None)
