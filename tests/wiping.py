"""Empty tables after a test that committed, without rebuilding every file of the database."""

from django.apps import apps
from django.core.management import call_command
from django.db import connection, transaction
from psycopg.pq import TransactionStatus

# Made by migrations alone; asking for all of them again takes longer than most tests.
KEPT = {"django_content_type", "auth_permission", "django_migrations"}
# Not made by Django, so `flush` leaves them: jobs of teams that are gone, for the next worker.
JOBS = [
    "procrastinate_events", "procrastinate_jobs", "procrastinate_periodic_defers",
    "procrastinate_workers",
]  # fmt: skip
MUCH_BYTES = 4 * 1024 * 1024


def wipe() -> None:
    """What `flush` leaves, in a tenth of its time where a test wrote little.

    Waits for whoever still writes, as `flush` does: what a test left running is an error.
    """
    if not _is_idle():
        connection.close()  # a test that was cut off leaves a statement half-way
    tables = JOBS + sorted(
        {model._meta.db_table for model in apps.get_models(include_auto_created=True)
         if model._meta.managed and not model._meta.proxy} - KEPT
    )  # fmt: skip
    with connection.cursor() as cursor:
        looks = " UNION ALL ".join(
            f"SELECT '{t}', pg_relation_size('{t}') WHERE EXISTS (SELECT 1 FROM {t})"  # noqa: S608  names of ours
            for t in tables
        )
        cursor.execute(looks)
        filled = cursor.fetchall()
    if any(size > MUCH_BYTES for table, size in filled if table not in JOBS):
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")  # events may not be emptied
            call_command("flush", verbosity=0, interactive=False, inhibit_post_migrate=True)
            cursor.execute("SET session_replication_role = DEFAULT")
        filled = [(table, size) for table, size in filled if table in JOBS]
    if not filled:
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {', '.join(t for t, _ in filled)} IN EXCLUSIVE MODE")
        # Neither foreign keys nor what makes the history unchangeable look on.
        cursor.execute("SET LOCAL session_replication_role = replica")
        for table, _ in filled:
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608  a table of ours


def _is_idle() -> bool:
    database = connection.connection
    return database is None or database.info.transaction_status == TransactionStatus.IDLE
