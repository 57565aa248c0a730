"""Locks: fenced leases taken and given back, per second, by one client and by eight.

Contestants, interleaved in one run:
- lemnos: `guardian.services.acquire_lock` and `release_lock`: a lease by the database clock, a
  fence that only rises, the exclusion constraint, who holds it for whom, an event for both verbs
- redis: SET NX PX with a fence from INCR, both in one Lua script, and the compare-and-delete
  script to give it back, through redis-py on a unix socket, without persistence
- raw SQL: the floor of a lease row, one INSERT … ON CONFLICT and one DELETE, committed as lemnos
  commits (`synchronous_commit` off), no exclusion of ranges, no events

A lease need not outlive a crash of the server, its fence does: so leases do not wait for the disk,
and the end of each block of fences does (migration `locks`).
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench._measure import Goal, conclude, interleaved, prepare, timed

# KEYS: the lock, the counter of fences. ARGV: the holder, the lease in milliseconds.
TAKE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return false end
local fence = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. fence, 'NX', 'PX', ARGV[2])
return fence
"""
GIVE_BACK = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
RAW_TABLE = """
DROP TABLE IF EXISTS bench_lease;
DROP SEQUENCE IF EXISTS bench_fence;
CREATE SEQUENCE bench_fence;
CREATE TABLE bench_lease (
    resource text PRIMARY KEY, holder uuid NOT NULL, fence bigint NOT NULL,
    expires_at timestamptz NOT NULL
);
"""
RAW_TAKE = """
INSERT INTO bench_lease VALUES (%s, %s, nextval('bench_fence'), clock_timestamp() + interval '60 s')
ON CONFLICT (resource) DO UPDATE SET holder = EXCLUDED.holder, fence = EXCLUDED.fence,
   expires_at = EXCLUDED.expires_at WHERE bench_lease.expires_at <= clock_timestamp()
RETURNING fence
"""
RAW_GIVE_BACK = "DELETE FROM bench_lease WHERE resource = %s AND fence = %s RETURNING fence"
Client = Callable[[int], None]


@contextmanager
def redis_server() -> Iterator[str]:
    """A server of our own on a unix socket; its path."""
    program = shutil.which("redis-server")
    if program is None:
        sys.exit("redis-server is not installed, and without it there is nothing to compare with.")
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "redis.sock"
        process = subprocess.Popen(
            [program, "--port", "0", "--unixsocket", str(socket), "--save", "",
             "--appendonly", "no", "--dir", folder],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while not socket.exists():
                time.sleep(0.05)
            yield str(socket)
        finally:
            process.terminate()
            process.wait(10)


def lemnos() -> Client:
    from guardian import services
    from guardian.authority import actor_for

    slug = f"bench-{uuid4().hex[:8]}"
    team = services.create_team(slug=slug, name="Bench")
    user = services.create_user(username=slug, kind="agent")
    services.set_membership(user=user, team=team, role="agent")
    actor = actor_for(user, team)

    def work(number: int) -> None:
        lease = services.acquire_lock(
            actor=actor, resource_type="bench", resource_id=str(number), lease_seconds=60
        )
        assert isinstance(lease, services.Lease)
        services.release_lock(actor=actor, lock_id=lease.lock_id, fence=lease.fence)

    return work


def by_redis(socket: str) -> Client:
    import redis

    server = redis.Redis(unix_socket_path=socket, decode_responses=True)
    take, give_back = server.register_script(TAKE), server.register_script(GIVE_BACK)
    holder = uuid4().hex

    def work(number: int) -> None:
        key = f"bench:{number}"
        fence = take(keys=[key, "fence"], args=[holder, 60_000])
        assert fence
        assert give_back(keys=[key], args=[f"{holder}:{fence}"]) == 1

    return work


def raw_sql() -> Client:
    import psycopg
    from django.db import connection

    parameters = connection.get_connection_params()
    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    setup = psycopg.connect(**parameters, autocommit=True)
    setup.execute(RAW_TABLE)
    holder, own = uuid4(), threading.local()

    def mine() -> Any:
        if not hasattr(own, "connection"):
            own.connection = psycopg.connect(**parameters, autocommit=True)
            own.connection.execute("SET synchronous_commit = off")
        return own.connection

    def work(number: int) -> None:
        database = mine()
        [fence] = database.execute(RAW_TAKE, [str(number), holder], prepare=True).fetchone()
        database.execute(RAW_GIVE_BACK, [str(number), fence], prepare=True).fetchone()

    return work


def rate(client: Client, count: int, threads: int) -> float:
    """Leases taken and given back per second, each client on resources of its own."""
    from django.db import connections

    def run(place: int) -> None:
        try:
            for number in range(count):
                client(place * count + number)
        finally:
            if threads > 1:
                connections.close_all()

    def all_of_them() -> None:
        if threads == 1:
            run(0)
            return
        crew = [threading.Thread(target=run, args=(place,)) for place in range(threads)]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join()

    return count * threads / timed(all_of_them)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--leases", type=int, default=400)
    arguments.add_argument("--rounds", type=int, default=7)
    asked = arguments.parse_args()
    prepare()
    goals = []
    with redis_server() as socket:
        contestants = {"lemnos": lemnos(), "redis": by_redis(socket), "raw SQL": raw_sql()}
        for threads in (1, 8):
            count = asked.leases if threads == 1 else asked.leases // 4
            measured = interleaved(
                {
                    name: partial(rate, client, count, threads)
                    for name, client in contestants.items()
                },
                rounds=asked.rounds,
            )
            middle = {name: statistics.median(values) for name, values in measured.items()}
            print(f"\n{threads} client{'s' if threads > 1 else ''}")
            print("| contestant | leases/s (median) | lowest | highest |\n|---|---:|---:|---:|")
            for name, values in measured.items():
                print(f"| {name} | {middle[name]:.0f} | {min(values):.0f} | {max(values):.0f} |")
            for other in ("redis", "raw SQL"):
                ratio = middle["lemnos"] / middle[other]
                goals.append(
                    Goal(f"lemnos / {other}, {threads} at once", ratio,
                         at_least=1.0 if other == "redis" else 0.3)
                )  # fmt: skip
    return conclude(goals)


if __name__ == "__main__":
    sys.exit(main())
