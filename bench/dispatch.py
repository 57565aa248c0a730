"""Dispatch, batch 1: no-op tasks claimed and completed one after the other, per second.

Contestants, interleaved in one run on one database:
- lemnos: `phases.services.complete_and_claim`, one commit for each task, with all it does: kill
  switch, budgets, locks, WIP, score, lease, fence, dependents, an event each for both halves
- two calls: `claim_tasks` and `complete_task`, each its own commit
- raw SQL: the floor, the same durable work in one fused statement over tables of its own:
  completing under its guards, freeing dependents, an event row each with its hint to the relay,
  claiming the next with a lease; no score, WIP, capabilities, kill switch, budgets, locks
- queue alone: the same without events, dependents and guards of the holder
- procrastinate: its own worker with one lane, without polling pauses
"""

import argparse
import asyncio
import statistics
import sys
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from bench._measure import Goal, conclude, interleaved, prepare, timed

RAW_TABLES = """
DROP TABLE IF EXISTS bench_ready, bench_task, bench_edge, bench_event;
CREATE TABLE bench_task (
    id bigint PRIMARY KEY, status text NOT NULL, fence bigint NOT NULL DEFAULT 0, holder uuid,
    deps_left int NOT NULL DEFAULT 0, lease_expires_at timestamptz, result jsonb
);
CREATE INDEX ON bench_task (holder) WHERE holder IS NOT NULL;
CREATE INDEX ON bench_task (lease_expires_at) WHERE status = 'assigned';
CREATE TABLE bench_ready (task_id bigint PRIMARY KEY, priority smallint, ready_at timestamptz);
CREATE INDEX ON bench_ready (priority, ready_at);
CREATE TABLE bench_edge (
    task_id bigint, depends_on bigint, satisfied boolean, PRIMARY KEY (task_id, depends_on)
);
CREATE INDEX ON bench_edge (depends_on);
CREATE TABLE bench_event (
    id uuid PRIMARY KEY, seq bigint UNIQUE, kind text NOT NULL, actor uuid, subject text NOT NULL,
    data jsonb NOT NULL, created_at timestamptz NOT NULL, hash text NOT NULL DEFAULT ''
);
CREATE INDEX ON bench_event (created_at, id) WHERE seq IS NULL;
CREATE INDEX ON bench_event (subject, seq);
"""
QUEUE_STEP = """
WITH done AS (
    UPDATE bench_task SET status = 'completed', lease_expires_at = NULL, result = '{}'
     WHERE id = %(done)s AND fence = %(fence)s AND status = 'assigned'
), best AS (
    SELECT task_id FROM bench_ready ORDER BY priority, ready_at LIMIT 1 FOR UPDATE SKIP LOCKED
), taken AS (
    DELETE FROM bench_ready r USING best WHERE r.task_id = best.task_id RETURNING r.task_id
)
UPDATE bench_task t SET status = 'assigned', fence = t.fence + 1,
       lease_expires_at = clock_timestamp() + interval '60 s'
  FROM taken WHERE t.id = taken.task_id RETURNING t.id, t.fence
"""
RAW_STEP = """
WITH done AS (
    UPDATE bench_task SET status = 'completed', lease_expires_at = NULL, holder = NULL,
           result = '{}'
     WHERE id = %(done)s AND fence = %(fence)s AND holder = %(holder)s AND status = 'assigned'
       AND lease_expires_at > clock_timestamp()
    RETURNING id
), edges AS (
    UPDATE bench_edge e SET satisfied = true FROM done
     WHERE e.depends_on = done.id AND NOT e.satisfied RETURNING e.task_id
), children AS (
    SELECT id FROM bench_task WHERE id IN (SELECT task_id FROM edges) ORDER BY id FOR UPDATE
), freed AS (
    UPDATE bench_task t SET deps_left = t.deps_left - 1 FROM children
     WHERE t.id = children.id RETURNING t.id, t.deps_left
), offered AS (
    INSERT INTO bench_ready SELECT id, 3, clock_timestamp() FROM freed WHERE deps_left = 0
), best AS (
    SELECT task_id FROM bench_ready ORDER BY priority, ready_at LIMIT 1 FOR UPDATE SKIP LOCKED
), taken AS (
    DELETE FROM bench_ready r USING best WHERE r.task_id = best.task_id RETURNING r.task_id
), claimed AS (
    UPDATE bench_task t SET status = 'assigned', fence = t.fence + 1, holder = %(holder)s,
           lease_expires_at = clock_timestamp() + interval '60 s'
      FROM taken WHERE t.id = taken.task_id RETURNING t.id, t.fence
), told AS (
    INSERT INTO bench_event (id, kind, actor, subject, data, created_at)
    SELECT gen_random_uuid(), e.kind, %(holder)s, e.id::text,
           jsonb_build_object('fence', e.fence), clock_timestamp()
      FROM (SELECT 'completed' AS kind, id, %(fence)s::bigint AS fence FROM done
             UNION ALL SELECT 'claimed', id, fence FROM claimed) e
     CROSS JOIN LATERAL (SELECT pg_notify('bench_outbox', '') WHERE e.id IS NOT NULL) hint
)
SELECT id, fence FROM claimed
"""


