"""Events: published and looked up for their agents per second, durably, alone and by the hundred.

Contestants, interleaved in one run on one database:
- lemnos: `orchestrator.services.publish_many`, a batch in one transaction: kind checked, secrets
  masked, event and hint to the relay written, triggers with their filters looked up
- raw SQL: the floor, the same rows in one statement for a batch, with the same lookup in SQL
- Redis: XADD of the batch in one pipeline, append-only file, one fsync each second (its default)
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench._measure import Goal, conclude, interleaved, prepare, timed

RAW_TABLES = """
DROP TABLE IF EXISTS bench_outbox, bench_trigger;
CREATE TABLE bench_outbox (
    id uuid PRIMARY KEY, seq bigint UNIQUE, team uuid NOT NULL, kind text NOT NULL,
    priority smallint NOT NULL, actor uuid, data jsonb NOT NULL, created_at timestamptz NOT NULL,
    hash text NOT NULL DEFAULT ''
);
CREATE INDEX ON bench_outbox (created_at, id) WHERE seq IS NULL;
CREATE INDEX ON bench_outbox (team, seq DESC);
CREATE TABLE bench_trigger (id bigint PRIMARY KEY, team uuid, type text, filters jsonb);
CREATE INDEX ON bench_trigger (team, type);
"""
RAW_PUBLISH = """
WITH told AS (
    INSERT INTO bench_outbox (id, team, kind, priority, actor, data, created_at)
    SELECT e.id, %(team)s, 'bench.happened', 3, %(team)s, e.data, now()
      FROM unnest(%(ids)s::uuid[], %(data)s::jsonb[]) AS e(id, data)
    RETURNING id, kind, data
), woken AS (SELECT pg_notify('bench', ''))
SELECT told.id, count(t.id) FROM woken, told LEFT JOIN bench_trigger t
    ON t.team = %(team)s AND t.type IN (told.kind, 'bench.*') AND told.data @> t.filters
 GROUP BY told.id
"""
PAYLOAD = {"device": "tv-1", "level": "high", "seconds": 300, "source": {"kind": "self"}}


def lemnos(total: int, batch: int) -> Callable[[], float]:
    from guardian import services as guardian
    from guardian.authority import service_actor
    from guardian.models import Team
    from orchestrator import agent_schema, services

    team = Team.objects.filter(slug="bench").first() or guardian.create_team(
        slug="bench", name="Bench"
    )
    actor = service_actor(team)
    spec = agent_schema.check(
        {
            "metadata": {"id": "bench", "name": "Bench", "version": "1.0.0", "author": "us"},
            "goal": {"type": "on-demand", "description": "Hears of everything."},
            "triggers": [{"type": "bench.*", "filters": {"level": "high"}}],
        }
    )
    services.publish_version(version=services.register_version(team=team, spec=spec)[0])

    def work() -> None:
        for _ in range(total // batch):
            told = services.publish_many(
                actor=actor, told=[("bench.happened", PAYLOAD, "normal")] * batch
            )
            assert {one.matched for one in told} == {1}

    return lambda: total / timed(work)


def raw_sql(total: int, batch: int) -> Callable[[], float]:
    from django.db import connection

    team = str(uuid4())
    with connection.cursor() as cursor:
        cursor.execute(RAW_TABLES)
        cursor.execute(
            "INSERT INTO bench_trigger VALUES (1, %s, 'bench.*', %s)",
            [team, json.dumps({"level": "high"})],
        )

    def work() -> None:
        with connection.cursor() as cursor:
            for _ in range(total // batch):
                arguments: dict[str, Any] = {
                    "team": team,
                    "ids": [uuid4() for _ in range(batch)],
                    "data": [json.dumps(PAYLOAD) for _ in range(batch)],
                }
                cursor.execute(RAW_PUBLISH, arguments)
                assert len(cursor.fetchall()) == batch

    return lambda: total / timed(work)


def redis_streams(folder: Path, total: int, batch: int) -> Callable[[], float]:
    import redis

    client = redis.Redis(unix_socket_path=str(folder / "redis.sock"))

    def work() -> None:
        for _ in range(total // batch):
            pipe = client.pipeline(transaction=False)
            for _ in range(batch):
                pipe.xadd("bench", {"kind": "bench.happened", "data": json.dumps(PAYLOAD)})
            pipe.execute()

    return lambda: total / timed(work)


def start_redis(folder: Path) -> "subprocess.Popen[bytes] | None":
    program = shutil.which("redis-server")
    if program is None:
        return None
    command = [program, "--port", "0", "--unixsocket", str(folder / "redis.sock")]
    command += ["--appendonly", "yes", "--dir", str(folder), "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not (folder / "redis.sock").exists():
        time.sleep(0.05)
    return process


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--events", type=int, default=500)
    arguments.add_argument("--rounds", type=int, default=5)
    asked = arguments.parse_args()
    prepare()
    contestants: dict[str, Callable[[], float]] = {}
    with tempfile.TemporaryDirectory() as name:
        redis = start_redis(Path(name))
        try:
            for batch, total in ((1, asked.events // 5), (100, asked.events)):
                contestants[f"lemnos, {batch}"] = lemnos(total, batch)
                contestants[f"raw SQL, {batch}"] = raw_sql(total, batch)
            if redis is not None:
                contestants["Redis, 100"] = redis_streams(Path(name), asked.events, 100)
            measured = interleaved(contestants, rounds=asked.rounds)
        finally:
            if redis is not None:
                redis.kill()
                redis.wait()
    rate = {who: statistics.median(values) for who, values in measured.items()}
    print("| contestant, batch | events/s (median) | lowest | highest |\n|---|---:|---:|---:|")
    for who, values in measured.items():
        print(f"| {who} | {rate[who]:.0f} | {min(values):.0f} | {max(values):.0f} |")
    goals = [
        Goal(
            f"lemnos / raw SQL, batch {n}",
            rate[f"lemnos, {n}"] / rate[f"raw SQL, {n}"],
            at_least=0.7,
        )
        for n in (1, 100)
    ]
    if redis is not None:
        goals.append(
            Goal("lemnos / Redis, batch 100", rate["lemnos, 100"] / rate["Redis, 100"], 0.4)
        )
    return conclude(goals)


if __name__ == "__main__":
    sys.exit(main())
