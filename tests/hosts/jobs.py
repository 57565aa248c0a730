"""Jobs whose runs and effects can be counted."""

from django.db import connection, transaction
from procrastinate.contrib.django import app

TABLES = """
CREATE TABLE hosts_run (number int NOT NULL);
CREATE TABLE hosts_effect (number int PRIMARY KEY);
CREATE TABLE hosts_total (effects int NOT NULL);
INSERT INTO hosts_total VALUES (0);
"""


@app.task(name="hosts.count", queue="default")
def count(number: int) -> None:
    """Has its effect once, as every job must: the key commits together with it."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO hosts_run VALUES (%s)", [number])
        with transaction.atomic():
            cursor.execute("INSERT INTO hosts_effect VALUES (%s) ON CONFLICT DO NOTHING", [number])
            fresh = cursor.rowcount == 1
            cursor.execute("SELECT pg_sleep(0.05)")
            if fresh:
                cursor.execute("UPDATE hosts_total SET effects = effects + 1")
        cursor.execute("SELECT pg_sleep(0.05)")


@app.task(name="hosts.hold", queue="default")
def hold(seconds: float) -> None:
    """Takes a place for a while."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [seconds])
