"""Tasks under any order of verbs are as a plain model says: states, counts, queue, events."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar
from uuid import UUID

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from guardian.authority import Actor
from guardian.errors import DomainError
from phases import services
from phases.models import Phase, ReadyTask, Review, Task, TaskDependency, Ticket
from tests import factories

CAP = 2
ENDED_BADLY = {"failed", "cancelled"}
OVER = ENDED_BADLY | {"completed"}


@dataclass
class Model:
    """What a task should be, without a database."""

    reviewed: bool
    waits_for: set[UUID]
    status: str = "pending"
    holder: str = ""
    author: str = ""
    tries: int = 0
    losses: int = 0
    refusals: int = 0
    fence: int = 0
    reason: str = ""


class Tasks(RuleBasedStateMachine):
    """Two agents, a reviewer and an operator at the tasks of one ticket."""

    cast: ClassVar[dict[str, Actor]] = {}
    seen: ClassVar[set[str]] = set()
    ticket: Ticket

    tasks = Bundle("tasks")
    agents = st.sampled_from(["one", "two"])

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[UUID, Model] = {}
        self.atomic = transaction.atomic()
        self.atomic.__enter__()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.atomic.__exit__(None, None, None)

    # What the model knows

    def open_deps(self, pk: UUID) -> set[UUID]:
        deps = self.models[pk].waits_for
        return {dep for dep in deps if self.models[dep].status != "completed"}

    def ready(self) -> set[UUID]:
        waiting = {"pending", "needs_work"}
        return {
            pk
            for pk, model in self.models.items()
            if model.status in waiting and not self.open_deps(pk)
        }

    def settle(self) -> None:
        """Whoever waits for something that ended badly is blocked, and free when it is not."""
        for model in self.models.values():
            bad = any(self.models[dep].status in ENDED_BADLY for dep in model.waits_for)
            if bad and model.status in {"pending", "needs_work"}:
                model.status, model.reason = "blocked", "dependency"
            elif not bad and model.status == "blocked" and model.reason == "dependency":
                model.status, model.reason = "pending", ""

    def tell(self, pk: UUID) -> None:
        services.handle_final_task(task_id=pk)
        self.settle()

    def holds(self, pk: UUID, who: str) -> bool:
        return self.models[pk].status in {"assigned", "running"} and self.models[pk].holder == who

    def tried(self, does: bool, verb, **arguments) -> bool:
        """The verb succeeds exactly where the model says so."""
        said = None
        try:
            with transaction.atomic():
                verb(**arguments)
        except DomainError as refusal:
            said = refusal
        assert (said is None) == does, f"{verb.__name__}: {said or 'was not refused'}"
        return does

    # Verbs

    @initialize()
    def begin_in_the_middle(self):
        """One was sent back once and another waits for it: random steps seldom get that far."""
        made: list[UUID] = []
        for reviewed in (True, False):
            made.append(self.make(made[:1], reviewed=reviewed))
        self.work("one")
        self.verdict(made[0], passed=False)

    @rule(who=agents)
    def work(self, who):
        """Claim something and hand it in."""
        self.claim(who=who)
        for pk, model in self.models.items():
            if model.status == "assigned" and model.holder == who:
                self.end(pk, who, model.fence)

    @rule(target=tasks, deps=st.lists(tasks, max_size=2), reviewed=st.booleans())
    def create(self, deps, reviewed):
        if len(self.models) >= 7:
            return multiple()
        return self.make(deps, reviewed=reviewed)

    def make(self, deps: list[UUID], *, reviewed: bool) -> UUID:
        task = services.create_task(
            actor=self.cast["lead"],
            ticket=self.ticket,
            task_type="noop",
            title="x",
            phase_key="PHASE_BACKLOG" if reviewed else "PHASE_REQUIREMENTS",
            max_retries=1,
            depends_on=deps,
        )
        self.models[task.pk] = Model(reviewed=reviewed, waits_for=set(deps))
        self.settle()
        return task.pk

    @rule(task=tasks, on=tasks)
    def wait_for_another(self, task, on):
        model = self.models[task]
        closes = task in self.reached(on)
        waits = model.status in {"pending", "needs_work"} or model.reason == "dependency"
        known = on in model.waits_for
        if self.tried(
            not closes and (waits or known),
            services.add_dependencies,
            actor=self.cast["lead"],
            task_id=task,
            depends_on=[on],
        ):
            model.waits_for.add(on)
            self.settle()

    def reached(self, start: UUID) -> set[UUID]:
        found, todo = set(), [start]
        while todo:
            here = todo.pop()
            if here not in found:
                found.add(here)
                todo.extend(self.models[here].waits_for)
        return found

    @rule(who=agents)
    def claim(self, who):
        ReadyTask.objects.update(not_before=timezone.now() - timedelta(1), reserved_until=None)
        can = bool(self.ready())
        claimed = services.claim_tasks(actor=self.cast[who], capabilities=[], lease_seconds=600)
        assert bool(claimed) == can
        for one in claimed:
            assert one.taken.task_id in self.ready()
            model = self.models[one.taken.task_id]
            model.status, model.holder, model.fence = "assigned", who, one.taken.fence

    @rule(task=tasks, who=agents)
    def beat(self, task, who):
        model = self.models[task]
        if self.tried(
            self.holds(task, who),
            services.extend_lease,
            actor=self.cast[who],
            task_id=task,
            fence=model.fence,
        ):
            model.status = "running"

    def in_state(self, *states: str) -> list[UUID]:
        return [pk for pk, model in self.models.items() if model.status in states]

    @precondition(lambda self: self.in_state("assigned", "running"))
    @rule(data=st.data(), mine=st.integers(0, 4), stale=st.integers(0, 4))
    def complete(self, data, mine, stale):
        """Mostly by its holder with its fence; a repeat has tests of its own."""
        task = data.draw(st.sampled_from(self.in_state("assigned", "running")))
        model, stale = self.models[task], stale == 4
        who = model.holder if mine else data.draw(self.agents)
        self.end(task, who, model.fence - stale)

    def end(self, task: UUID, who: str, fence: int) -> None:
        model = self.models[task]
        if self.tried(
            self.holds(task, who) and fence == model.fence,
            services.complete_task,
            actor=self.cast[who],
            task_id=task,
            fence=fence,
            result={"by": who},
        ):
            model.author, model.holder = who, ""
            model.status = "under_review" if model.reviewed else "completed"

    @rule(task=tasks, who=agents, permanent=st.booleans())
    def fail(self, task, who, permanent):
        model = self.models[task]
        if self.tried(
            self.holds(task, who),
            services.fail_task,
            actor=self.cast[who],
            task_id=task,
            fence=model.fence,
            code="x",
            message="x",
            permanent=permanent,
        ):
            self.ended(task, for_good=permanent or model.tries >= 1)

    def ended(self, task: UUID, *, for_good: bool) -> None:
        model = self.models[task]
        model.holder = ""
        if for_good:
            model.status = "failed"
            self.tell(task)
        else:
            model.status, model.tries = "pending", model.tries + 1
            self.settle()

    @rule(task=tasks, who=agents)
    def release(self, task, who):
        model = self.models[task]
        if self.tried(
            self.holds(task, who),
            services.release_task,
            actor=self.cast[who],
            task_id=task,
            fence=model.fence,
            reason="busy",
        ):
            model.status, model.holder = "pending", ""

    @rule(task=tasks)
    def go_silent(self, task):
        model = self.models[task]
        if model.status not in {"assigned", "running"}:
            return
        Task.objects.filter(pk=task).update(lease_expires_at=timezone.now() - timedelta(1))
        never_began = model.status == "assigned"
        assert services.sweep_leases() == 1
        model.losses += 1
        model.tries += never_began and model.losses < 3
        model.status, model.holder = ("failed" if model.losses >= 3 else "pending"), ""
        if model.losses >= 3:
            self.tell(task)

    @rule(task=tasks)
    def cancel(self, task):
        model = self.models[task]
        if self.tried(
            model.status not in OVER,
            services.cancel_task,
            actor=self.cast["lead"],
            task_id=task,
            reason="not needed",
            grace_seconds=0,
        ):
            model.status, model.holder, model.reason = "cancelled", "", ""
            self.tell(task)

    @rule(task=tasks)
    def retry(self, task):
        model = self.models[task]
        if self.tried(
            model.status in ENDED_BADLY,
            services.retry_task,
            actor=self.cast["lead"],
            task_id=task,
            reason="once more",
        ):
            model.status = "pending"
            model.tries = model.losses = model.refusals = 0
            self.settle()

    @rule(task=tasks)
    def begin_review(self, task):
        model = self.models[task]
        if self.tried(
            model.status in {"under_review", "validating"},
            services.start_review,
            actor=self.cast["reviewer"],
            task_id=task,
        ):
            model.status = "validating"

    @precondition(lambda self: self.in_state("under_review", "validating"))
    @rule(data=st.data(), passed=st.booleans())
    def judge(self, data, passed):
        task = data.draw(st.sampled_from(self.in_state("under_review", "validating")))
        self.verdict(task, passed=passed)

    def verdict(self, task: UUID, *, passed: bool) -> None:
        self.begin_review(task=task)
        model = self.models[task]
        iteration = Review.objects.filter(task=task).count()
        services.give_verdict(
            actor=self.cast["reviewer"],
            task_id=task,
            iteration=iteration,
            passed=passed,
            feedback="" if passed else "not so",
        )
        model.refusals += not passed
        model.status = "completed" if passed else "needs_work"
        if not passed and model.refusals >= CAP:
            model.status, model.reason = "blocked", "review"

    def escalated(self) -> list[UUID]:
        return [pk for pk, model in self.models.items() if model.reason == "review"]

    @precondition(lambda self: self.escalated())
    @rule(data=st.data(), decision=st.sampled_from(["completed", "needs_work", "failed"]))
    def decide(self, data, decision):
        task = data.draw(st.sampled_from(self.escalated()))
        model = self.models[task]
        services.decide_review(
            actor=self.cast["lead"], task_id=task, decision=decision, reason="by a person"
        )
        model.status, model.reason = decision, ""
        if decision == "failed":
            self.tell(task)
        self.settle()

    # What always holds

    @invariant()
    def states_are_those_of_the_model(self):
        found = dict(Task.objects.filter(pk__in=self.models).values_list("pk", "status"))
        assert found == {pk: model.status for pk, model in self.models.items()}
        self.seen.update(model.reason or model.status for model in self.models.values())

    @invariant()
    def the_queue_holds_what_is_ready_and_nothing_else(self):
        assert set(ReadyTask.objects.values_list("task_id", flat=True)) == self.ready()

    @invariant()
    def counts_are_true(self):
        left = dict(Task.objects.filter(pk__in=self.models).values_list("pk", "deps_left"))
        assert left == {pk: len(self.open_deps(pk)) for pk in self.models}
        for ready in ReadyTask.objects.all():
            edges = TaskDependency.objects.filter(depends_on=ready.task_id, satisfied=False)
            assert ready.blockers == edges.count()

    @invariant()
    def nobody_holds_what_the_model_says_is_free(self):
        held = Task.objects.exclude(holder=None).values_list("pk", "holder_id")
        expected = {(pk, self.cast[m.holder].id) for pk, m in self.models.items() if m.holder}
        assert set(held) == expected


@pytest.mark.slow
@pytest.mark.django_db
def test_tasks_are_as_their_model_in_any_order(team, lead):
    services.seed_team(team=team)
    phases = Phase.objects.filter(workflow__key="software_development")
    phases.filter(key="PHASE_REQUIREMENTS").update(entry_task=None)
    phases.filter(key="PHASE_BACKLOG").update(review_required=True, max_review_iterations=CAP)
    Tasks.ticket = services.open_ticket(actor=lead, title="x", workflow="software_development")
    Tasks.cast = {
        "lead": lead,
        "reviewer": factories.make_actor(team, "rita", role="operator"),
        **{
            name: factories.make_actor(team, name, role="agent", kind="agent")
            for name in ("one", "two")
        },
    }

    run_state_machine_as_test(
        Tasks,
        settings=settings(
            max_examples=16,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )

    # It would be easy to be right about little.
    assert Tasks.seen >= {"needs_work", "review", "completed"}