class Lemnos:
    """A team with one agent and a ticket in the backlog, which has neither limit nor gate."""

    def __init__(self, count: int) -> None:
        from guardian import services as guardian
        from guardian.authority import actor_for
        from phases import services

        self.count = count
        self.team = guardian.create_team(slug="bench", name="Bench")
        services.seed_team(team=self.team)
        lead = guardian.create_user(username="bench-lead")
        agent = guardian.create_user(username="bench-agent", kind="agent")
        guardian.set_membership(user=lead, team=self.team, role="operator")
        guardian.set_membership(user=agent, team=self.team, role="agent")
        self.lead, self.agent = actor_for(lead, self.team), actor_for(agent, self.team)
        self.ticket = services.open_ticket(
            actor=self.lead,
            title="Bench",
            workflow="software_development",
            phase="PHASE_BACKLOG",
        )

    def fill(self) -> None:
        from django.db import transaction

        from phases import services
        from phases.models import Ticket

        ticket = Ticket.objects.select_related("phase", "team").get(pk=self.ticket.pk)
        with transaction.atomic():
            for _ in range(self.count):
                services.create_task(
                    actor=self.lead,
                    ticket=ticket,
                    task_type="noop",
                    title="No-op",
                    required_capabilities=["noop"],
                )

    def by_services(self) -> float:
        from phases import services

        ask: dict[str, Any] = {"actor": self.agent, "capabilities": ["noop"]}

        def work() -> None:
            held = services.claim_tasks(**ask)[0].taken
            for _ in range(self.count - 1):
                held = (
                    services.complete_and_claim(
                        **ask, task_id=held.task_id, fence=held.fence, result={}
                    )
                    .claimed[0]
                    .taken
                )
            last = services.complete_and_claim(
                **ask, task_id=held.task_id, fence=held.fence, result={}
            )
            assert not last.claimed

        self.fill()
        return self.count / timed(work)

    def by_two_calls(self) -> float:
        from phases import services

        def work() -> None:
            for _ in range(self.count):
                held = services.claim_tasks(actor=self.agent, capabilities=["noop"])[0].taken
                services.complete_task(
                    actor=self.agent, task_id=held.task_id, fence=held.fence, result={}
                )

        self.fill()
        return self.count / timed(work)


def raw_sql(count: int, step: str) -> Callable[[], float]:
    import psycopg
    from django.db import connection

    parameters = connection.get_connection_params()
    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    database = psycopg.connect(**parameters, autocommit=True)
    database.execute(RAW_TABLES)
    holder = uuid4()

    def work() -> None:
        held: tuple[int | None, int] = (None, 0)
        for _ in range(count + 1):
            row = database.execute(
                step, {"done": held[0], "fence": held[1], "holder": holder}, prepare=True
            ).fetchone()
            held = (row[0], row[1]) if row else (None, 0)

    def contestant() -> float:
        with database.transaction():
            database.execute("TRUNCATE bench_task, bench_ready, bench_event")
            database.execute(
                "INSERT INTO bench_task (id, status)"
                " SELECT n, 'pending' FROM generate_series(1, %s) n",
                [count],
            )
            database.execute("INSERT INTO bench_ready SELECT id, 3, now() FROM bench_task")
        seconds = timed(work)
        left = database.execute(
            "SELECT count(*) FROM bench_task WHERE status <> 'completed'"
        ).fetchone()
        assert left == (0,), left
        told = database.execute("SELECT count(*) FROM bench_event").fetchone()
        assert told == (2 * count if step is RAW_STEP else 0,), told
        return count / seconds

    return contestant


def procrastinate(count: int) -> Callable[[], float]:
    from django.db import connection
    from procrastinate import App, PsycopgConnector

    parameters = connection.get_connection_params()
    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    app = App(connector=PsycopgConnector(kwargs=parameters, min_size=2, max_size=4))
    done: list[int] = []

    @app.task(queue="bench", name="bench.noop")
    def noop(number: int) -> None:
        done.append(number)

    async def run() -> float:
        async with app.open_async():
            done.clear()
            await noop.batch_defer_async(*({"number": n} for n in range(count)))
            loop = asyncio.get_running_loop()
            begin = loop.time()
            await app.run_worker_async(
                queues=["bench"],
                concurrency=1,
                wait=False,
                listen_notify=False,
                install_signal_handlers=False,
            )
            seconds = loop.time() - begin
        assert len(done) == count, len(done)
        return count / seconds

    return lambda: asyncio.run(run())


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tasks", type=int, default=300)
    arguments.add_argument("--rounds", type=int, default=5)
    asked = arguments.parse_args()
    prepare()
    lemnos = Lemnos(asked.tasks)
    measured = interleaved(
        {
            "lemnos": lemnos.by_services,
            "two calls": lemnos.by_two_calls,
            "raw SQL": raw_sql(asked.tasks, RAW_STEP),
            "queue alone": raw_sql(asked.tasks, QUEUE_STEP),
            "procrastinate": procrastinate(asked.tasks),
        },
        rounds=asked.rounds,
    )
    rate = {name: statistics.median(values) for name, values in measured.items()}
    print("| contestant | tasks/s (median) | lowest | highest |\n|---|---:|---:|---:|")
    for name, values in measured.items():
        print(f"| {name} | {rate[name]:.0f} | {min(values):.0f} | {max(values):.0f} |")
    return conclude(
        [
            Goal("lemnos / procrastinate", rate["lemnos"] / rate["procrastinate"], at_least=4.5),
            Goal("lemnos / raw SQL", rate["lemnos"] / rate["raw SQL"], at_least=0.8),
            Goal("lemnos / queue alone", rate["lemnos"] / rate["queue alone"], at_least=0.8),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
