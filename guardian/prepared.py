"""Statements of hot paths on Django's own connection, planned once per connection."""

import re
from functools import cache
from typing import Any

from django.db import connection
from psycopg import RawCursor

_NAMED = re.compile(r"%\((\w+)\)s")


def run_prepared(statement: str, arguments: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Run a constant statement with its arguments and return its rows.

    In the open transaction, or as one of its own: then it is one round trip. Django binds
    parameters on its side, so each call would be planned anew, which can take longer than the
    statement itself; psycopg's own cursor binds them at the server and prepares. Its errors are
    Django's.
    """
    connection.ensure_connection()
    connection.validate_no_broken_transaction()
    numbered, names = _numbered(statement)
    with connection.wrap_database_errors, RawCursor(connection.connection) as cursor:
        cursor.execute(numbered, [arguments[name] for name in names], prepare=True)
        has_rows = cursor.pgresult is not None and cursor.pgresult.nfields > 0
        return cursor.fetchall() if has_rows else []


@cache
def _numbered(statement: str) -> tuple[str, tuple[str, ...]]:
    """`%(name)s` as `$1`, once per statement: psycopg would read a long one anew at each call."""
    names = tuple(dict.fromkeys(_NAMED.findall(statement)))
    squeezed = " ".join(_NAMED.sub(lambda m: f"${names.index(m[1]) + 1}", statement).split())
    return squeezed.replace("%%", "%"), names
