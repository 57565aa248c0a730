"""Time as all hosts see it: the clock of the database."""

from datetime import datetime

from django.db import connection


def database_now() -> datetime:
    """This very moment, also within a long transaction. A host's own clock may be ahead."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment
