"""Statements of hot paths on Django's own connection, planned once per connection."""

from typing import Any

from django.db import connection
from psycopg import Cursor


def run_prepared(statement: str, arguments: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Run a constant statement with its arguments and return its rows, in the open transaction.

    Django binds parameters on its side, so each call would be planned anew, which can take longer
    than the statement itself; psycopg's own cursor binds them at the server and prepares. Its
    errors are Django's.
    """
    connection.ensure_connection()
    connection.validate_no_broken_transaction()
    with connection.wrap_database_errors, Cursor(connection.connection) as cursor:
        cursor.execute(statement, arguments, prepare=True)
        return cursor.fetchall() if cursor.description else []
