"""manage.py prepare: the database made ready for this version of the code."""

import json
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import OperationalError

from guardian.backups import making
from guardian.errors import BackupFailed
from guardian.models import User

PREPARE_LOCK_ID = 7310002
WAIT_SECONDS = 60
OLDEST_POSTGRES = 150000


class Command(BaseCommand):
    """Several hosts may start at once: one prepares, the others wait for it and find it done."""

    help = "Backs up, migrates and seeds the database under one lock; prints what it did as JSON."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--backups", type=Path, help="where a backup goes before migrations")

    def handle(self, *_args: Any, **options: Any) -> None:
        wait_for_database()
        refuse_unsuitable_server()
        backup = None
        with one_at_a_time():
            refuse_another_line()
            waiting, filled = migrations_waiting()
            if waiting and filled and options["backups"]:
                backup = back_up(options["backups"])
            if waiting:
                migrate()
            call_command("bootstrap", stdout=self.stderr)
        facts = {"backup": str(backup) if backup else None, "password_changed": password_changed()}
        self.stdout.write(json.dumps(facts))


def wait_for_database() -> None:
    """Raises CommandError when it does not answer within 60 s."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            psycopg.connect(**connection.get_connection_params(), connect_timeout=5).close()
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                message = f"the database does not answer: {error}; look at DATABASE_URL"
                raise CommandError(message) from error
            time.sleep(0.5)
        else:
            return


def refuse_unsuitable_server() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version_num')::int")
        version = cursor.fetchone()
        cursor.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'")
        vector = cursor.fetchone()
    if version is None or version[0] < OLDEST_POSTGRES:
        raise CommandError("Lemnos needs PostgreSQL 15 or newer; look at DATABASE_URL.")
    if vector is None:
        raise CommandError("This PostgreSQL lacks pgvector: install its package on the server.")


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """A session lock on a connection of its own: it ends with this process, however that dies."""
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as holder:
        holder.execute("SET statement_timeout = 0")
        holder.execute("SET lock_timeout = 0")
        holder.execute("SELECT pg_advisory_lock(%s)", [PREPARE_LOCK_ID])
        yield


def migrations_waiting() -> tuple[bool, bool]:
    """Whether migrations wait, and whether the database holds anything yet."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return bool(plan), bool(executor.loader.applied_migrations)


def refuse_another_line() -> None:
    """Raises CommandError for tables that another line of versions made.

    Unknown migrations alone are those of a newer version, which old code runs beside. With some of
    ours missing too the two lines parted: what seems done under the same name may be lacking.
    """
    loader = MigrationExecutor(connection).loader
    ours = {node for node in loader.graph.nodes if node[0] in settings.OWN_APPS}
    applied = {node for node in loader.applied_migrations if node[0] in settings.OWN_APPS}
    unknown = sorted(f"{app}.{name}" for app, name in applied - ours)
    # Not Django's plan: to it, a line whose last migration is applied is complete.
    if unknown and ours - applied:
        raise CommandError(
            f"this database was made by another line of Lemnos ({', '.join(unknown[:3])}, …): set "
            "LEMNOS_DATA_DIR or DATABASE_URL to a new place, or run the version that made it"
        )


def back_up(directory: Path) -> Path:
    """A backup like any other. Raises CommandError."""
    try:
        return making.make(directory, label="before-migration")
    except BackupFailed as error:
        raise CommandError(f"no backup, so no migration: {error} {error.remedy_text}") from error


def migrate() -> None:
    """A migration that waits for a lock gives up after 3 s, before requests pile up behind it."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("SET lock_timeout = '3s'")
    try:
        call_command("migrate", interactive=False, verbosity=0)
    except OperationalError as error:
        raise CommandError(f"migration failed, nothing of it remains: {error}") from error


def password_changed() -> bool:
    """Whether the first administrator no longer has the password the installation began with."""
    admin = User.objects.filter(username="admin").first()
    return admin is not None and not admin.check_password(settings.ADMIN_PASSWORD)
