"""Whether this process lives, and whether the installation around it can work."""

from collections.abc import Callable
from functools import cache
from typing import Any

import psycopg
import redis
from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from guardian import disk, draining
from guardian.errors import DomainError
from guardian.identity import client_address, session_actor
from guardian.relay import RELAY_LOCK_ID
from guardian.services import authenticate_token

CONNECT_SECONDS = 3
WORKER_SECONDS = 30
RELAY_SECONDS = 10
DETAIL_SCOPE = "system:read"

Finding = dict[str, Any]
Check = Callable[["psycopg.Connection[Any]"], Finding]

_WORKER = "SELECT extract(epoch FROM now() - max(last_heartbeat)) FROM procrastinate_workers"
_RELAY = """
SELECT EXISTS (SELECT 1 FROM pg_locks
                WHERE locktype = 'advisory' AND granted AND objsubid = 1
                  AND classid::bigint = %(lock)s::bigint >> 32
                  AND objid::bigint = %(lock)s::bigint & 4294967295
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())),
       (SELECT extract(epoch FROM now() - min(created_at)) FROM guardian_event WHERE seq IS NULL)
"""


@require_safe
def livez(_request: HttpRequest) -> JsonResponse:
    """This process answers; the database is not asked."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when database, migrations, worker and relay are well; details need `system:read`."""
    if draining.is_draining():
        return _answer({"status": "shutting_down"}, ready=False)
    findings, ready = examine()
    body: dict[str, Any] = {"status": "ready" if ready else "not_ready"}
    if findings["database"]["ok"] and may_see_details(request):
        body["checks"] = findings
    return _answer(body, ready=ready)


def _answer(body: dict[str, Any], *, ready: bool) -> JsonResponse:
    status = 200 if ready else 503
    response = JsonResponse(body, status=status, headers={"Cache-Control": "no-store"})
    # Django logs each 5xx as an error; here it is an answer, asked for many times a minute.
    setattr(response, "_has_been_logged", True)  # noqa: B010 - Django's own switch for this
    return response


def examine() -> tuple[dict[str, Finding], bool]:
    """Each check's finding, and whether all that count are well. Redis and disk are only shown."""
    required: dict[str, Check] = {
        "migrations": check_migrations,
        "worker": check_worker,
        "relay": check_relay,
    }
    findings: dict[str, Finding]
    try:
        # Not from the pool: with the database gone, a request for one would wait ten seconds.
        with psycopg.connect(
            **connection.get_connection_params(), autocommit=True, connect_timeout=CONNECT_SECONDS
        ) as database:
            findings = {"database": {"ok": True}}
            findings |= {name: check(database) for name, check in required.items()}
    except psycopg.Error as error:
        findings = {"database": {"ok": False, "error": type(error).__name__}}
    ready = len(findings) == len(required) + 1 and all(f["ok"] for f in findings.values())
    return {**findings, "redis": check_redis(), "disk": check_disk()}, ready


@cache
def known_migrations() -> frozenset[tuple[str, str]]:
    """What this code brings; it cannot change while the process lives."""
    return frozenset(MigrationLoader(None).disk_migrations or {})


def check_migrations(database: "psycopg.Connection[Any]") -> Finding:
    applied = database.execute("SELECT app, name FROM django_migrations").fetchall()
    missing = known_migrations() - {(row[0], row[1]) for row in applied}
    return {"ok": not missing, "waiting": len(missing)}


def check_worker(database: "psycopg.Connection[Any]") -> Finding:
    row = database.execute(_WORKER).fetchone()
    age = float(row[0]) if row and row[0] is not None else None
    return {"ok": age is not None and age < WORKER_SECONDS, "heartbeat_age_seconds": age}


def check_relay(database: "psycopg.Connection[Any]") -> Finding:
    row = database.execute(_RELAY, {"lock": RELAY_LOCK_ID}).fetchone() or (False, None)
    lag = float(row[1]) if row[1] is not None else 0.0
    return {"ok": bool(row[0]) and lag < RELAY_SECONDS, "active": bool(row[0]), "lag_seconds": lag}


def check_redis() -> Finding:
    if not settings.REDIS_URL:
        return {"ok": False, "note": "not configured: processes poll"}
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)
    try:
        return {"ok": bool(client.ping())}
    except redis.RedisError as error:
        return {"ok": False, "error": type(error).__name__}
    finally:
        client.close()


def check_disk() -> Finding:
    room = disk.measure()
    return {"ok": not room.is_low, "free_bytes": room.free, "read_only": room.is_full}


def may_see_details(request: HttpRequest) -> bool:
    """A token or a session with the scope; anybody else learns the status alone."""
    _, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        if token:
            return authenticate_token(token, address=client_address(request)).has_scope(
                DETAIL_SCOPE
            )
        return request.user.is_authenticated and session_actor(request).has_scope(DETAIL_SCOPE)
    except DomainError:
        return False
